"""What attention is expected from rank and cell length alone, in untreated training cells.

Of the attention c that a position receives, log2 c depends on its rank and on the length of its
cell, whatever the gene: longer cells have lower ranks and a larger denominator. That expectation,
mu, is a surface over log rank and log length: linear between knots (one per bin of ranks, one per
bin of lengths) and linear beyond them, fitted by least squares to the sums that `Sums` keeps per
rank and length bin. A step function of the same bins leaves the change within a bin and beyond
the longest cell, which genes then seem to have where treated cells are longer than untreated ones.
"""

from typing import NamedTuple

import numpy as np

RANK_BINS = 20
LENGTH_BINS = 5
# Weight of the second differences of the surface, next to the positions behind an average knot:
# decides only where there are next to none, which continues the surface linearly.
SMOOTHNESS = 0.01
RIDGE = 1e-9  # of the same scale: for what neither data nor smoothness decide


class Expectation(NamedTuple):
    """The surface mu.

    Attributes
    ----------
    nodes : float64 array [layers, heads, n_rank_knots, n_length_knots]
        In log2 of multiples of uniform attention.
    ranks, lengths : float64 arrays
        Knots, in natural logs, ascending. The first position of a cell has rank 1 here, also
        where it is a ``<cls>`` token.
    """

    nodes: np.ndarray
    ranks: np.ndarray
    lengths: np.ndarray


def length_edges(lengths):
    """Return the longest length of each bin of lengths but the last: quintiles, distinct ones."""
    if not len(lengths):
        return np.zeros(0, int)
    shares = np.arange(1, LENGTH_BINS) / LENGTH_BINS
    edges = np.unique(np.quantile(lengths, shares, method="inverted_cdf"))
    return edges[edges < max(lengths)].astype(int)


def length_bins(lengths, edges):
    """Return the bin, from 0, of each length."""
    return np.searchsorted(edges, lengths, side="left")


def rank_edges(max_length):
    """Return the first rank of each log-spaced bin of ranks, and one past the last rank.

    There are 20 bins, fewer where whole numbers are too few for that many.
    """
    edges = np.floor(np.geomspace(1, max_length + 1, RANK_BINS + 1) + 1e-9)
    return np.unique(edges.astype(int))


def hats(x, knots):
    """Return the weights of the knots in a piecewise linear function: float64 [n, n_knots].

    Beyond the outer knots the function goes on linearly; with one knot it is constant.
    """
    weights = np.zeros((len(x), len(knots)))
    if len(knots) == 1:
        return weights + 1
    left = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    share = (x - knots[left]) / (knots[left + 1] - knots[left])
    at = np.arange(len(x))
    weights[at, left], weights[at, left + 1] = 1 - share, share
    return weights


def roughness(knots):
    """Return second differences of a function given at the knots, as a matrix [n - 2, n]."""
    gaps = np.diff(knots)
    matrix = np.zeros((max(0, len(knots) - 2), len(knots)))
    for i in range(len(matrix)):
        matrix[i, i : i + 3] = 1 / gaps[i], -1 / gaps[i] - 1 / gaps[i + 1], 1 / gaps[i + 1]
    return matrix * (gaps.mean() if len(gaps) else 1)


def of_lengths(lengths, knots, max_length):
    """Return how many cells reach each rank, and their mean weights of the knots of length.

    Returns
    -------
    n : float64 array [max_length]
    weights : float64 array [max_length, n_knots]
        0 where no cell reaches the rank.
    """
    cells = np.bincount(lengths, minlength=max_length + 1)[1:].astype(float)
    weights = cells[:, None] * hats(np.log(np.arange(1, max_length + 1)), knots)
    n = cells[::-1].cumsum()[::-1]
    return n, weights[::-1].cumsum(0)[::-1] / np.maximum(n, 1)[:, None]


def fitted(log2_sums, lengths, edges):
    """Return the `Expectation` of some cells; None where there are none.

    Products are summed by einsum: as BLAS calls their last digits would depend on the threads.

    Parameters
    ----------
    log2_sums : float64 array [layers, heads, n_length_bins, max_length]
        Sums over cells of log2 c, by the cell's bin of length and by rank.
    lengths : int array [n_cells]
        Of the same cells.
    edges : int array [n_length_bins - 1]
        From `length_edges`.
    """
    if not len(lengths):
        return None
    layers, heads, n_bins, max_length = log2_sums.shape
    bins = length_bins(lengths, edges)
    bounds = rank_edges(max_length)
    ranks = np.array(
        [np.log(np.arange(*ends)).mean() for ends in zip(bounds[:-1], bounds[1:], strict=True)]
    )
    knots = np.array([np.log(lengths[bins == b]).mean() for b in range(n_bins)])
    of_rank = hats(np.log(np.arange(1, max_length + 1)), ranks)
    size = len(ranks) * n_bins
    normal, right = np.zeros((size, size)), np.zeros((layers, heads, size))
    for b in range(n_bins):
        n, of_length = of_lengths(lengths[bins == b], knots, max_length)
        weights = (of_rank[:, :, None] * of_length[:, None, :]).reshape(max_length, size)
        normal += np.einsum("ri,rj->ij", weights * n[:, None], weights)
        right += np.einsum("ri,lhr->lhi", weights, log2_sums[:, :, b])
    scale = lengths.sum() / size
    for rough in (
        np.kron(roughness(ranks), np.eye(n_bins)),
        np.kron(np.eye(len(ranks)), roughness(knots)),
    ):
        normal += SMOOTHNESS * scale * np.einsum("ri,rj->ij", rough, rough)
    normal += RIDGE * scale * np.eye(size)
    nodes = np.linalg.solve(normal, right.reshape(-1, size).T).T
    return Expectation(nodes.reshape(layers, heads, len(ranks), n_bins), ranks, knots)


def expected_by_rank(expectation, lengths, max_length):
    """Return mu averaged over the cells that reach a rank: float64 [layers, heads, max_length].

    Parameters
    ----------
    lengths : int array [n_cells]
    """
    _, of_length = of_lengths(lengths, expectation.lengths, max_length)
    of_rank = hats(np.log(np.arange(1, max_length + 1)), expectation.ranks)
    by_knot = np.einsum("lhkm,rm->lhkr", expectation.nodes, of_length)
    return np.einsum("lhkr,rk->lhr", by_knot, of_rank)


def expected_by_gene(expectation, cells, groups, n_groups, n_tokens):
    """Return sums over cells of mu at a gene's position, mean over layers and heads.

    Parameters
    ----------
    cells : list of int arrays
        Tokens of each cell.
    groups : int array [n_cells]
        Such as the cell's well.

    Returns
    -------
    float64 array [n_groups, n_tokens]
    """
    nodes = expectation.nodes.mean((0, 1))
    lengths = np.array([len(cell) for cell in cells], int)
    longest = max(lengths, default=0)
    of_rank = hats(np.log(np.arange(1, longest + 1)), expectation.ranks)
    by_length = np.einsum("km,cm->ck", nodes, hats(np.log(lengths), expectation.lengths))
    totals = np.zeros((n_groups, n_tokens))
    for cell, group, line in zip(cells, groups, by_length, strict=True):
        np.add.at(totals[group], cell, np.einsum("rk,k->r", of_rank[: len(cell)], line))
    return totals
