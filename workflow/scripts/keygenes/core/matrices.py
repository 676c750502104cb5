"""Matrices of cells x genes: one way to read and write them."""

import contextlib
from collections.abc import Iterator

import anndata
import h5py
import numpy as np
import scipy.sparse
from anndata.io import read_elem
from numpy.typing import ArrayLike

from keygenes.core.blocks import Stored, blocks_in_memory, rows_of
from keygenes.core.files import PathLike, intact
from keygenes.core.matrix_file import matrix_file


def write_matrix(adata: anndata.AnnData, path: PathLike) -> None:
    """Write an AnnData of sparse counts as h5ad, atomically; text columns become categories."""
    apart = {name: part for name, part in adata.obsm.items() if scipy.sparse.issparse(part)}
    apart = {name: scipy.sparse.csr_matrix(part) for name, part in apart.items()}
    dense = {name: part for name, part in adata.obsm.items() if name not in apart}
    with matrix_file(path) as file:
        start = 0
        for block in blocks_in_memory(scipy.sparse.csr_matrix(adata.X)):
            stop = start + block.shape[0]
            file.append(block, **{name: rows_of(part, start, stop) for name, part in apart.items()})
            start = stop
        file.finish(adata.obs, adata.var, dict(adata.uns), dense)


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[h5py.File]:
    with intact(path), h5py.File(path) as file:
        yield file


def read_matrix(path: PathLike, cells: ArrayLike | None = None) -> anndata.AnnData:
    """Return the AnnData of an h5ad file that the pipeline wrote.

    Parameters
    ----------
    path : path-like
    cells : sequence of str, optional
        Only these, in this order; the others never are in memory. No obsm comes with them.

    Raises
    ------
    InputError
        If the file cannot be read (half copied, damaged).
    KeyError
        If a cell is not in it.
    """
    if cells is None:
        with intact(path):
            return anndata.read_h5ad(path)
    annotation, cells = read_annotation(path), np.asarray(cells, dtype=object)
    wanted = annotation.obs_names.get_indexer(cells)
    if (wanted < 0).any():
        raise KeyError(f"{cells[np.argmin(wanted)]!r}, which is no cell of {path}")
    rising, places = np.unique(wanted, return_inverse=True)
    with _opened(path) as file:
        counts = Stored(file["X"]).rows(rising)
    chosen = annotation[wanted].copy()
    chosen.X = counts if np.array_equal(rising, wanted) else counts[places]
    return chosen


def read_annotation(path: PathLike) -> anndata.AnnData:
    """Return obs, var and uns of an h5ad file that the pipeline wrote, as AnnData without counts.

    Raises
    ------
    InputError
        If the file cannot be read (half copied, damaged).
    """
    with _opened(path) as file:
        return anndata.AnnData(**{name: read_elem(file[name]) for name in ("obs", "var", "uns")})


def read_blocks(
    path: PathLike,
) -> Iterator[tuple[scipy.sparse.csr_matrix, dict[str, scipy.sparse.csr_matrix]]]:
    """Yield the cells of an h5ad file that the pipeline wrote, some at a time.

    Yields
    ------
    scipy.sparse.csr_matrix [n_cells, n_genes]
        Counts.
    dict {name: scipy.sparse.csr_matrix [n_cells, n_columns]}
        What obsm has of these cells.

    Raises
    ------
    InputError
        If the file cannot be read (half copied, damaged).
    """
    with _opened(path) as file:
        apart = {name: Stored(item) for name, item in file["obsm"].items()}
        start = 0
        for counts in Stored(file["X"]).blocks():
            stop = start + counts.shape[0]
            yield counts, {name: stored.between(start, stop) for name, stored in apart.items()}
            start = stop
