"""Attention simulated by rank, length and depth of cells, without a model: who keeps its level?

Genes have a rate and an effect of their own on attention, the same in every cell. Cells differ in
depth and, partly with it, in length; log2 of the attention received moves with rank, length and
depth, and treated cells differ from untreated ones in length, in depth, in both or in nothing.
"""

from typing import NamedTuple

import numpy as np

from keygenes.attention.expected import Sizes, binned, bins_for, expected_by_gene, fitted
from keygenes.evidence.moderated import moderated_t

N_GENES, MAX_LENGTH, TYPICAL = 600, 400, 150
SHIFTS = {  # of treated cells: log length, log depth
    "nothing": (0.0, 0.0),
    "length": (-0.3, 0.0),
    "depth": (0.0, -0.5),
    "both": (-0.3, -0.5),
}
LENGTH_BY_DEPTH = 0.6  # change of log length with log depth
WELL_SD = 0.1  # of log depth between wells
FEWEST = 10  # cells of a well, for its mean residual of a gene to count


def by_length(ranks, length):
    """Return what rank and length do to log2 of attention, apart from a cell's level."""
    every = np.arange(1, MAX_LENGTH + 1)

    def weight(r):
        return 2 ** (-0.5 * np.log2(r) + 0.4 * np.sin(np.log2(r)))

    return np.log2(weight(ranks) / weight(every[:length]).mean()) + 0.5 * np.log2(length / TYPICAL)


def along_log_rank(ranks, length):
    """Return what depth does along ranks: a slope in log rank."""
    return 0.3 * (np.log2(ranks) - 5)


def along_share(ranks, length):
    """Return what depth does along the share of the cell that lies before a rank."""
    return 2 * (ranks / length - 0.5) ** 2 - 0.5 * ranks / length


def at_the_end(ranks, length):
    """Return what depth does in the last fifth of a cell alone: no sum of two surfaces."""
    return -1.0 * (ranks > 0.8 * length)


class Cells(NamedTuple):
    """Simulated cells: tokens, log2 of the attention received, and total counts of each."""

    tokens: list
    log2: list
    depths: np.ndarray


class Study(NamedTuple):
    """What all cells of a study share: genes, and what depth does."""

    rates: np.ndarray
    effects: np.ndarray
    of_depth: callable


def new_study(rng, of_depth):
    """Return a `Study` with `N_GENES` genes."""
    return Study(rng.normal(0, 1.3, N_GENES), rng.normal(0, 0.4, N_GENES), of_depth)


def new_cells(rng, study, n, length_shift=0.0, depth_shift=0.0, curve=0.0):
    """Return the `Cells` of one well.

    Parameters
    ----------
    curve : float
        What the square of log2 depth does, next to log2 depth itself.
    """
    tokens, log2 = [], []
    own = WELL_SD * rng.standard_normal() + 0.4 * rng.standard_normal(n)  # log depth
    spread = LENGTH_BY_DEPTH * own + 0.25 * rng.standard_normal(n) + length_shift
    for length, depth in zip(
        np.exp(spread) * TYPICAL, (own + depth_shift) / np.log(2), strict=True
    ):
        length = int(np.clip(length, 20, MAX_LENGTH))
        cell = np.argsort(-(study.rates + rng.gumbel(0, 0.9, N_GENES)))[:length]
        ranks = np.arange(1, length + 1)
        moved = study.of_depth(ranks, length) * (depth + curve * depth**2)
        noise = 0.3 * rng.standard_normal(length)
        tokens.append(cell)
        log2.append(by_length(ranks, length) + moved + study.effects[cell] + noise)
    return Cells(tokens, log2, 1e4 * np.exp(own + depth_shift))


def expectation_of(cells, with_depth):
    """Return the `Expectation` that the package fits to some cells."""
    sizes = sizes_of(cells, with_depth)
    bins = bins_for(sizes)
    sums = [np.zeros((1, 1, n, MAX_LENGTH)) for n in bins.shape]
    for log2, *at in zip(cells.log2, *binned(sizes, bins), strict=True):
        for total, of_bin in zip(sums, at, strict=True):
            total[0, 0, of_bin, : len(log2)] += log2
    return fitted(sums, sizes, bins)


def sizes_of(cells, with_depth):
    """Return the `Sizes` of some cells, with their depths or as if these were not known."""
    lengths = np.array([len(cell) for cell in cells.tokens])
    return Sizes(lengths, cells.depths if with_depth else np.ones(len(lengths)))


def mean_residuals(wells, expectation, with_depth):
    """Return the mean residual of each gene in each well; missing where few cells have it."""
    lines = []
    for cells in wells:
        total, n = np.zeros((2, N_GENES))
        for cell, log2 in zip(cells.tokens, cells.log2, strict=True):
            total[cell] += log2
            n[cell] += 1
        if expectation is not None:
            depths = sizes_of(cells, with_depth).depths
            nobody = np.zeros(len(cells.tokens), int)
            total -= expected_by_gene(expectation, cells.tokens, depths, nobody, 1, N_GENES)[0]
        lines.append(np.where(n >= FEWEST, total / np.maximum(n, 1), np.nan))
    return np.array(lines)


def p_of_genes(rng, world, n_wells, *, of_depth=along_log_rank, n_train=300, cells=50, curve=0.0):
    """Return p per gene of one simulated study by how attention is corrected.

    Parameters
    ----------
    world : str
        Of `SHIFTS`.
    n_wells : (int, int)
        Untreated and treated ones.
    n_train : int
        Untreated cells of training, in as many wells as the untreated ones tested.

    Returns
    -------
    dict {'none', 'length', 'length and depth': float array}
    """
    study = new_study(rng, of_depth)
    shifts = [(0.0, 0.0)] * n_wells[0] + [SHIFTS[world]] * n_wells[1]
    training = [
        new_cells(rng, study, n_train // n_wells[0], curve=curve) for _ in range(n_wells[0])
    ]
    training = Cells(
        [cell for one in training for cell in one.tokens],
        [log2 for one in training for log2 in one.log2],
        np.concatenate([one.depths for one in training]),
    )
    wells = [new_cells(rng, study, cells, *shift, curve=curve) for shift in shifts]
    found = {}
    for name, with_depth in (("none", False), ("length", False), ("length and depth", True)):
        expectation = None if name == "none" else expectation_of(training, with_depth)
        values = mean_residuals(wells, expectation, with_depth)
        p = moderated_t(values[n_wells[0] :], values[: n_wells[0]])["p"]
        found[name] = p[np.isfinite(p)]
    return found
