"""The parts of an AnnData in a zarr folder, read safely: no pickles, no links, no bombs."""

import json
import logging
import math
import os
import struct
from pathlib import Path

from keygenes.core.errors import InputError, input_error
from keygenes.inputs.anndata_parts import read_parts
from keygenes.inputs.formats import ZARR, format_of
from keygenes.inputs.frames import is_group
from keygenes.inputs.hdf5 import SMALL, require_room, rewrite_remedy

log = logging.getLogger("keygenes")

LARGEST_METADATA = 1 << 26  # bytes
LONGEST_TEXT = 256  # bytes of a text, on average of a chunk
# Of zarr 2 and 3. Not pickle, which runs code; nor those that pack without bound or any program.
PACKERS = ("zstd", "gzip", "zlib", "blosc", "lz4")
CODECS = (*PACKERS, "bytes", "endian", "crc32c", "transpose", "vlen-utf8", "vlen-bytes", "shuffle")
SHARDS = "sharding_indexed"
METADATA = ("zarr.json", ".zarray")  # of arrays; versions 3 and 2
AGAIN = "write it again with anndata's write_zarr"


def read_zarr_parts(folder, layer=None):
    """Read counts, obs and var of an AnnData in a zarr folder (version 2 or 3).

    Parameters
    ----------
    folder : path-like
    layer : str, optional
        Where the raw counts lie; see `keygenes.inputs.anndata_parts.read_parts`.

    Returns
    -------
    As `keygenes.inputs.h5ad.read_h5ad_parts`.

    Raises
    ------
    InputError
        If it is no such folder, leads out of itself, uses a codec that is not known to be safe, or
        holds more than it declares, or less.
    """
    folder = Path(folder)
    if not folder.exists():
        raise input_error(
            str(folder),
            found="no such folder",
            expected="a zarr folder",
            remedy="check the path in the dataset registry",
        )
    if (found := format_of(folder)).layout != "zarr":
        raise found.error(folder, "zarr")
    _require_safe(folder)
    import zarr  # a heavy package, which other layouts do without

    try:
        root = zarr.open_group(str(folder), mode="r", use_consolidated=False)
        if not ("obs" in root and "var" in root):
            raise input_error(
                str(folder),
                found="a zarr folder without AnnData's groups obs and var",
                expected="one that anndata wrote",
                remedy=AGAIN,
            )

        def readable(items, more=()):
            _require_readable([*items, *more], folder)

        return read_parts(root, folder, layer, readable)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zarr and anndata raise many kinds for a damaged folder
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise input_error(
            str(folder),
            found="an incomplete or damaged zarr folder "
            f"({reason[:120].translate(str.maketrans('()', '[]'))})",
            expected="one that anndata wrote",
            remedy=rewrite_remedy(folder),
        ) from None


def _require_safe(folder):
    """Raise if a folder leads out of itself, or unpacking anything in it could do harm."""
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if (path := Path(place) / name).is_symlink():
                raise input_error(
                    str(folder),
                    found=f"a link at {path.relative_to(folder)}",
                    expected="a folder that holds its own data",
                    remedy="copy it with its links followed (cp -rL)",
                )
        for name in set(METADATA) & set(files):
            path = Path(place) / name
            if odd := _odd_codec(_metadata(path, folder)):
                raise input_error(
                    str(folder),
                    found=f"the codec {odd!r} at {path.relative_to(folder)}, which is not known "
                    "here or used in an odd way",
                    expected="one packer at most, and of these " + ", ".join((*CODECS, SHARDS)),
                    remedy=AGAIN,
                )


def _metadata(path, folder):
    try:
        if path.stat().st_size > LARGEST_METADATA:
            raise ValueError("too long")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise TypeError("no mapping")
        return found
    except (ValueError, TypeError, RecursionError) as error:
        raise input_error(
            str(folder),
            found=f"{path.relative_to(folder)}, which is no JSON of zarr ({type(error).__name__})",
            expected="a zarr folder that anndata wrote",
            remedy=rewrite_remedy(folder),
        ) from None


def _codecs(metadata):
    """Return the names of all codecs of an array, those within shards among them."""
    listed = [metadata.get("compressor"), *(metadata.get("filters") or ())]  # version 2
    listed += metadata.get("codecs") or ()  # version 3
    names = []
    for codec in filter(None, listed):
        codec = {"name": codec} if isinstance(codec, str) else codec
        names.append(str(codec.get("id") or codec.get("name")))
        inner = codec.get("configuration") or {}
        names += _codecs({"codecs": inner.get("codecs")}) if "codecs" in inner else []
        names += _codecs({"codecs": inner.get("index_codecs")}) if "index_codecs" in inner else []
    return names


def _odd_codec(metadata):
    """Return the name of a codec of an array that is not to be trusted, else None."""
    names = _codecs(metadata)
    packers = [name for name in names if name in PACKERS]
    shards = [name for name in names if name == SHARDS]
    odd = [name for name in names if name not in (*CODECS, SHARDS)] + packers[1:] + shards[1:]
    for codec in metadata.get("codecs") or ():
        if isinstance(codec, dict) and codec.get("name") == SHARDS:
            settings = codec.get("configuration") or {}
            # `_of_shards` reads the index so and there.
            usual = _codecs({"codecs": settings.get("index_codecs")}) == ["bytes", "crc32c"]
            odd += [] if usual and settings.get("index_location", "end") == "end" else [SHARDS]
    return odd[0] if odd else None


def _arrays(items):
    for item in items:
        if is_group(item):
            yield from _arrays(item[name] for name in item)
        else:
            yield item


def _require_readable(items, folder):
    """Raise if arrays declare more than they hold or memory takes, or unpack to more."""
    arrays = list(_arrays(items))
    files = {array.name: _block_files(folder / array.path) for array in arrays}
    stored = {name: sum(path.stat().st_size for path in of) for name, of in files.items()}
    require_room([(a.name, _bytes(a, a.shape), stored[a.name], 1) for a in arrays], folder)
    for array in arrays:
        block = _bytes(array, array.shards or array.chunks)
        require_room([(f"a block of {array.name}", block, stored[array.name], 1)], folder)
        limit = block if array.dtype.kind in "biufcSU" else block * LONGEST_TEXT // 8
        for path in files[array.name]:
            _require_small(path, array, max(SMALL, limit), folder)
        _require_whole(array, len(files[array.name]), folder)


def _bytes(array, shape):
    return math.prod(shape) * array.dtype.itemsize


def _require_small(path, array, limit, folder):
    """Raise if a file of blocks unpacks to more than `limit` bytes."""
    at = next(p for n in METADATA if (p := folder / array.path / n).is_file())
    codecs = _codecs(_metadata(at, folder))
    inside = _of_shards(path, array) if SHARDS in codecs else [(0, path.stat().st_size)]
    for start, length in inside:
        if _unpacks_beyond(path, start, length, codecs, limit):
            raise input_error(
                str(folder),
                found=f"a file that unpacks to more than {limit:,} bytes at "
                f"{path.relative_to(folder)}",
                expected="blocks of the size that the folder declares",
                remedy=AGAIN,
            )


def _block_files(folder):
    return [
        Path(place) / name
        for place, _, files in os.walk(folder)
        for name in files
        if name not in ZARR and not name.startswith(".")
    ]


def _require_whole(array, n_files, folder):
    """Raise where a sparse matrix lacks a block: zarr takes what is absent for zeros."""
    size = array.shards or array.chunks
    n = math.prod(-(-of // by) for of, by in zip(array.shape, size, strict=True) if by)
    if n_files >= n:
        return
    name = array.name
    if name.rsplit("/", 1)[-1] in ("data", "indices") or array.dtype.kind not in "biufc":
        raise input_error(
            str(folder),
            found=f"{n_files:,} of {n:,} blocks of {name}",
            expected="all of them",
            remedy="copy the folder again, or write it again",
        )
    log.warning(
        "%s: %d of %d blocks of %s are absent, as zarr leaves out those of zeros",
        folder,
        n - n_files,
        n,
        name,
    )


def _of_shards(path, array):
    """Return (start, length) of the blocks in a file of shards, by the index at its end."""
    n = math.prod(-(-of // by) for of, by in zip(array.shards, array.chunks, strict=True))
    size = path.stat().st_size
    with open(path, "rb") as handle:
        handle.seek(max(0, size - 16 * n - 4))
        index = handle.read(16 * n)
    pairs = [struct.unpack_from("<QQ", index, 16 * i) for i in range(len(index) // 16)]
    return [(start, length) for start, length in pairs if start + length <= size]


def _unpacks_beyond(path, start, length, codecs, limit):
    """Return whether a block unpacks to more than `limit` bytes, unpacking no more than those."""
    packers = [codec for codec in codecs if codec in PACKERS]
    if not packers:
        return False
    with open(path, "rb") as handle:
        handle.seek(start)
        head = handle.read(16)
        if packers[0] == "blosc":
            unpacked, _, packed = struct.unpack("<III", head[4:].ljust(12, b"\xff"))
            if packed > length:  # the library believes it, and would read on in memory
                raise ValueError(f"{path.name} of {length} bytes, where it says {packed}")
            return unpacked > limit
        if packers[0] == "lz4":
            return len(head) > 4 and struct.unpack_from("<I", head, 0)[0] > limit
        if packers[0] in ("gzip", "zlib") and length * 1032 <= limit:
            return False
        handle.seek(start)
        block = handle.read(length)
    import pyarrow as pa

    left = limit
    kind = "zstd" if packers[0] == "zstd" else "gzip"
    try:
        with pa.CompressedInputStream(pa.BufferReader(block), kind) as stream:
            while left >= 0 and (part := stream.read(1 << 20)):
                left -= len(part)
    except (OSError, ValueError):  # who reads it will say what is wrong with it
        return left < 0
    return left < 0
