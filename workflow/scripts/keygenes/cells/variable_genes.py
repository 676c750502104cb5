"""Which genes vary most between cells, found some cells at a time."""

import numpy as np
import pandas as pd

N_BINS = 20  # of mean expression, within which dispersions are compared


def moments(blocks):
    """Return mean and sample variance per column of a matrix in blocks of rows.

    Parameters
    ----------
    blocks : iterable of scipy.sparse.csr_matrix [n_rows, n_columns]

    Returns
    -------
    mean, variance : float64 array [n_columns]
    """
    n, sums, squares = 0, 0, 0
    for block in blocks:
        n_columns = block.shape[1]
        n += block.shape[0]
        sums += np.bincount(block.indices, block.data, n_columns)
        squares += np.bincount(block.indices, block.data.astype(np.float64) ** 2, n_columns)
    mean = sums / n
    return mean, np.maximum(0, squares / n - mean**2) * n / max(1, n - 1)


def variable_genes(scaled, n_genes):
    """Return the columns of the most variable genes, ascending.

    Dispersion (variance over mean of counts per 10,000) standardised within bins of mean
    expression: scanpy's default, "seurat" (Satija et al. 2015), of the genes that
    have a count, and without all cells in memory.

    Parameters
    ----------
    scaled : iterable of scipy.sparse.csr_matrix [n_cells, n_columns]
        Counts per 10,000, some cells at a time.
    n_genes : int
        Genes wanted; all that vary where there are fewer.
    """
    mean, variance = moments(scaled)
    seen = np.flatnonzero((mean > 0) & (variance > 0))
    if len(seen) <= n_genes:
        return seen
    dispersion = np.log(variance[seen] / mean[seen])
    counted = np.where(mean > 0, mean, np.nan)  # a gene that no cell has moves no bin
    bins = pd.cut(np.log1p(counted), N_BINS, labels=False)[seen]
    groups = pd.Series(dispersion).groupby(bins)
    centre, spread = groups.transform("mean"), groups.transform("std")
    # a gene alone in its bin has no spread to be measured by: it counts as one deviation above
    alone = spread.isna()
    spread = spread.where(~alone, centre)
    centre = centre.where(~alone, 0)
    score = ((dispersion - centre) / spread).fillna(0).to_numpy()
    return np.sort(seen[np.argsort(-score, kind="stable")[:n_genes]])
