"""HDF5 files opened safely: nothing outside the file, bounds on sizes, and what is wrong named.

A file is called damaged only where nothing else explains why it cannot be read.
"""

import contextlib
import gzip
import os
import shutil
import tempfile
import zlib
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (lets h5py read zstd, blosc, lz4, ...)

from keygenes.core.errors import InputError, input_error
from keygenes.core.shown import shortened
from keygenes.inputs.formats import EXPECTED, GZIP, HDF5, format_of, start_of

SMALL = 1 << 26  # bytes that are not worth a question
IN_BLOCKS = 10  # times as much as memory takes may be read in blocks
MAX_PACKING = 2000  # bytes per byte stored; gzip reaches a thousand where all is zero
MAX_GZIPPED = 200  # bytes of a file per byte of its .gz
OF_HDF5 = (1, 2, 3, 4, 5, 6, 32000)  # filters that any reader has
FILTERS = {
    305: "lzo",
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32026: "blosc2",
}
AGAIN = "write it again with gzip, e.g. anndata.read_h5ad(a).write_h5ad(b, compression='gzip')"


@contextlib.contextmanager
def opened(path, layout):
    """Open an HDF5 file of a layout, or one that is gzipped as a whole.

    Parameters
    ----------
    path : path-like
    layout : str
        The layout that it is to have: h5ad, loom or 10x_h5.

    Yields
    ------
    h5py.File

    Raises
    ------
    InputError
        If the file is something else, reaches into other files, or cannot be read in the block.
    """
    path = Path(path)
    if not path.exists():
        raise input_error(
            str(path),
            found="no such file",
            expected=EXPECTED[layout],
            remedy="check the path in the dataset registry",
        )
    if path.is_dir():
        raise format_of(path).error(path, layout)
    with _unpacked(path, layout) as plain:
        try:
            handle = h5py.File(plain, "r")
        except OSError as error:
            raise _unreadable(path, layout, error) from None
        with handle:
            try:
                _refuse_links(handle, path)
                if (found := format_of(handle)).layout != layout:
                    raise found.error(path, layout)
                yield handle
            except (InputError, MemoryError):
                raise
            except Exception as error:  # HDF5, h5py and anndata raise many kinds for damage
                raise _unreadable(path, layout, error, handle) from None


@contextlib.contextmanager
def _unpacked(path, layout):
    """Yield the path of the plain file, which is a temporary one where `path` is gzipped."""
    if not start_of(path).startswith(GZIP):
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=".h5") as target, gzip.open(path, "rb") as source:
        left = min(
            max(SMALL, MAX_GZIPPED * path.stat().st_size), shutil.disk_usage(target.name).free // 2
        )
        try:
            block = source.read(1 << 20)
            if not block.startswith(HDF5):
                raise format_of(path).error(path, layout)
            while block:
                left -= len(block)
                if left < 0:
                    raise input_error(
                        str(path),
                        found="a gzipped file that unpacks to more than the disk for temporary "
                        f"files or {MAX_GZIPPED} times its size holds",
                        expected=EXPECTED[layout],
                        remedy="unpack it yourself with gunzip, and give that file",
                    )
                target.write(block)
                block = source.read(1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _unreadable(path, layout, error) from None
        target.flush()
        yield Path(target.name)


def datasets_in(item, depth=2):
    """Yield the datasets in an item; a ValueError where groups lie in groups in groups.

    A column is a dataset, or a group of a few: reading one that leads on and on never ends.
    """
    if isinstance(item, h5py.Dataset):
        yield item
    elif isinstance(item, list):
        for part in item:
            yield from datasets_in(part)
    elif depth:
        for name in item:
            yield from datasets_in(item[name], depth - 1)
    else:
        raise ValueError(f"groups within groups at {item.name}")


def require_readable(items, path, in_blocks=()):
    """Raise where items take more than they hold or than memory does, or an unknown filter.

    What is read in blocks may be `IN_BLOCKS` times as large: it has an end all the same.
    """
    sizes, datasets = [], []
    for share, some in ((1, items), (IN_BLOCKS, list(in_blocks))):
        for dataset in datasets_in(some):
            declared = (dataset.size or 0) * dataset.dtype.itemsize
            sizes.append((dataset.name, declared, dataset.id.get_storage_size(), share))
            datasets.append(dataset)
    require_room(sizes, path)
    for dataset in datasets:
        for code, name in _filters(dataset):
            if not h5py.h5z.filter_avail(code):
                raise input_error(
                    str(path),
                    found=f"{dataset.name} packed by the filter {code} ({name})",
                    expected="one that HDF5 or the package hdf5plugin brings",
                    remedy=AGAIN,
                )


def require_room(sizes, path):
    """Raise an `InputError` if what is to be read is not in the file, or is more than memory takes.

    Parameters
    ----------
    sizes : iterable of (str, int, int, int)
        Name, bytes declared and bytes stored of each array, and how many times as much as memory
        takes may be declared.
    path : path-like
    """
    total, room = 0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name, size, stored, share in sizes:
        total += size / share
        if size > max(SMALL, MAX_PACKING * stored):
            raise input_error(
                str(path),
                found=f"{size:,} bytes declared at {name}, and {stored:,} bytes of them",
                expected="a file that holds what it declares",
                remedy="write it again with the program that made it",
            )
    if total > room:
        raise input_error(
            str(path),
            found=f"{total / 2**30:,.0f} GiB of counts and annotation",
            expected=f"at most the {room / 2**30:,.0f} GiB of memory here",
            remedy="store the counts as a sparse matrix, take fewer cells, or use a larger machine",
        )


def rewrite_remedy(path):
    """Return what to do about a file that cannot be read: ours are fetched anew, others are not."""
    if Path(path).parts[:1] == ("resources",):
        return "delete it and run again, which fetches it anew"
    return "compare it with the copy that it was made from, or write it again"


def _filters(dataset):
    """Return the filters that a dataset is packed by, as (number, name)."""
    plan = dataset.id.get_create_plist()
    codes = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    return [
        (code, FILTERS.get(code) or name.decode(errors="replace") or "no name")
        for code, _, _, name in codes
    ]


def _odd_filter(handle):
    """Return (dataset, number, name) of the first filter in a file that HDF5 itself lacks."""
    found = []

    def look(_, item):
        if isinstance(item, h5py.Dataset):
            found.extend((item.name, *f) for f in _filters(item) if f[0] not in OF_HDF5)
        return found or None

    with contextlib.suppress(Exception):  # the file may be damaged after all
        handle.visititems(look)
    return found[0] if found else None


def _unreadable(path, layout, error, handle=None):
    """Return the `InputError` for a file that HDF5 or anndata cannot read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    reason = shortened(reason.split(". ")[0].translate(str.maketrans("()", "[]")), 120)
    unpacking = isinstance(error, OSError) and handle
    if unpacking and (odd := _odd_filter(handle)):
        name, code, filter_name = odd
        return input_error(
            str(path),
            found=f"values at {name} that its filter {code} ({filter_name}) does not unpack "
            f"({reason})",
            expected=EXPECTED[layout],
            remedy=AGAIN,
        )
    if isinstance(error, UnicodeDecodeError):
        return input_error(
            str(path),
            found=f"text that is no UTF-8 ({reason})",
            expected=EXPECTED[layout],
            remedy="write it again with its text in UTF-8",
        )
    if type(error).__name__ == "IORegistryError":
        return input_error(
            str(path),
            found=f"a part written in a way that this version of anndata does not know ({reason})",
            expected=EXPECTED[layout],
            remedy="write it again with anndata 0.12 or older",
        )
    gzipped = start_of(path).startswith(GZIP)
    if handle is None and not gzipped and not (found := format_of(path)).hdf5:
        return found.error(path, layout)
    kind = f"{'gzipped' if gzipped else 'HDF5'} file of {path.stat().st_size:,} bytes"
    return input_error(
        str(path),
        found=f"a truncated or damaged {kind} ({reason})",
        expected=EXPECTED[layout],
        remedy=rewrite_remedy(path),
    )


def _refuse_links(root, path):
    """Raise if anything in an HDF5 file lies in another file: reading must stay in this one."""
    groups, seen = [root], set()
    while groups:
        group = groups.pop()
        for name in group:
            outside = isinstance(group.get(name, getlink=True), h5py.ExternalLink)
            item = None if outside else group.get(name)  # nothing where a soft link leads nowhere
            if isinstance(item, h5py.Dataset):
                outside = bool(item.external) or item.is_virtual
            if outside:
                raise input_error(
                    str(path),
                    found=f"a reference to another file at {group.name.rstrip('/')}/{name}",
                    expected="a file that holds its own data",
                    remedy="save it again with anndata's write_h5ad",
                )
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen:  # links can lead in circles, or to one group many times
                    seen.add(address)
                    groups.append(item)
