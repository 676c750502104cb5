"""The map of the cells: principal components of log counts, neighbours, UMAP."""

import anndata
import numba
import numpy as np
import scanpy as sc
import scipy.sparse
from threadpoolctl import threadpool_limits

from keygenes.cells.normalise import scaled_blocks
from keygenes.cells.variable_genes import variable_genes
from keygenes.core.errors import input_error

MIN_CELLS = 5  # below this there is no neighbourhood to draw


def _map(adata, *, n_components, n_neighbors, min_dist, seed):
    """Return the coordinates; `adata` holds logs of the genes that are looked at."""
    # arpack finds fewer components than the smaller side has.
    n_components = min(n_components, min(adata.shape) - 1)
    sc.pp.pca(adata, n_comps=n_components, svd_solver="arpack", random_state=seed)
    n_neighbors = min(n_neighbors, adata.n_obs - 1)
    # Exact, however many cells: beyond 8,191 scanpy would take pynndescent, whose result (an array,
    # no matrix) it does not understand.
    how = {"n_pcs": n_components, "random_state": seed, "transformer": "sklearn"}
    sc.pp.neighbors(adata, n_neighbors=n_neighbors, **how)
    sc.tl.umap(adata, min_dist=min_dist, random_state=seed)
    return np.asarray(adata.obsm["X_umap"], dtype=np.float64)


def umap_coordinates(
    blocks, n_counts, *, n_variable_genes, n_components, n_neighbors, min_dist, seed
):
    """Return a two-dimensional map of cells.

    Counts per 10,000, the most variable genes, log(1 + x), principal components, Euclidean
    neighbours, UMAP. Fewer genes, components or neighbours are used where there are too few cells
    or genes. One thread does it all, since the number of threads would move the cells (and more of
    them gain nothing here).

    Parameters
    ----------
    blocks : callable
        Yields raw counts of some cells at a time, scipy.sparse.csr_matrix [n, n_genes]. Called
        twice, so that only the chosen genes are in memory.
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
        If there are fewer than 5 cells, or fewer than 3 genes that vary.
    """
    genes = variable_genes(scaled_blocks(blocks(), n_counts), n_variable_genes)
    if len(n_counts) < MIN_CELLS or len(genes) < 3:
        raise input_error(
            "cells for the UMAP",
            found=f"{len(n_counts)} cells with {len(genes)} genes that vary",
            expected=f"at least {MIN_CELLS} cells and 3 genes",
            remedy="loosen the limits under 'select'",
        )
    logs = [part[:, genes].log1p().astype(np.float32) for part in scaled_blocks(blocks(), n_counts)]
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return _map(
                anndata.AnnData(scipy.sparse.vstack(logs, format="csr")),
                n_components=n_components,
                n_neighbors=n_neighbors,
                min_dist=min_dist,
                seed=seed,
            )
    finally:
        numba.set_num_threads(threads)
