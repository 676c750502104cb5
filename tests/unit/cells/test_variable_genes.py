import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse

from keygenes.cells.variable_genes import moments, variable_genes


def scaled_counts(n_cells=200, n_genes=300, seed=0):
    """Return counts per 10,000 of genes whose means and dispersions differ."""
    rng = np.random.default_rng(seed)
    mean = rng.gamma(0.5, 2, n_genes)
    counts = rng.poisson(mean * rng.gamma(2, 0.5, (n_cells, n_genes))).astype(float)
    return scipy.sparse.csr_matrix(1e4 * counts / counts.sum(1, keepdims=True))


@pytest.mark.parametrize(("seed", "n"), [(0, 50), (1, 10), (2, 200)])
def test_variable_genes_are_scanpys(seed, n):
    scaled = scaled_counts(seed=seed)
    adata = anndata.AnnData(scaled[:, np.flatnonzero(scaled.sum(0))])
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=n, flavor="seurat")
    theirs = np.flatnonzero(scaled.sum(0))[adata.var["highly_variable"]]
    parts = scaled[:7], scaled[7:90], scaled[90:]
    np.testing.assert_array_equal(variable_genes([scaled], n), theirs)
    np.testing.assert_array_equal(variable_genes(parts, n), theirs)


def test_all_that_vary_where_fewer_are_there():
    scaled = scaled_counts()
    assert len(variable_genes([scaled], 5000)) == (scaled.sum(0) > 0).sum()
    same = scipy.sparse.csr_matrix(np.tile([1.0, 2, 0, 4], (6, 1)))
    assert variable_genes([same], 5000).tolist() == []


def test_moments_are_those_of_the_dense_matrix():
    scaled = scaled_counts(31, 20)
    mean, variance = moments([scaled[:4], scaled[4:]])
    np.testing.assert_allclose(mean, scaled.toarray().mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, scaled.toarray().var(0, ddof=1), rtol=1e-9, atol=1e-9)
