import numba
import numpy as np
import pytest
from scipy import sparse

from keygenes.cells.normalise import counts_per_10k
from keygenes.core import blocks
from keygenes.core.blocks import blocks_in_memory
from keygenes.core.errors import InputError
from keygenes.expression import umap
from keygenes.expression.umap import umap_coordinates

SETTINGS = {
    "n_variable_genes": 60,
    "n_components": 50,
    "n_neighbors": 15,
    "min_dist": 0.5,
    "seed": 1,
}


def two_kinds(n_cells, n_genes=100):
    """Return cells of two kinds (even and odd) that differ in 20 genes, and their totals."""
    rng = np.random.default_rng(0)
    rates = np.tile(rng.gamma(2, 1, n_genes), (n_cells, 1))
    rates[1::2, :20] *= 8
    rates[::2, 20:40] *= 8
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.float32))
    return counts, np.asarray(counts.sum(axis=1)).ravel()


def mapped(counts, n_counts, **settings):
    """Return the coordinates of cells that are in memory."""
    return umap_coordinates(lambda: blocks_in_memory(counts), n_counts, **settings)


@pytest.mark.slow
def test_two_kinds_of_cells_lie_apart_and_the_map_repeats():
    cells = two_kinds(120)
    first = mapped(*cells, **SETTINGS)
    assert first.shape == (120, 2)
    assert first.dtype == np.float64
    centres = first[::2].mean(axis=0), first[1::2].mean(axis=0)
    spread = max(first[::2].std(axis=0).max(), first[1::2].std(axis=0).max())
    assert np.linalg.norm(centres[0] - centres[1]) > 3 * spread
    np.testing.assert_array_equal(first, mapped(*cells, **SETTINGS))
    assert (first != mapped(*cells, **{**SETTINGS, "seed": 2})).any()


@pytest.mark.slow
def test_neighbours_are_exact_also_of_more_cells_than_scanpy_compares_all_with_all(monkeypatch):
    found = {}

    def no_layout(adata, **_):
        found.update(x=adata.obsm["X_pca"], near=adata.obsp["distances"].tocsr())
        adata.obsm["X_umap"] = np.zeros((adata.n_obs, 2))

    monkeypatch.setattr(umap.sc.tl, "umap", no_layout)
    settings = {**SETTINGS, "n_components": 5, "n_neighbors": 8}
    mapped(*two_kinds(8_300, n_genes=60), **settings)  # of fewer it maps the counts
    for cell in (0, 1, 4_000, 8_299):
        apart = np.sort(np.linalg.norm(found["x"] - found["x"][cell], axis=1))[1:8]  # not itself
        np.testing.assert_allclose(np.sort(found["near"][cell].data), apart, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_number_of_threads_does_not_move_a_cell():
    cells, threads = two_kinds(60), numba.get_num_threads()
    first = mapped(*cells, **SETTINGS)
    assert numba.get_num_threads() == threads
    numba.set_num_threads(1)
    try:
        np.testing.assert_array_equal(first, mapped(*cells, **SETTINGS))
    finally:
        numba.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(("n_cells", "n_genes"), [(40, 100), (16, 40), (5, 30), (30, 3)])
def test_few_cells_or_genes_are_enough(n_cells, n_genes):
    coordinates = mapped(*two_kinds(n_cells, n_genes), **SETTINGS)
    assert coordinates.shape == (n_cells, 2)
    assert np.isfinite(coordinates).all()


@pytest.mark.slow
def test_genes_without_counts_do_not_matter():
    counts, n_counts = two_kinds(50)
    padded = sparse.hstack([counts, sparse.csr_matrix((50, 7))]).tocsr()
    first = mapped(counts, n_counts, **SETTINGS)
    np.testing.assert_array_equal(first, mapped(padded, n_counts, **SETTINGS))


def test_too_few_cells_are_refused():
    with pytest.raises(InputError, match="4 cells"):
        mapped(*two_kinds(4), **SETTINGS)


def test_cells_that_come_some_at_a_time_are_mapped_as_all_at_once(monkeypatch):
    cells, found = two_kinds(40), []

    def no_map(adata, **_):
        found.append(adata.X)

    monkeypatch.setattr(umap, "_map", no_map)
    for values in (1, 500, 10**6):
        monkeypatch.setattr(blocks, "VALUES", values)
        mapped(*cells, **{**SETTINGS, "n_variable_genes": 20})
    whole = found.pop()
    assert whole.shape == (40, 20)
    assert whole.dtype == np.float32
    assert all((part != whole).nnz == 0 for part in found)
    logs = counts_per_10k(*cells).log1p()
    of_chosen = {column.tobytes() for column in logs.toarray().T.astype(np.float32)}
    assert {column.tobytes() for column in whole.toarray().T} <= of_chosen
