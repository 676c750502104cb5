"""Wilcoxon tests under many relabellings of whole units at once.

Labels belong to wells, so a class's rank sum is the sum of its wells': cells are ranked once, and
a relabelling costs a product of small matrices.
"""

import numpy as np
import scipy

AT_A_TIME = 4_000_000  # numbers of a block, which bounds memory


def unit_rank_sums(scaled, units):
    """Return the sum of mid-ranks of every unit's cells, gene by gene, and what ties take away.

    Parameters
    ----------
    scaled : scipy.sparse matrix [n_cells, n_genes]
        Counts per 10,000, none negative.
    units : int array [n_cells]
        Unit of each cell, from 0.

    Returns
    -------
    rank_sums : float64 array [n_units, n_genes]
    ties : float64 array [n_genes]
        Sum of t^3 - t over groups of t equal values.
    """
    columns = scaled.tocsc()
    n_cells, n_genes = columns.shape
    sizes = np.bincount(units)
    rank_sums, ties = np.empty((len(sizes), n_genes)), np.empty(n_genes)
    for gene in range(n_genes):
        part = slice(columns.indptr[gene], columns.indptr[gene + 1])
        values, of_unit = columns.data[part], units[columns.indices[part]]
        n_zero = n_cells - len(values)
        above_zero = n_zero + scipy.stats.rankdata(values) - (n_zero + 1) / 2
        rank_sums[:, gene] = sizes * (n_zero + 1) / 2 + np.bincount(of_unit, above_zero, len(sizes))
        equal = np.append(np.unique(values, return_counts=True)[1], n_zero).astype(float)
        ties[gene] = (equal**3 - equal).sum()
    return rank_sums, ties


def strongest_z(rank_sums, ties, sizes, classes):
    """Return \\|z\\| of every gene's strongest class against the rest, for every relabelling.

    As `wilcoxon.compare_groups`: tie-corrected, without continuity correction.

    Parameters
    ----------
    rank_sums, ties : result of `unit_rank_sums`
    sizes : int array [n_units]
        Cells of each unit.
    classes : int array [n_relabellings, n_units]
        Class of each unit.

    Yields
    ------
    float64 array [n_genes]
        One per relabelling, in order; 0 where all cells are equal.
    """
    n = float(sizes.sum())
    per_test = np.maximum(0.0, (n + 1 - ties / (n * (n - 1))) / 12)
    member = (classes[:, None] == np.unique(classes)[:, None]).astype(float)
    per_block = max(1, AT_A_TIME // (member.shape[1] * rank_sums.shape[1]))
    for start in range(0, len(classes), per_block):
        of_class = member[start : start + per_block]
        n_own = of_class @ sizes
        excess = of_class @ rank_sums - (n_own * (n + 1) / 2)[..., None]
        spread = np.sqrt((n_own * (n - n_own))[..., None] * per_test)
        z = np.divide(excess, spread, out=np.zeros_like(excess), where=spread > 0)
        yield from np.abs(z).max(1)
