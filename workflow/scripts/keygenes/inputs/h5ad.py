"""The parts of an h5ad file, whose counts are read in blocks of cells where they lie so."""

import h5py
import numpy as np

from keygenes.core.blocks import Stored
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
    counts : StoredCounts or scipy.sparse.csr_matrix, [n_cells, n_genes]
        As stored; not yet checked.
    obs, var : pandas.DataFrame

    Raises
    ------
    InputError
        If the file is no h5ad, is truncated, reaches into other files, declares more than it
        holds or than fits into memory, or lacks the layer.
    """
    with opened(path, "h5ad") as root:
        stored = None
        if h5py.is_hdf5(path):  # else gzipped as a whole, and gone when the block ends

            def stored(item):
                return stored_counts(path, item)

        return read_parts(root, path, layer, _readable(path), stored)


def _readable(path):
    def readable(items, in_blocks=()):
        require_readable(items, path, in_blocks)

    return readable


class StoredCounts:
    """Counts in an h5ad that was found sound, read from it some rows at a time.

    Attributes
    ----------
    path : path-like
    where : str
        The matrix in the file.
    shape : (int, int)
    """

    def __init__(self, path, where, shape):
        self.path, self.where, self.shape = path, where, shape

    def blocks(self):
        """Yield all rows in order as CSR matrices, every index checked."""
        with opened(self.path, "h5ad") as root:
            yield from Stored(root[self.where]).blocks()


def stored_counts(path, item):
    """Return counts that are read in blocks, or None where they have to be read as a whole.

    These are matrices that are stored by columns, of a type that scipy does not compute with, or
    not as they should be.
    """
    try:
        stored = Stored(item)
    except Exception:  # what is wrong is said by who reads it as a whole
        return None
    plain = stored.dtype != np.float16 and stored.dtype.isnative
    return StoredCounts(path, item.name, stored.shape) if plain and not stored.at_once else None
