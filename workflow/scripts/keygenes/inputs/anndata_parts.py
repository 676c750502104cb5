"""Counts, obs and var in an open AnnData of HDF5 or zarr, and which matrix has the counts."""

import logging

import anndata as ad
import numpy as np
import scipy.sparse as sp

from keygenes.core.errors import input_error
from keygenes.inputs.frames import attribute, is_group, read_frame, stored_columns
from keygenes.inputs.whole_numbers import are_counts, far_from_counts

log = logging.getLogger("keygenes")

PEEK = 100_000  # values that tell counts from others
ROWS = 1 << 24  # values of a dense matrix that are read at a time


def read_parts(root, path, layer, require_readable, stored=None):
    """Return counts, obs and var of an open AnnData.

    Parameters
    ----------
    root : h5py.File or zarr.Group
    path : path-like
        For messages.
    layer : str or None
        Where the counts lie: ``X``, ``raw`` (with its own var) or the name of a layer. None: in X,
        or where there is no X in the one other matrix that holds whole numbers.
    require_readable : callable
        Takes items of `root`, and those that are read in blocks, and raises an `InputError` if
        they are too large or too odd to read.
    stored : callable, optional
        Takes a matrix and returns what has `blocks` of its rows, or None: it is read as a whole.

    Returns
    -------
    counts : scipy.sparse.csr_matrix, or what has such `blocks`, [n_cells, n_genes]
        As stored, of a type that scipy computes with; not yet checked.
    obs, var : pandas.DataFrame
        See `keygenes.inputs.frames.read_frame`.
    """
    matrices = _matrices(root)
    chosen = _chosen(matrices, layer, path, require_readable)
    var_at = root["var"]
    if chosen == "raw" and "raw" not in _layers(root):
        var_at = root["raw/var"] if "raw" in root else root["raw.var"]
    item, uns = matrices[chosen], root.get("uns")
    columns = [*stored_columns(root["obs"]), *stored_columns(var_at)]
    require_readable(columns, [item])
    obs, var = read_frame(root["obs"], path, "obs", uns), read_frame(var_at, path, "var", uns)
    counts = stored(item) if stored else None
    if counts is None or counts.shape != (len(obs), len(var)):
        require_readable([item, *columns])
        counts = read_matrix(item, (len(obs), len(var)), path)
        first = counts.data
    else:
        first = next((block.data for block in counts.blocks()), np.zeros(0))
    if layer is None and far_from_counts(first):
        others = [name for name in matrices if name != chosen]
        if whole := _whole(matrices, others, require_readable):
            raise input_error(
                str(path),
                found=f"no counts in {chosen}, but whole numbers in " + _quoted(whole),
                expected="raw counts (whole numbers)",
                remedy=f"set 'layer: {whole[0]}' in the registry entry, if it has the raw counts",
            )
    return counts, obs, var


def _layers(root):
    return root["layers"] if "layers" in root and is_group(root["layers"]) else {}


def _matrices(root):
    """Return {name: item} of the matrices that are not empty; X and raw come first."""
    found = {"X": root.get("X")}
    raw = root.get("raw")
    found["raw"] = raw.get("X") if is_group(raw) else root.get("raw.X")  # before 0.7: raw.X
    layers = _layers(root)
    found |= {name: layers[name] for name in layers if name not in found}
    return {name: item for name, item in found.items() if item is not None and not _is_null(item)}


def _is_null(item):
    if is_group(item):
        return False
    return attribute(item, "encoding-type") == "null" or item.shape is None


def _quoted(names):
    return ", ".join(f"'{name}'" for name in names) or "(none)"


def _chosen(matrices, layer, path, require_readable):
    if layer is None and "X" in matrices:
        return "X"
    if layer is not None and layer in matrices:
        return layer
    whole = _whole(matrices, matrices, require_readable)
    if layer is None and len(whole) == 1:
        log.warning("%s: X is empty; the counts are taken from %r", path, whole[0])
        return whole[0]
    found = "matrices " + _quoted(matrices) if matrices else "no matrix"
    found += ", of whole numbers " + _quoted(whole) if matrices else ""
    raise input_error(
        str(path),
        found=found,
        expected="counts in X" if layer is None else f"the counts in {layer!r}",
        remedy="name the matrix of raw counts under 'layer:' in the registry entry",
    )


def _whole(matrices, names, require_readable):
    """Return which matrices begin with whole numbers."""
    return [name for name in names if _begins_with_counts(matrices[name], require_readable)]


def _begins_with_counts(item, require_readable):
    try:
        require_readable([item])
        values = item["data"] if is_group(item) else item
        if values.ndim == 1:
            values = values[:PEEK]
        else:
            values = values[: max(1, PEEK // max(1, values.shape[1]))]
    except Exception:  # one that cannot be read is not to be recommended
        return False
    return bool(values.size and values.any() and are_counts(values.ravel()))


def read_matrix(item, shape, path):
    """Return counts as CSR, every index checked.

    Parameters
    ----------
    item : h5py or zarr dataset (dense) or group (sparse)
    shape : (int, int)
        Of obs and var.
    path : path-like

    Raises
    ------
    InputError
        If it is no matrix of numbers, or of another shape. Other errors mean that it is damaged.
    """
    matrix = _sparse(item) if is_group(item) else _dense(item)
    if matrix is None or matrix.shape != shape:
        of = tuple(attribute(item, "shape", ())) if is_group(item) else item.shape
        kind = attribute(item, "encoding-type", "a group") if is_group(item) else item.dtype
        raise input_error(
            str(path),
            found=f"{item.name} of shape {tuple(map(int, of))} and type {kind}",
            expected=f"numbers of {shape[0]:,} cells x {shape[1]:,} genes, as obs and var say",
            remedy="write the file again, or name the matrix of raw counts under 'layer:' in the "
            "registry entry",
        )
    return matrix.tocsr()


def _sparse(item):
    kind = attribute(item, "encoding-type") or attribute(item, "h5sparse_format")
    kind = {"csr_matrix": "csr", "csc_matrix": "csc"}.get(kind, kind)
    if kind not in ("csr", "csc"):
        if kind is not None:
            ad.io.read_elem(item)  # which says what it does not know
        return None
    stored = attribute(item, "shape")
    stored = attribute(item, "h5sparse_shape") if stored is None else stored
    parts = [as_native(item[name][()]) for name in ("data", "indices", "indptr")]
    make = sp.csr_matrix if kind == "csr" else sp.csc_matrix
    matrix = make(tuple(parts), shape=tuple(int(n) for n in stored))
    matrix.check_format(full_check=True)  # SciPy believes indices, and writes where they point
    return matrix


def _dense(item):
    if attribute(item, "encoding-type") not in (None, "array", "string-array"):
        ad.io.read_elem(item)  # which says what it does not know
    if item.ndim != 2 or item.dtype.kind not in "biufc":
        return None
    step = max(1, ROWS // max(1, item.shape[1]))
    rows = [sp.csr_matrix(as_native(item[i : i + step])) for i in range(0, item.shape[0], step)]
    return sp.vstack(rows, format="csr") if rows else sp.csr_matrix(item.shape)


def as_native(values):
    """Return numbers of a type that scipy computes with: no half precision, this byte order."""
    if values.dtype == np.float16:
        top = values.max(initial=0)
        if 2048 < top < np.inf:
            log.warning("half precision holds whole numbers to 2,048; counts reach %g", top)
        return values.astype(np.float32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)
