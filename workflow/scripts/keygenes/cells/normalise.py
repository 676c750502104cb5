"""The one scale of expression: counts per 10,000 of a cell's counts over all measured genes."""

import numpy as np
from scipy import sparse

from keygenes.core.errors import input_error

TARGET_SUM = 10_000


def counts_per_10k(counts, n_counts):
    """Return counts per 10,000.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Raw counts; left as they are.
    n_counts : float array [n_cells]
        Total counts of each cell over ALL measured genes, not only those in `counts`.

    Returns
    -------
    scipy.sparse.csr_matrix of float64 [n_cells, n_genes]
        Sorted indices, no stored zeros.

    Raises
    ------
    InputError
        If a cell with counts has no positive total.
    """
    scaled = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    scaled.eliminate_zeros()
    scaled.sort_indices()
    per_row = np.diff(scaled.indptr)
    n_counts = np.asarray(n_counts, dtype=np.float64)
    if not (n_counts[per_row > 0] > 0).all():
        raise input_error(
            "obs column 'n_counts'",
            found="cells with counts but no positive total",
            expected="the total counts of each cell over all measured genes",
            remedy="correct the column, or leave it out of the dataset's 'columns'",
        )
    # One division of whole numbers: 3 of 3,000 and 1 of 1,000 give the same bits, a tie to a rank
    # test. Multiplying by a rounded factor would break such ties at random.
    scaled.data *= TARGET_SUM
    scaled.data /= np.repeat(n_counts, per_row)
    return scaled


def scaled_blocks(blocks, n_counts):
    """Yield `counts_per_10k` of cells that come some at a time.

    Parameters
    ----------
    blocks : iterable of scipy.sparse.csr_matrix [n, n_genes]
    n_counts : float array [n_cells]
    """
    start = 0
    for counts in blocks:
        stop = start + counts.shape[0]
        yield counts_per_10k(counts, n_counts[start:stop])
        start = stop
