"""What a file or folder is, by its content: so that the sentence can name the layout to set."""

import dataclasses
import gzip
import zlib
from pathlib import Path

import h5py

from keygenes.core.errors import InputError, input_error
from keygenes.core.files import PathLike

GZIP, HDF5, ZIP = b"\x1f\x8b", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
MATRIX_MARKET = b"%%MatrixMarket"
ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
EXPECTED = {
    "h5ad": "an h5ad file written by anndata",
    "zarr": "a folder written by anndata's write_zarr",
    "loom": "a loom file",
    "10x_h5": "an .h5 file of Cell Ranger",
    "10x_mtx": "a folder of Cell Ranger with matrix.mtx, barcodes.tsv and features.tsv (or "
    "genes.tsv)",
}


@dataclasses.dataclass(frozen=True)
class Format:
    """What something is in words, and the layout that reads it (None: none does)."""

    words: str
    layout: str | None = None
    remedy: str = "give another file, or choose another layout in the dataset registry"
    hdf5: bool = False

    def error(self, path: PathLike, layout: str) -> InputError:
        """Return the `InputError` for what is at `path`, where `layout` was expected."""
        remedy = (
            f"set 'layout: {self.layout}' in the registry entry" if self.layout else self.remedy
        )
        return input_error(str(path), found=self.words, expected=EXPECTED[layout], remedy=remedy)


def start_of(path, n=512):
    """Return the first bytes of a file."""
    with open(path, "rb") as handle:
        return handle.read(n)


def _archive(start):
    """Return the `Format` of an archive by its first bytes, else None."""
    remedy = "unpack it, and give the file or folder in it"
    if start.startswith(ZIP):
        return Format("a zip archive", remedy=remedy)
    return Format("a tar archive", remedy=remedy) if start[257:262] == b"ustar" else None


def format_of(path):
    """Return the `Format` of a path, or of an HDF5 file that is open."""
    if isinstance(path, h5py.File):
        return _of_hdf5(path)
    path = Path(path)
    if path.is_dir():
        return _of_folder(path)
    start = start_of(path)
    if not start:
        return Format("an empty file")
    if start.startswith(b"version https://git-lfs"):
        remedy = "fetch the file itself (git lfs pull)"
        return Format("a git-LFS pointer", remedy=remedy)
    if start.startswith(HDF5) or h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r") as handle:
                return _of_hdf5(handle)
        except Exception:  # who reads it will say what is wrong with it
            return Format("an HDF5 file that does not open", hdf5=True)
    if archive := _archive(start):
        return archive
    if start.startswith(GZIP):
        try:
            with gzip.open(path, "rb") as handle:
                start = handle.read(512)
        except (OSError, EOFError, zlib.error):
            return Format("a gzipped file that does not unpack")
        if archive := _archive(start):
            return archive
        if start.startswith(MATRIX_MARKET):
            return Format("a gzipped MatrixMarket file", "10x_mtx")
        return Format(f"a gzipped file whose content starts with {start[:12]!r}")
    if start.startswith(MATRIX_MARKET):
        return Format("a MatrixMarket file", "10x_mtx")
    return Format(f"a file that starts with {start[:12]!r}")


def _of_folder(path):
    names = {item.name for item in path.iterdir()}
    if names & set(ZARR):
        return Format("a zarr folder", "zarr")
    if any(name.endswith(("matrix.mtx", "matrix.mtx.gz")) for name in names):
        return Format("a folder with matrix.mtx, as Cell Ranger writes it", "10x_mtx")
    inner = sorted(
        item.name
        for item in path.iterdir()
        if item.is_dir() and _of_folder_names(item) & {"matrix.mtx", "matrix.mtx.gz", *ZARR}
    )
    if inner:
        return Format("a folder of folders", remedy=f"give the one that has it: {inner[0]}")
    return Format("a folder", remedy="give a file, or a folder of 10x or zarr")


def _of_folder_names(path):
    return {item.name for item in path.iterdir()}


def _of_hdf5(handle):
    names = {  # nothing outside of the file is opened
        name for name in handle if not isinstance(handle.get(name, getlink=True), h5py.ExternalLink)
    }
    groups = {name for name in names if isinstance(handle.get(name), h5py.Group)}
    if {"obs", "var"} <= names:
        return Format("an h5ad file", "h5ad", hdf5=True)
    if {"row_attrs", "col_attrs"} <= groups and "matrix" in names:
        return Format("a loom file", "loom", hdf5=True)
    if "matrix" in groups and "barcodes" in handle["matrix"]:
        return Format("an .h5 file of Cell Ranger", "10x_h5", hdf5=True)
    if any({"barcodes", "gene_names"} <= set(handle[name]) for name in groups):
        return Format("an .h5 file of Cell Ranger 2", "10x_h5", hdf5=True)
    if "mod" in groups:
        modalities = ", ".join(sorted(handle["mod"])) if len(handle["mod"]) < 10 else "many"
        return Format(
            f"a MuData file (modalities {modalities})",
            remedy="write its RNA alone, e.g. mudata.read_h5mu(a)['rna'].write_h5ad(b)",
            hdf5=True,
        )
    if "assays" in groups:
        return Format(
            "an h5Seurat file", remedy="convert it in R, e.g. with SeuratDisk::Convert", hdf5=True
        )
    return Format(
        "an HDF5 file without AnnData's groups obs and var",
        remedy="save it again with anndata's write_h5ad",
        hdf5=True,
    )
