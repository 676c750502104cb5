"""The parts of an h5ad file."""

from keygenes.inputs.anndata_parts import read_parts
from keygenes.inputs.hdf5 import opened, require_readable


def read_h5ad_parts(path, layer=None):
    """Read counts, obs and var of an h5ad, and nothing else of it.

    Parameters
    ----------
    path : path-like
        Gzipped or not.
    layer : str, optional
        Where the raw counts lie; see `keygenes.inputs.anndata_parts.read_parts`.

    Returns
    -------
    counts : scipy.sparse.csr_matrix, [n_cells, n_genes]
        As stored; not yet checked.
    obs, var : pandas.DataFrame

    Raises
    ------
    InputError
        If the file is no h5ad, is truncated, reaches into other files, declares more than it
        holds or than fits into memory, or lacks the layer.
    """
    with opened(path, "h5ad") as root:
        return read_parts(root, path, layer, lambda items: require_readable(items, path))
