"""The parts of an h5ad file, read safely: nothing outside the file, and damage named.

A file that links to another one is refused, as is one that declares more than it holds; one that
HDF5 cannot read is told in a sentence.
"""

import os
from pathlib import Path

import anndata as ad
import h5py

from keygenes.core.blocks import Stored
from keygenes.core.errors import InputError, input_error
from keygenes.core.shown import shortened, unfit_name

SMALL = 1 << 26  # bytes that are not worth a question
IN_BLOCKS = 10  # times as much as memory takes may be read in blocks
MAX_PACKING = 2000  # bytes per byte stored; gzip reaches a thousand where all is zero


def read_h5ad_parts(path, counts="X"):
    """Read counts, obs and var of an h5ad, and nothing else of it.

    Parameters
    ----------
    path : path-like
    counts : str
        Where the raw counts lie: ``X``, ``raw`` (with its own var) or the name of a layer.

    Returns
    -------
    counts : StoredCounts, [n_cells, n_genes]
        As stored; not yet read.
    obs, var : pandas.DataFrame

    Raises
    ------
    InputError
        If the file is no h5ad, is truncated, reaches into other files, declares more than it
        holds or than fits into memory, or lacks the layer.
    """
    path = Path(path)
    if not path.is_file():
        raise input_error(
            str(path),
            found="no such file",
            expected="an h5ad file",
            remedy="check the path in the dataset registry",
        )
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        raise _unreadable(path, error) from None
    with handle:
        try:
            _refuse_links(handle, path)
            missing = [part for part in ("obs", "var") if part not in handle]
            if missing or not all(isinstance(handle[part], h5py.Group) for part in ("obs", "var")):
                raise input_error(
                    str(path),
                    found="an HDF5 file without AnnData's groups obs and var",
                    expected="an h5ad file written by anndata 0.7 or newer",
                    remedy="save it again with anndata's write_h5ad",
                )
            where = {"X": "X", "raw": "raw/X"}.get(counts, f"layers/{counts}")
            if where not in handle:
                layers = sorted(handle["layers"]) if "layers" in handle else []
                there = [name for name in ("X", "raw") if name in handle] + layers
                raise input_error(
                    str(path),
                    found="matrices " + (", ".join(there) or "(none)"),
                    expected=f"the counts in {counts!r}",
                    remedy="name the one with raw counts under 'columns: counts:' in the dataset "
                    "registry",
                )
            frames = [handle["obs"], handle["raw/var" if counts == "raw" else "var"]]
            columns = [_columns(frame) for frame in frames]
            _require_room(columns, path, [handle[where]])
            obs, var = map(ad.io.read_elem, frames)
            stored, shape = Stored(handle[where]), (len(obs), len(var))
            if stored.shape != shape:
                raise ValueError(f"/{where} is {stored.shape}, obs and var make {shape}")
            if stored.at_once:
                _require_room([*columns, handle[where]], path)
            return StoredCounts(path, where), obs, var
        except InputError:
            raise
        except Exception as error:  # HDF5, h5py and anndata raise many kinds for a damaged file
            raise _unreadable(path, error) from None


def _columns(frame):
    """Return the items of the columns of a data frame; a ValueError where they are none."""
    names = [*frame.attrs["column-order"], frame.attrs["_index"]]
    names = [name.decode() if isinstance(name, bytes) else name for name in names]
    if unfit_name(names) or any("/" in name for name in names):
        raise ValueError(f"a column of {frame.name} with a name that is none")
    return [frame[name] for name in names]


def _datasets(item, depth=2):
    """Yield the datasets in an item; a ValueError where groups lie in groups in groups.

    A column is a dataset, or a group of a few: reading one that leads on and on never ends.
    """
    if isinstance(item, h5py.Dataset):
        yield item
    elif isinstance(item, list):
        for part in item:
            yield from _datasets(part)
    elif depth:
        for name in item:
            yield from _datasets(item[name], depth - 1)
    else:
        raise ValueError(f"groups within groups at {item.name}")


def _require_room(items, path, in_blocks=None):
    """Raise if what is to be read is not in the file, or is more than memory takes.

    What is read in blocks may be larger: it has an end all the same.
    """
    total, room = 0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wholes = [(dataset, 1) for dataset in _datasets(items)]
    for dataset, share in wholes + [(dataset, IN_BLOCKS) for dataset in _datasets(in_blocks or [])]:
        size, stored = dataset.size or 0, dataset.id.get_storage_size()
        size *= dataset.dtype.itemsize
        total += size / share
        if size > max(SMALL, MAX_PACKING * stored):
            raise input_error(
                str(path),
                found=f"{size:,} bytes declared at {dataset.name}, and {stored:,} bytes of them",
                expected="a file that holds what it declares",
                remedy="write it again with anndata's write_h5ad",
            )
    if total > room:
        raise input_error(
            str(path),
            found=f"{total / 2**30:,.0f} GiB of counts and annotation",
            expected=f"at most the {room / 2**30:,.0f} GiB of memory here",
            remedy="store the counts as a sparse matrix, take fewer cells, or use a larger machine",
        )


class StoredCounts:
    """Counts in an h5ad that was found sound, read from it some rows at a time."""

    def __init__(self, path, where):
        self.path, self.where = path, where

    def blocks(self):
        """Yield all rows in order as CSR matrices, every index checked."""
        try:
            with h5py.File(self.path, "r") as handle:
                yield from Stored(handle[self.where]).blocks()
        except MemoryError:
            raise
        except Exception as error:
            raise _unreadable(self.path, error) from None


def _unreadable(path, error):
    """Return the `InputError` for a file that HDF5 cannot read."""
    with open(path, "rb") as handle:
        start = handle.read(40)
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    reason = shortened(reason.split(". ")[0].translate(str.maketrans("()", "[]")), 120)
    if start.startswith(b"version https://git-lfs"):
        found, remedy = "a git-LFS pointer", "fetch the file itself (git lfs pull)"
    elif not h5py.is_hdf5(path):
        found = "an empty file" if not start else f"a file that starts with {start[:12]!r}"
        remedy = "give an h5ad file, or choose another layout in the dataset registry"
    else:
        found = f"a truncated or damaged HDF5 file of {path.stat().st_size:,} bytes ({reason})"
        remedy = "delete it and download or write it again"
    return input_error(str(path), found=found, expected="an h5ad file", remedy=remedy)


def _refuse_links(root, path):
    """Raise if anything in an HDF5 file lies in another file: reading must stay in this one."""
    groups, seen = [root], set()
    while groups:
        group = groups.pop()
        for name in group:
            outside = isinstance(group.get(name, getlink=True), h5py.ExternalLink)
            item = None if outside else group[name]
            if isinstance(item, h5py.Dataset):
                outside = bool(item.external) or item.is_virtual
            if outside:
                raise input_error(
                    str(path),
                    found=f"a reference to another file at {group.name.rstrip('/')}/{name}",
                    expected="an h5ad file that holds its own data",
                    remedy="save it again with anndata's write_h5ad",
                )
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen:  # links can lead in circles, or to one group many times
                    seen.add(address)
                    groups.append(item)
