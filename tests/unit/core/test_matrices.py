import errno
import os

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from messages import assert_sentence

from keygenes.core import blocks, matrix_file
from keygenes.core.errors import InputError
from keygenes.core.files import checksum
from keygenes.core.matrices import read_matrix, write_matrix


@pytest.fixture
def adata():
    rng = np.random.default_rng(3)
    counts = scipy.sparse.csr_matrix(rng.poisson(0.3, (80, 60)).astype(np.float32))
    values = np.where(rng.random((60, 20)) < 0.3, np.nan, rng.normal(size=(60, 20)))
    var = pd.DataFrame(values, [f"g{i}" for i in range(60)], [f"v{i}" for i in range(20)])
    var["rank"] = pd.array([None, *range(59)], "Int64")
    var["symbol"] = "s"
    return anndata.AnnData(counts, pd.DataFrame(index=[f"c{i}" for i in range(80)]), var)


def test_what_is_written_is_read(adata, tmp_path):
    write_matrix(adata.copy(), tmp_path / "m.h5ad")
    back = read_matrix(tmp_path / "m.h5ad")
    assert (back.X != adata.X).nnz == 0
    pd.testing.assert_frame_equal(back.var[["v1", "rank"]], adata.var[["v1", "rank"]])


def test_equal_matrices_have_equal_bytes(adata, tmp_path):
    found = set()
    for i in range(6):
        other = bytearray(1000 * i)  # what is in memory before does not show
        write_matrix(adata.copy(), tmp_path / "m.h5ad")
        found.add(checksum(tmp_path / "m.h5ad"))
        del other
    assert len(found) == 1


def test_nothing_is_packed_by_a_filter_whose_bytes_do_not_repeat(adata, tmp_path):
    write_matrix(adata, tmp_path / "m.h5ad")
    filters = {}
    with h5py.File(tmp_path / "m.h5ad") as file:
        file.visititems(
            lambda name, item: (
                filters.update({name: item.compression})
                if isinstance(item, h5py.Dataset) and item.chunks
                else None
            )
        )
    assert len(filters) > 20
    assert set(filters.values()) == {"gzip"}


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_disk_that_gets_full_at_any_byte_is_one_sentence(adata, tmp_path, monkeypatch, share):
    monkeypatch.setattr(matrix_file, "CHUNK", 50)
    monkeypatch.setattr(blocks, "VALUES", 100)
    write_matrix(adata.copy(), tmp_path / "m.h5ad")
    room, pwrite = [int(share * (tmp_path / "m.h5ad").stat().st_size)], os.pwrite
    (tmp_path / "m.h5ad").unlink()

    def write_what_fits(file, data, offset):
        fits = data[: max(0, room[0] - offset)]
        if not len(fits):
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(file, fits, offset)

    monkeypatch.setattr(os, "pwrite", write_what_fits)
    with pytest.raises(InputError) as error:
        write_matrix(adata.copy(), tmp_path / "m.h5ad")
    assert_sentence(error, str(tmp_path / "m.h5ad"), "no space left")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    write_matrix(adata.copy(), tmp_path / "m.h5ad")
    assert (read_matrix(tmp_path / "m.h5ad").X != adata.X).nnz == 0


def test_little_is_in_memory_once_a_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix_file, "CHUNK", 1000)
    written, kept = [], []

    def full(file, data, offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError), matrix_file.matrix_file(tmp_path / "m.h5ad") as file:
        for seed in range(100):
            block = scipy.sparse.random(50, 100, 0.5, "csr", np.float32, random_state=seed)
            if seed == 10:
                monkeypatch.setattr(os, "pwrite", full)
            written.append(seed)
            file.append(block)
            kept.append(sum(len(data) for _, data in file._disk._kept))
    assert len(written) < 14
    assert max(kept, default=0) < 40_000


def test_bytes_of_a_matrix_do_not_tell_how_its_rows_came(adata, tmp_path, monkeypatch):
    adata.obsm["given_counts"] = adata.X[:, :7].copy()
    adata.obsm["X_umap"] = np.arange(160.0).reshape(80, 2)
    monkeypatch.setattr(matrix_file, "CHUNK", 33)
    found = set()
    for values in (1, 70, 500, 10**6):
        monkeypatch.setattr(blocks, "VALUES", values)
        write_matrix(adata.copy(), tmp_path / "m.h5ad")
        found.add(checksum(tmp_path / "m.h5ad"))
    assert len(found) == 1
    back = read_matrix(tmp_path / "m.h5ad")
    assert (back.obsm["given_counts"] != adata.obsm["given_counts"]).nnz == 0
    assert (back.obsm["X_umap"] == adata.obsm["X_umap"]).all()
