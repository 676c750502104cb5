"""What attention is expected from rank, cell length and depth alone, in untreated training cells.

Of the attention c that a position receives, log2 c depends on its rank, on the length of its cell
and on its depth (total counts), whatever the gene: longer cells have lower ranks and a larger
denominator, and deeper cells have other genes at the same rank, also where tokens are cut off and
all cells are as long. That expectation, mu, is a surface over log rank and log length plus one
over log rank and log depth: linear between knots (one per bin of ranks, lengths, depths) and
linear beyond them, fitted by least squares to the sums that `Sums` keeps per rank and bin of
length, and per rank and bin of depth. A step function of the same bins leaves the change within a
bin and beyond the longest cell, which genes then seem to have where treated cells are longer than
untreated ones.
"""

from typing import NamedTuple

import numpy as np

# To be read wherever a q of residual attention is; `make calibration` measures it.
LIMIT = (
    "Residual attention leaves out what rank, cell length and depth do to attention in untreated "
    "training cells, as a sum of two smooth surfaces. Where treated cells differ in these alone, "
    "simulations keep near 5 % of the genes at p < 0.05; more where few untreated cells were for "
    "training or depth acts in a jump along the ranks (docs/calibration.md). What length or depth "
    "do to single genes is not left out."
)

RANK_BINS = 20
BINS = 5  # of lengths, and of depths
# Weight of the second differences of the surface, next to the positions behind an average knot:
# decides only where there are next to none, which continues the surface linearly.
SMOOTHNESS = 0.01
RIDGE = 1e-9  # of the same scale: for what neither data nor smoothness decide


class Sizes(NamedTuple):
    """How large some cells are.

    Attributes
    ----------
    lengths : int array [n_cells]
        Numbers of tokens.
    depths : float array [n_cells]
        Total counts; all 1 where they are not known, so that none depends on them.
    """

    lengths: np.ndarray
    depths: np.ndarray


class Bins(NamedTuple):
    """The largest value of each bin of lengths and of depths but the last: those of `Sizes`."""

    lengths: np.ndarray
    depths: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins of lengths, and of depths."""
        return len(self.lengths) + 1, len(self.depths) + 1


ONE_BIN = Bins(np.zeros(0), np.zeros(0))


class Expectation(NamedTuple):
    """The surface mu.

    Attributes
    ----------
    nodes : float64 array [layers, heads, n_rank_knots, n_length_knots + n_depth_knots - 1]
        In log2 of multiples of uniform attention. Those of depth are differences from the knot in
        the middle, whose own are 0: a level of both surfaces could not be told apart.
    ranks, lengths, depths : float64 arrays
        Knots, in natural logs, ascending. The first position of a cell has rank 1 here, also
        where it is a ``<cls>`` token.
    """

    nodes: np.ndarray
    ranks: np.ndarray
    lengths: np.ndarray
    depths: np.ndarray


def edges_of(values):
    """Return the largest value of each bin of some values but the last: quintiles, distinct."""
    if not len(values):
        return np.zeros(0)
    shares = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    return edges[edges < max(values)]


def bins_for(sizes):
    """Return the `Bins` of cells of some `Sizes`."""
    return Bins(*map(edges_of, sizes))


def binned(sizes, bins):
    """Return the bin, from 0, of each cell's length and depth: int [2, n_cells]."""
    both = zip(bins, sizes, strict=True)
    return np.array([np.searchsorted(edges, values, side="left") for edges, values in both])


def rank_edges(max_length):
    """Return the first rank of each log-spaced bin of ranks, and one past the last rank.

    There are 20 bins, fewer where whole numbers are too few for that many.
    """
    edges = np.floor(np.geomspace(1, max_length + 1, RANK_BINS + 1) + 1e-9)
    return np.unique(edges.astype(int))


def rank_knots(max_length):
    """Return the mean log rank of each bin of ranks."""
    bounds = rank_edges(max_length)
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return np.array([np.log(np.arange(*ends)).mean() for ends in pairs])


def left_knots(x, knots):
    """Return which knot begins the piece that each value is in; the outer ones go on beyond."""
    last = max(0, len(knots) - 2)
    return np.clip(np.searchsorted(knots, x, side="right") - 1, 0, last)


def hats(x, knots):
    """Return the weights of the knots in a piecewise linear function: float64 [n, n_knots].

    Beyond the outer knots the function goes on linearly; with one knot it is constant.
    """
    weights = np.zeros((len(x), len(knots)))
    if len(knots) == 1:
        return weights + 1
    left = left_knots(x, knots)
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


def without_middle(columns):
    """Return the columns of the knots of depth that have nodes: all but the middle one."""
    return np.delete(columns, columns.shape[1] // 2, axis=1)


def weights_of(sizes, lengths, depths):
    """Return the weights of the knots of length and of depth in each cell.

    Parameters
    ----------
    sizes : Sizes
    lengths, depths : float arrays
        Knots, as of `Expectation`.

    Returns
    -------
    float64 array [n_cells, n_length_knots + n_depth_knots - 1]
    """
    of_length, of_depth = hats(np.log(sizes.lengths), lengths), hats(np.log(sizes.depths), depths)
    return np.concatenate([of_length, without_middle(of_depth)], 1)


def reaching(lengths, weights, max_length):
    """Return how many cells reach each rank, and the means of their weights.

    Parameters
    ----------
    lengths : int array [n_cells]
    weights : float64 array [n_cells, n_knots]

    Returns
    -------
    n : float64 array [max_length]
    means : float64 array [max_length, n_knots]
        0 where no cell reaches the rank.
    """
    sums = np.zeros((max_length, 1 + weights.shape[1]))
    np.add.at(sums, lengths - 1, np.column_stack([np.ones(len(lengths)), weights]))
    sums = sums[::-1].cumsum(0)[::-1]
    return sums[:, 0], sums[:, 1:] / np.maximum(sums[:, :1], 1)


def fitted(log2_sums, sizes, bins):
    """Return the `Expectation` of some cells; None where there are none.

    The surface has the mean of log2 c at a rank in each bin of lengths, and in each of depths.
    Products are summed by einsum: as BLAS calls their last digits would depend on the threads.

    Parameters
    ----------
    log2_sums : pair of float64 arrays [layers, heads, n_bins, max_length]
        Sums over cells of log2 c by rank, and by the bin of the cell's length (the first) or
        depth (the second).
    sizes : Sizes
        Of the same cells.
    bins : Bins
        From `bins_for`.
    """
    if not len(sizes.lengths):
        return None
    layers, heads, _, max_length = log2_sums[0].shape
    of_cell = binned(sizes, bins)
    knots = [
        np.array([np.log(values[codes == b]).mean() for b in range(n)])
        for values, codes, n in zip(sizes, of_cell, bins.shape, strict=True)
    ]
    weights = weights_of(sizes, *knots)
    log_rank, ranks = np.log(np.arange(1, max_length + 1)), rank_knots(max_length)
    of_rank, left = hats(log_rank, ranks), left_knots(log_rank, ranks)
    n_nodes = weights.shape[1]
    size = len(ranks) * n_nodes
    normal, right = np.zeros((size, size)), np.zeros((layers, heads, size))
    for sums, codes in zip(log2_sums, of_cell, strict=True):
        if sums.shape[2] == 1 and sums is not log2_sums[0]:
            continue  # depths are all one, or not known
        for b in range(sums.shape[2]):
            n, means = reaching(sizes.lengths[codes == b], weights[codes == b], max_length)
            for i in np.unique(left):  # a rank's equation has the nodes of two knots
                at, of_knots = left == i, slice(i * n_nodes, (i + 2) * n_nodes)
                rows = of_rank[at, i : i + 2, None] * means[at, None, :]
                rows = rows.reshape(len(rows), -1)
                normal[of_knots, of_knots] += np.einsum("ri,rj->ij", rows * n[at, None], rows)
                right[..., of_knots] += np.einsum("ri,lhr->lhi", rows, sums[:, :, b, at])
    normal += sizes.lengths.sum() / size * penalty(ranks, *knots)
    nodes = np.linalg.solve(normal, right.reshape(-1, size).T).T
    return Expectation(nodes.reshape(layers, heads, len(ranks), n_nodes), ranks, *knots)


def penalty(ranks, lengths, depths):
    """Return the weight of every pair of nodes in what smoothness and the ridge cost.

    Parameters
    ----------
    ranks, lengths, depths : float arrays
        Knots.
    """
    of_length, of_depth = roughness(lengths), without_middle(roughness(depths))
    across = np.zeros((len(of_length) + len(of_depth), of_length.shape[1] + of_depth.shape[1]))
    across[: len(of_length), : of_length.shape[1]] = of_length
    across[len(of_length) :, of_length.shape[1] :] = of_depth
    total = RIDGE * np.eye(len(ranks) * across.shape[1])
    along = np.kron(roughness(ranks), np.eye(across.shape[1]))
    for rough in (along, np.kron(np.eye(len(ranks)), across)):
        total += SMOOTHNESS * np.einsum("ri,rj->ij", rough, rough)
    return total


def expected_by_rank(expectation, sizes, max_length):
    """Return mu averaged over the cells that reach a rank: float64 [layers, heads, max_length].

    Parameters
    ----------
    sizes : Sizes
    """
    weights = weights_of(sizes, expectation.lengths, expectation.depths)
    _, means = reaching(sizes.lengths, weights, max_length)
    of_rank = hats(np.log(np.arange(1, max_length + 1)), expectation.ranks)
    by_knot = np.einsum("lhkm,rm->lhkr", expectation.nodes, means)
    return np.einsum("lhkr,rk->lhr", by_knot, of_rank)


def expected_by_gene(expectation, cells, depths, groups, n_groups, n_tokens):
    """Return sums over cells of mu at a gene's position, mean over layers and heads.

    Parameters
    ----------
    cells : list of int arrays
        Tokens of each cell.
    depths : float array [n_cells]
        As of `Sizes`.
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
    weights = weights_of(Sizes(lengths, depths), expectation.lengths, expectation.depths)
    lines = np.einsum("km,cm->ck", nodes, weights)
    totals = np.zeros((n_groups, n_tokens))
    for cell, group, line in zip(cells, groups, lines, strict=True):
        np.add.at(totals[group], cell, np.einsum("rk,k->r", of_rank[: len(cell)], line))
    return totals
