"""The parts of an h5ad file, read safely: nothing outside the file, and damage named.

A file that links to another one is refused; one that HDF5 cannot read is told in a sentence.
"""

from pathlib import Path

import anndata as ad
import h5py
import scipy.sparse as sp

from keygenes.core.errors import InputError, input_error


def read_h5ad_parts(path, counts="X"):
    """Read counts, obs and var of an h5ad, and nothing else of it.

    Parameters
    ----------
    path : path-like
    counts : str
        Where the raw counts lie: ``X``, ``raw`` (with its own var) or the name of a layer.

    Returns
    -------
    counts : scipy.sparse.csr_matrix, [n_cells, n_genes]
        As stored; not yet checked.
    obs, var : pandas.DataFrame

    Raises
    ------
    InputError
        If the file is no h5ad, is truncated, reaches into other files or lacks the layer.
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
            obs = ad.io.read_elem(handle["obs"])
            var = ad.io.read_elem(handle["raw/var" if counts == "raw" else "var"])
            matrix = ad.io.read_elem(handle[where])
        except InputError:
            raise
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise _unreadable(path, error) from None
    return sp.csr_matrix(matrix), obs, var


def _unreadable(path, error):
    """Return the `InputError` for a file that HDF5 cannot read."""
    with open(path, "rb") as handle:
        start = handle.read(40)
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    if start.startswith(b"version https://git-lfs"):
        found, remedy = "a git-LFS pointer", "fetch the file itself (git lfs pull)"
    elif not h5py.is_hdf5(path):
        found = "an empty file" if not start else f"a file that starts with {start[:12]!r}"
        remedy = "give an h5ad file, or choose another layout in the dataset registry"
    else:
        found = f"a truncated or damaged HDF5 file of {path.stat().st_size:,} bytes ({first_line})"
        remedy = "delete it and download or write it again"
    return input_error(str(path), found=found, expected="an h5ad file", remedy=remedy)


def _refuse_links(group, path):
    """Raise if anything in an HDF5 file lies in another file: reading must stay in this one."""
    for name in group:
        link = group.get(name, getlink=True)
        outside = isinstance(link, h5py.ExternalLink)
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
        # A soft link can point upwards: following it would never end.
        if isinstance(item, h5py.Group) and isinstance(link, h5py.HardLink):
            _refuse_links(item, path)
