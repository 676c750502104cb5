"""Cells made equal or disordered on purpose: fewer counts, fewer genes, no ranks.

Every cell has random numbers of its own, from the seed and the cell's name: what it draws depends
neither on the other cells nor on their order, and shards draw what one job would.
"""

import hashlib

import numpy as np
from scipy import sparse

STREAMS = {"depth": 1, "length": 2, "order": 3}


def cell_generator(seed, purpose, cell):
    """Return the random generator of one cell for one purpose ('depth', 'length' or 'order')."""
    digest = hashlib.blake2b(str(cell).encode(), digest_size=8).digest()
    entropy = [seed, STREAMS[purpose], int.from_bytes(digest, "little")]
    return np.random.Generator(np.random.PCG64(entropy))


def thinned_counts(counts, depth, cells, seed):
    """Return counts of which each cell keeps `depth`, drawn without replacement.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Whole numbers; a cell with no more than `depth` keeps them all.
    depth : int
    cells : sequence of str [n_cells]
        Names.
    seed : int

    Returns
    -------
    scipy.sparse.csr_matrix of float64 [n_cells, n_genes]
        Without stored zeros.
    bool array [n_cells]
        Cells that had more than `depth`.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64, copy=True)
    totals = np.asarray(counts.sum(axis=1)).ravel()
    deep = totals > depth
    for row in np.flatnonzero(deep):
        entries = slice(counts.indptr[row], counts.indptr[row + 1])
        whole = np.rint(counts.data[entries]).astype(np.int64)
        generator = cell_generator(seed, "depth", cells[row])
        counts.data[entries] = generator.multivariate_hypergeometric(whole, depth)
    counts.eliminate_zeros()
    return counts, deep


def drawn_genes(order, lengths, n, cells, seed):
    """Return `n` genes of each cell, drawn without replacement, in the order they were in.

    Parameters
    ----------
    order : int array
        Of all cells, one cell after the other.
    lengths : int array [n_cells]
        A cell with no more than `n` keeps them all.
    n : int
    cells : sequence of str [n_cells]
    seed : int

    Returns
    -------
    int array
        Part of `order`.
    int array [n_cells]
        The new lengths.
    """
    starts = np.cumsum(lengths) - lengths
    kept = np.ones(len(order), bool)
    for row in np.flatnonzero(lengths > n):
        generator = cell_generator(seed, "length", cells[row])
        lost = generator.permutation(lengths[row])[n:]
        kept[starts[row] + lost] = False
    return order[kept], np.minimum(lengths, n)


def shuffled_genes(order, lengths, cells, seed):
    """Return the genes of each cell in random order; parameters as of `drawn_genes`."""
    order, start = order.copy(), 0
    for cell, length in zip(cells, lengths, strict=True):
        generator = cell_generator(seed, "order", cell)
        order[start : start + length] = generator.permutation(order[start : start + length])
        start += length
    return order
