"""The map of the cells: principal components of log counts, neighbours, UMAP."""

import anndata
import numba
import numpy as np
import scanpy as sc
import scipy.sparse
from threadpoolctl import threadpool_limits

from keygenes.core.blocks import blocks_in_memory, values_per_column
from keygenes.core.errors import input_error
from keygenes.expression.normalise import counts_per_10k

MIN_CELLS = 5  # below this there is no neighbourhood to draw


def _scaled(counts, n_counts):
    """Return counts per 10,000 in float32, which shares its indices with `counts`."""
    if not (counts.has_canonical_format and counts.data.all()):
        return counts_per_10k(counts, n_counts).astype(np.float32)
    data, start = np.empty(counts.nnz, np.float32), 0
    for block in blocks_in_memory(counts):
        stop = start + block.shape[0]
        entries = slice(counts.indptr[start], counts.indptr[stop])
        data[entries] = counts_per_10k(block, n_counts[start:stop]).data
        start = stop
    return scipy.sparse.csr_matrix((data, counts.indices, counts.indptr), counts.shape, copy=False)


def _map(adata, *, n_variable_genes, n_components, n_neighbors, min_dist, seed):
    """Return the coordinates; `adata` holds counts per 10,000 of genes that have a count."""
    sc.pp.log1p(adata)
    if n_variable_genes < adata.n_vars:
        sc.pp.highly_variable_genes(adata, n_top_genes=n_variable_genes, flavor="seurat")
        adata = adata[:, adata.var["highly_variable"]].copy()
    # arpack finds fewer components than the smaller side has.
    n_components = min(n_components, min(adata.shape) - 1)
    sc.pp.pca(adata, n_comps=n_components, svd_solver="arpack", random_state=seed, mask_var=None)
    n_neighbors = min(n_neighbors, adata.n_obs - 1)
    # Exact, however many cells: beyond 8,191 scanpy would take pynndescent, whose result (an array,
    # no matrix) it does not understand.
    how = {"n_pcs": n_components, "random_state": seed, "transformer": "sklearn"}
    sc.pp.neighbors(adata, n_neighbors=n_neighbors, **how)
    sc.tl.umap(adata, min_dist=min_dist, random_state=seed)
    return np.asarray(adata.obsm["X_umap"], dtype=np.float64)


def umap_coordinates(
    counts, n_counts, *, n_variable_genes, n_components, n_neighbors, min_dist, seed
):
    """Return a two-dimensional map of cells.

    Counts per 10,000, log(1 + x), the most variable genes (dispersion within mean bins, scanpy's
    "seurat" flavour), principal components, Euclidean neighbours, UMAP. Fewer genes, components
    or neighbours are used where there are too few cells or genes. One thread does it all, since
    the number of threads would move the cells (and more of them gain nothing here).

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Raw counts.
    n_counts : float array [n_cells]
        Total counts of each cell over all measured genes.
    n_variable_genes, n_components, n_neighbors : int
    min_dist : float
        UMAP's; smaller packs neighbours closer.
    seed : int

    Returns
    -------
    float64 array [n_cells, 2]

    Raises
    ------
    InputError
        If there are fewer than 5 cells, or fewer than 3 genes with a count.
    """
    scaled = _scaled(counts, n_counts)
    seen = np.flatnonzero(values_per_column(scaled))
    n_cells, n_genes = scaled.shape[0], len(seen)
    if n_cells < MIN_CELLS or n_genes < 3:
        raise input_error(
            "cells for the UMAP",
            found=f"{n_cells} cells with {n_genes} genes",
            expected=f"at least {MIN_CELLS} cells and 3 genes",
            remedy="loosen the limits under 'select'",
        )
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return _map(
                anndata.AnnData(scaled if n_genes == scaled.shape[1] else scaled[:, seen]),
                n_variable_genes=n_variable_genes,
                n_components=n_components,
                n_neighbors=n_neighbors,
                min_dist=min_dist,
                seed=seed,
            )
    finally:
        numba.set_num_threads(threads)
