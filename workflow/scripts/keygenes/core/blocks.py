"""Matrices read some rows at a time, so that a file may be larger than memory.

A CSR group or a dense dataset of an h5ad is read by rows, as they lie in it. A CSC group holds one
gene after the other, and a dense dataset may be cut into pieces as high as itself: of these no row
is known before all is read, so that the matrix is in memory once, its values gathered by rows.
"""

from collections.abc import Iterator

import anndata
import h5py
import numpy as np
import scipy.sparse as sp

VALUES = 1 << 20  # read at a time; a row, or a piece of the file, that has more is read at once


def _cuts(ends: np.ndarray, most: int) -> list[int]:
    """Return where to cut rows into blocks of at most `most` entries, or of one row.

    Parameters
    ----------
    ends : int array [n_rows + 1]
        Row i has the entries from ``ends[i]`` to ``ends[i + 1]``.
    """
    cuts = [0]
    while cuts[-1] < len(ends) - 1:
        stop = int(np.searchsorted(ends, ends[cuts[-1]] + most, side="right")) - 1
        cuts.append(max(stop, cuts[-1] + 1))
    return cuts


def rows_of(matrix: sp.csr_matrix, start: int, stop: int) -> sp.csr_matrix:
    """Return some rows of a CSR matrix without copying their entries."""
    ends = matrix.indptr[start : stop + 1]
    entries = slice(ends[0], ends[-1])
    parts = (matrix.data[entries], matrix.indices[entries], ends - ends[0])
    return sp.csr_matrix(parts, (stop - start, matrix.shape[1]), copy=False)


def blocks_in_memory(matrix: sp.csr_matrix, most: int | None = None) -> Iterator[sp.csr_matrix]:
    """Yield the rows of a CSR matrix, block by block, as `Stored.blocks` does those of a file."""
    cuts = _cuts(matrix.indptr, most or VALUES)
    for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
        yield rows_of(matrix, start, stop)


def values_per_column(matrix: sp.csr_matrix) -> np.ndarray:
    """Return how many entries of a CSR matrix lie in each column: int64 array [n_columns].

    In parts, as NumPy counts copies of indices that are twice as long.
    """
    n = np.zeros(matrix.shape[1], np.int64)
    for start in range(0, matrix.nnz, VALUES):
        n += np.bincount(matrix.indices[start : start + VALUES], minlength=len(n))
    return n


class Stored:
    """A matrix of numbers in an open HDF5 file: its shape, and its rows block by block.

    Parameters
    ----------
    item : h5py.Dataset [n_rows, n_columns], or h5py.Group
        Dense, or as anndata stores a CSR or CSC matrix.

    Raises
    ------
    ValueError
        If it is no matrix of numbers, or its rows do not lie in it.
    """

    def __init__(self, item: h5py.Dataset | h5py.Group) -> None:
        self.item = item
        if isinstance(item, h5py.Dataset):
            self.shape, self.form, self.dtype = item.shape, "dense", item.dtype
            if self.shape is None or len(self.shape) != 2 or item.dtype.kind not in "biufc":
                raise ValueError(f"no matrix of numbers at {item.name}")
            return
        described = anndata.io.sparse_dataset(item)
        self.form, self.shape = described.format, tuple(int(n) for n in described.shape)
        data, indices, ends = (item[part] for part in ("data", "indices", "indptr"))
        self.dtype, n_lines = data.dtype, self.shape[self.form == "csc"]
        fits = data.ndim == 1 and data.shape == indices.shape and ends.shape == (n_lines + 1,)
        whole = indices.dtype.kind in "iu" and ends.dtype.kind in "iu"
        if self.form not in ("csr", "csc") or data.dtype.kind not in "biufc" or not fits & whole:
            raise ValueError(f"no matrix of numbers at {item.name}")
        self.ends = ends[:].astype(np.int64)
        if self.ends[0] or (np.diff(self.ends) < 0).any() or self.ends[-1] > len(data):
            raise ValueError(f"rows at {item.name} that do not follow each other")

    @property
    def at_once(self) -> bool:
        """Whether all is in memory before the first row is known."""
        if self.form == "dense":
            return self._rows_per_piece() >= self.shape[0] and self.item.size > VALUES
        return self.form == "csc"

    def _rows_per_piece(self) -> int:
        return self.item.chunks[0] if self.item.chunks else 1

    def _most(self) -> int:
        """Return how many values are read at a time: no piece of the file is unpacked for less."""
        pieces = [self.item[part].chunks for part in ("data", "indices")]
        return max([VALUES, *(chunks[0] for chunks in pieces if chunks)])

    def _lines(self, start: int, stop: int, form: type[sp.spmatrix]) -> sp.spmatrix:
        """Return rows of a CSR group, or columns of a CSC group, every index checked."""
        entries = slice(self.ends[start], self.ends[stop])
        parts = self.item["data"][entries], self.item["indices"][entries]
        across = self.shape[form is sp.csr_matrix]
        indices = parts[1]
        if len(indices) and (indices.min() < 0 or indices.max() >= across):
            raise ValueError(f"an index at {self.item.name} of what is not there")
        if indices.dtype != np.int32 and across <= np.iinfo(np.int32).max:
            indices = indices.astype(np.int32)
        shape = (stop - start, across) if form is sp.csr_matrix else (across, stop - start)
        ends = (self.ends[start : stop + 1] - self.ends[start]).astype(indices.dtype)
        return form((parts[0], indices, ends), shape, copy=False)

    def between(self, start: int, stop: int) -> sp.csr_matrix:
        """Return the rows of a CSR group from `start` to `stop`."""
        return self._lines(start, stop, sp.csr_matrix)

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """Yield all rows in order as CSR matrices of about `VALUES` values, in the file's type."""
        if self.form == "dense":
            piece = self._rows_per_piece()
            step = max(1, VALUES // max(self.shape[1], 1) // piece) * piece
            for start in range(0, self.shape[0], step):
                yield sp.csr_matrix(self.item[start : start + step])
        elif self.form == "csr":
            cuts = _cuts(self.ends, self._most())
            for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
                yield self.between(start, stop)
        else:
            yield from blocks_in_memory(self._gathered())

    def _gathered(self) -> sp.csr_matrix:
        """Return a CSC group as CSR: every value goes to the next free place of its row."""
        cuts = _cuts(self.ends, self._most())
        pairs = list(zip(cuts[:-1], cuts[1:], strict=True))
        starts = np.zeros(self.shape[0] + 1, np.int64)
        for start, stop in pairs:
            columns = self._lines(start, stop, sp.csc_matrix)
            starts[1:] += np.bincount(columns.indices, minlength=self.shape[0])
        starts = np.cumsum(starts)
        data, indices = np.empty(starts[-1], self.dtype), np.empty(starts[-1], np.int32)
        free = starts[:-1].copy()
        for start, stop in pairs:
            rows = self._lines(start, stop, sp.csc_matrix).tocsr()
            n = np.diff(rows.indptr)
            places = np.repeat(free - rows.indptr[:-1], n) + np.arange(rows.nnz)
            data[places], indices[places] = rows.data, rows.indices + start
            free += n
        return sp.csr_matrix((data, indices, starts), self.shape, copy=False)

    def rows(self, wanted: np.ndarray) -> sp.csr_matrix:
        """Return some rows as one CSR matrix; beside it no more than a block is in memory.

        Parameters
        ----------
        wanted : int array
            Rising. Of a CSR group.
        """
        ends = np.concatenate([[0], np.cumsum(np.diff(self.ends)[wanted])])
        small = max(ends[-1], self.shape[1]) <= np.iinfo(np.int32).max
        ends = ends.astype(np.int32 if small else np.int64)
        data, indices = np.empty(ends[-1], self.dtype), np.empty(ends[-1], np.int32)
        first = done = 0
        for block in self.blocks():
            within = wanted[slice(*np.searchsorted(wanted, [first, first + block.shape[0]]))]
            chosen = block if len(within) == block.shape[0] else block[within - first]
            data[done : done + chosen.nnz] = chosen.data
            indices[done : done + chosen.nnz] = chosen.indices
            first, done = first + block.shape[0], done + chosen.nnz
        return sp.csr_matrix((data, indices, ends), (len(wanted), self.shape[1]), copy=False)
