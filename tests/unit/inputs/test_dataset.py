"""A dataset read in blocks of cells is the one that the whole matrix in memory gives."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from messages import assert_sentence

from keygenes.core import blocks, matrix_file
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_annotation, read_matrix
from keygenes.inputs.readers import open_dataset, read_dataset

N, G = 50, 12
IDS = [f"ENSG{i:011d}" for i in (3, 1, 2, 1, 4, 5, 6, 3, 7, 8, 9, 3)]  # 1 and 3 more than once
SYMBOLS = [f"S{i}" for i in range(G)]
SYMBOLS[1] = "MT-ND1"  # the name of a gene is that of its first column
SYMBOLS[7] = "MT-CO1"
ENTRY = {"layout": "h5ad", "columns": {"ensembl_id": "id", "symbol": "index", "n_counts": "total"}}
VALUES = (1, 40, 10**6)  # read at a time


def supplied(seed, dtype):
    """Return counts with an empty cell, and obs whose totals are partly missing."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.5, 2, G), (N, G)).astype(dtype)
    counts[N // 3] = 0
    totals = counts.sum(1) + 3.0
    totals[::4] = np.nan
    obs = pd.DataFrame({"drug": rng.choice(["a", "b"], N), "total": totals})
    obs.index = [f"c{i}" for i in range(N)]
    return counts, obs, pd.DataFrame({"id": IDS}, index=pd.Index(SYMBOLS, name="symbol"))


def unsorted(counts):
    """Return CSR with the columns of a row from last to first, and every count in two parts."""
    rows, columns = np.nonzero(counts)
    values = counts[rows, columns]
    parts = np.concatenate([values - 1, np.ones_like(values)])  # some of the parts are 0
    rows, columns = np.tile(rows, 2), np.tile(columns, 2)
    order = np.lexsort((-columns, rows))
    ends = np.concatenate([[0], np.bincount(rows, minlength=len(counts)).cumsum()])
    return sp.csr_matrix((parts[order], columns[order], ends), counts.shape)


def dense_in_pieces(chunks):
    def change(path):
        with h5py.File(path, "r+") as file:
            values, attributes = file["X"][:], dict(file["X"].attrs)
            del file["X"]
            file.create_dataset("X", data=values, chunks=chunks).attrs.update(attributes)

    return change


def sparse_in_pieces(path):
    with h5py.File(path, "r+") as file:
        for part in ("data", "indices"):
            values = file["X"][part][:]
            del file["X"][part]
            file["X"].create_dataset(part, data=values, chunks=(70,), compression="gzip")


FORMS = {
    "rows": (sp.csr_matrix, None),
    "rows, unsorted and in two parts": (unsorted, None),
    "rows in pieces": (sp.csr_matrix, sparse_in_pieces),
    "columns": (sp.csc_matrix, None),
    "columns in pieces": (sp.csc_matrix, sparse_in_pieces),
    "dense": (np.asarray, None),
    "dense in pieces": (np.asarray, dense_in_pieces((7, 5))),
    "dense in pieces as high as itself": (np.asarray, dense_in_pieces((N, 1))),
}


def file_of(path, form, seed=0, dtype=np.float32):
    counts, obs, var = supplied(seed, dtype)
    make, change = FORMS[form]
    anndata.AnnData(make(counts), obs=obs, var=var).write_h5ad(path)
    if change:
        change(path)
    return counts, obs


SLOWER = pytest.mark.slow
TYPES = [np.float32, *(pytest.param(t, marks=SLOWER) for t in (np.float64, np.uint8, np.int64))]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_file_in_blocks_is_read_as_the_whole_is(tmp_path, monkeypatch, form, dtype):
    counts, obs = file_of(tmp_path / "given.h5ad", form, dtype=dtype)
    genes, first = pd.unique(np.array(IDS, object)), [0, 1, 2, 4, 5, 6, 8, 9, 10]
    summed = np.stack([counts[:, np.array(IDS) == gene].sum(1) for gene in genes], 1)
    totals = counts.sum(1).astype(np.float64)
    n_counts = np.where(obs["total"].isna(), totals, obs["total"])
    mito = summed[:, 1]
    monkeypatch.setattr(matrix_file, "CHUNK", 30)
    found = set()
    for values in VALUES:
        monkeypatch.setattr(blocks, "VALUES", values)
        open_dataset(ENTRY, {"matrix": tmp_path / "given.h5ad"}).write(tmp_path / "read.h5ad")
        found.add((tmp_path / "read.h5ad").read_bytes())
        read = read_matrix(tmp_path / "read.h5ad")
        assert read.X.dtype == np.float32
        assert read.X.has_canonical_format
        assert read.X.nnz == np.count_nonzero(summed)
        assert (read.X.toarray() == summed).all()
        assert read.var_names.tolist() == genes.tolist()
        assert read.var["symbol"].tolist() == [SYMBOLS[i] for i in first]
        assert read.obs_names.tolist() == obs.index.tolist()
        assert read.obs["n_counts"].tolist() == n_counts.tolist()
        assert read.obs["n_genes"].tolist() == (summed > 0).sum(1).tolist()
        assert read.obs["percent_mito"].tolist() == (100 * mito / np.maximum(n_counts, 1)).tolist()
        apart = [0, 1, 3, 7, 11]  # the columns of genes that have several
        assert (read.obsm["given_counts"].toarray() == counts[:, apart]).all()
        assert read.uns["given_columns"]["ensembl_id"].tolist() == [IDS[i] for i in apart]
    assert len(found) == 1, "the same bytes however the rows are cut"
    in_memory = read_dataset(ENTRY, {"matrix": tmp_path / "given.h5ad"})
    pd.testing.assert_frame_equal(in_memory.obs, read.obs)
    assert (in_memory.X != read.X).nnz == 0


@pytest.mark.parametrize("form", ["rows in pieces", "columns in pieces", "dense"])
def test_no_more_than_a_block_is_read_at_a_time(tmp_path, monkeypatch, form):
    counts, _ = file_of(tmp_path / "given.h5ad", form)
    monkeypatch.setattr(blocks, "VALUES", 60)
    with h5py.File(tmp_path / "given.h5ad") as file:
        stored = blocks.Stored(file["X"])
        assert stored.at_once == (form == "columns in pieces")
        sizes = [(block.shape[0], block.nnz) for block in stored.blocks()]
    assert sum(rows for rows, _ in sizes) == N
    assert sum(n for _, n in sizes) == np.count_nonzero(counts)
    assert max(n for _, n in sizes) <= 70, "or than a piece of the file"
    assert len(sizes) > 3


def test_counts_that_are_none_in_a_later_block(tmp_path, monkeypatch):
    file_of(tmp_path / "given.h5ad", "rows")
    with h5py.File(tmp_path / "given.h5ad", "r+") as file:
        file["X/data"][-1] = 0.5
    monkeypatch.setattr(blocks, "VALUES", 40)
    with pytest.raises(InputError) as error:
        open_dataset(ENTRY, {"matrix": tmp_path / "given.h5ad"}).write(tmp_path / "read.h5ad")
    assert_sentence(error, str(tmp_path / "given.h5ad"), "normalised values such as 0.5")
    assert [path.name for path in tmp_path.iterdir()] == ["given.h5ad"]


def test_what_is_read_in_blocks_may_be_larger_than_memory(tmp_path, monkeypatch):
    file_of(tmp_path / "rows.h5ad", "rows", dtype=np.float64)
    file_of(tmp_path / "columns.h5ad", "columns", dtype=np.float64)
    with h5py.File(tmp_path / "rows.h5ad") as file:
        n_bytes = 12 * len(file["X/data"])
    sizes = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": n_bytes}
    monkeypatch.setattr("os.sysconf", sizes.get)
    assert read_dataset(ENTRY, {"matrix": tmp_path / "rows.h5ad"}).n_obs == N
    with pytest.raises(InputError) as error:
        read_dataset(ENTRY, {"matrix": tmp_path / "columns.h5ad"})
    assert_sentence(error, "columns.h5ad", "GiB of counts and annotation")
    sizes["SC_PHYS_PAGES"] = n_bytes // 10
    with pytest.raises(InputError) as error:
        read_dataset(ENTRY, {"matrix": tmp_path / "rows.h5ad"})
    assert_sentence(error, "rows.h5ad", "GiB of counts and annotation")


def test_annotation_and_some_cells_are_read_without_the_others(tmp_path, monkeypatch):
    file_of(tmp_path / "given.h5ad", "rows")
    open_dataset(ENTRY, {"matrix": tmp_path / "given.h5ad"}).write(tmp_path / "read.h5ad")
    whole = read_matrix(tmp_path / "read.h5ad")
    annotation = read_annotation(tmp_path / "read.h5ad")
    pd.testing.assert_frame_equal(annotation.obs, whole.obs)
    assert annotation.X is None
    for values in VALUES:
        monkeypatch.setattr(blocks, "VALUES", values)
        for cells in (["c3", "c4", "c40"], ["c40", "c3", "c4"], ["c16"], whole.obs_names):
            some = read_matrix(tmp_path / "read.h5ad", cells)
            expected = whole[list(cells)].copy()
            pd.testing.assert_frame_equal(some.obs, expected.obs)
            pd.testing.assert_frame_equal(some.var, expected.var)
            assert (some.X.toarray() == expected.X.toarray()).all()
            assert some.X.dtype == expected.X.dtype
    with pytest.raises(KeyError, match="c50"):
        read_matrix(tmp_path / "read.h5ad", ["c1", "c50"])
