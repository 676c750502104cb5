"""Matrices written some rows at a time; whole, or absent.

HDF5 never meets a full disk: it writes to `_Disk`.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import write_elem
from numpy.typing import DTypeLike

from keygenes.core.files import PathLike, written

CHUNK = 1 << 16  # values of a packed piece of a file

# Not lzf: it looks up matches in memory that it did not clear, so that its bytes do not repeat.
PACKED = {"compression": "gzip", "compression_opts": 1}
STORED = {**PACKED, "shuffle": True, "fletcher32": True}  # a checksum per piece, any reader tests


class _Disk(io.RawIOBase):
    """A new file for HDF5, to which no write fails: what the disk does not take stays in memory.

    With a disk that gets full under an open file the library prints what nobody can read, and may
    crash much later. Here it closes a file that is whole for all it knows; who writes asks `check`
    after every few blocks, so that no more than these are kept.
    """

    def __init__(self, path: PathLike) -> None:
        super().__init__()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._at, self._end = 0, 0
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the error of the first write that failed."""
        if self._error is not None:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; return it."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def write(self, data: Any) -> int:
        """Write all of `data`, here or there; return its length."""
        data = memoryview(data).cast("B")
        done = 0
        while done < len(data) and self._error is None:
            try:
                done += os.pwrite(self._file, data[done:], self._at + done)
            except OSError as error:
                self._error = error
        if done < len(data):
            self._kept.append((self._at + done, bytes(data[done:])))
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what was written."""
        view = memoryview(buffer).cast("B")
        view[:] = os.pread(self._file, len(view), self._at).ljust(len(view), b"\0")
        for start, data in self._kept:
            low, high = max(start, self._at), min(start + len(data), self._at + len(view))
            if low < high:
                view[low - self._at : high - self._at] = data[low - start : high - start]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        self._end = self._at if size is None else size
        if self._error is None:
            try:
                os.truncate(self._file, self._end)
            except OSError as error:
                self._error = error
        return self._end

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            super().close()
            os.close(self._file)


class _Rows:
    """A CSR group of a file, to which rows are added at the end."""

    def __init__(self, parent: h5py.Group, name: str, dtype: DTypeLike, n_columns: int) -> None:
        self.group, self.n_columns = parent.create_group(name), n_columns
        for part, kind in (("data", dtype), ("indices", np.int32)):
            self.group.create_dataset(
                part, (0,), kind, maxshape=(None,), chunks=(CHUNK,), track_times=False, **STORED
            )
        self.waiting: list[tuple[np.ndarray, ...]] = []
        self.lengths: list[np.ndarray] = []
        self.n_waiting, self.n = 0, 0

    def add(self, block: sp.csr_matrix) -> list[int]:
        """Take rows; return after which of them, counted from 1, a piece is full."""
        before, self.n_waiting = self.n_waiting, self.n_waiting + block.nnz
        self.waiting.append((block.data, block.indices))
        self.lengths.append(np.diff(block.indptr))
        full = np.arange(1, self.n_waiting // CHUNK + 1) * CHUNK
        return np.searchsorted(before + block.indptr, full).tolist()

    def write_piece(self) -> None:
        """Write what waits, at most a piece of it."""
        if len(self.waiting) > 1:
            self.waiting = [tuple(map(np.concatenate, zip(*self.waiting, strict=True)))]
        n = min(CHUNK, self.n_waiting)
        for part, values in zip(("data", "indices"), self.waiting[0], strict=True):
            self.group[part].resize(self.n + n, 0)
            self.group[part][self.n :] = values[:n]
        self.waiting = [tuple(values[n:] for values in self.waiting[0])]
        self.n, self.n_waiting = self.n + n, self.n_waiting - n

    def finish(self) -> None:
        """Write the rest, and where rows start."""
        if self.n_waiting:
            self.write_piece()
        ends = np.concatenate([[0], *self.lengths]).cumsum()
        if self.n <= np.iinfo(np.int32).max:
            ends = ends.astype(np.int32)
        self.group.create_dataset("indptr", data=ends, track_times=False, **STORED)
        shape = np.array([len(ends) - 1, self.n_columns])
        self.group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape}
        )


class MatrixFile:
    """An h5ad that is being written: first its rows, block by block, then what is said of them.

    Its bytes are the same however the rows are cut into blocks.
    """

    def __init__(self, file: h5py.File, disk: _Disk) -> None:
        self._file, self._disk = file, disk
        self._parts: dict[str, _Rows] = {}

    def append(self, counts: sp.csr_matrix, **apart: sp.csr_matrix) -> None:
        """Write cells behind those that were written.

        Parameters
        ----------
        counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        **apart : scipy.sparse.csr_matrix [n_cells, n_columns]
            Of these cells, for obsm; the same names each time.
        """
        blocks = {"X": counts} | {f"obsm/{name}": block for name, block in apart.items()}
        full = []
        for place, (name, block) in enumerate(blocks.items()):
            block.sort_indices()
            if name not in self._parts:
                self._parts[name] = _Rows(self._file, name, block.dtype, block.shape[1])
            full += [(row, place, name) for row in self._parts[name].add(block)]
        for _, _, name in sorted(full):  # by rows, as their blocks must not show
            self._parts[name].write_piece()
            self._disk.check()

    def finish(
        self,
        obs: pd.DataFrame,
        var: pd.DataFrame,
        uns: dict[str, Any],
        obsm: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Write what is said of the rows.

        Parameters
        ----------
        obs, var : pandas.DataFrame
            Columns of text become categories.
        uns : dict
        obsm : dict {name: array [n_cells, n_columns]}
        """
        if "X" not in self._parts:  # no row
            self._parts["X"] = _Rows(self._file, "X", np.float32, len(var))
        for rows in self._parts.values():
            rows.finish()
        obs, var = map(_with_categories, (obs, var))
        nothing = dict.fromkeys(("layers", "obsp", "varm", "varp"), {})
        for name, part in {"obs": obs, "var": var, "uns": uns, **nothing}.items():
            write_elem(self._file, name, part, dataset_kwargs=PACKED)  # text: no checksum
        matrices = self._file.require_group("obsm")
        matrices.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
        for name, values in (obsm or {}).items():
            write_elem(matrices, name, values, dataset_kwargs=PACKED)
        self._file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})


def _with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a data frame with its columns of text as categories."""
    text = [
        name
        for name in frame
        if frame[name].dtype == object or isinstance(frame[name].dtype, pd.StringDtype)
    ]
    return frame.assign(**{name: pd.Categorical(frame[name].astype(object)) for name in text})


@contextlib.contextmanager
def matrix_file(path: PathLike) -> Iterator[MatrixFile]:
    """Yield a `MatrixFile`, whole under its name once the block has succeeded.

    Raises
    ------
    InputError
        If the disk is full, or the folder cannot be written.
    """
    with written(path) as part, _Disk(part) as disk:
        with h5py.File(disk, "w") as file:
            yield MatrixFile(file, disk)
        disk.check()
