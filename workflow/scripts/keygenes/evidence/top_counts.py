"""How many of the first genes belong to a group, with an interval over wells.

Such a count jumps, so leaving one well out says little of its spread: wells are drawn anew instead,
rescaled so that few wells do not make the interval too narrow (Rao & Wu 1988).
"""

import numpy as np
import scipy

from keygenes.core.jackknife import LEVEL

N_DRAWS = 400  # for counts among the first genes
BLOCK = 50  # draws at a time: 50 x 20,000 genes are 8 MB


def in_top(totals, inside, n_top):
    """Return how many genes of a group are among the most attended ones.

    Parameters
    ----------
    totals : float array [n_samples, n_genes]
        Total attention per gene.
    inside : bool array [n_genes]
    n_top : int

    Returns
    -------
    float array [n_samples]
    """
    n_top = min(n_top, totals.shape[1])
    top = np.argpartition(-totals, n_top - 1, axis=1)[:, :n_top]
    return inside[top].sum(axis=1).astype(float)


def rescaled_draws(design, rng):
    """Return weights of units and of models, as if other wells and trainings had been seen.

    Of the n units of a stratum, and of the n models of a fold, n - 1 are drawn with replacement,
    each counting n / (n - 1): then sums vary as they do between studies, also of two units (Rao &
    Wu 1988). For counts among the first genes, which leaving out one unit at a time says too little
    about: they stay, or leap.

    Parameters
    ----------
    design : keygenes.core.jackknife.Design
    rng : numpy.random.Generator

    Returns
    -------
    units : float array [N_DRAWS, n_units]
    models : float array [N_DRAWS, n_folds, n_seeds]
    """

    def drawn(n, shape=()):
        if n < 2:
            return np.ones((N_DRAWS, *shape, n))
        return rng.multinomial(n - 1, np.full(n, 1 / n), (N_DRAWS, *shape)) * n / (n - 1)

    units = np.ones((N_DRAWS, len(design.strata)))
    for code, n in enumerate(design.sizes):
        units[:, design.strata == code] = drawn(n)
    return units, drawn(design.n_seeds, (design.n_folds,))


def drawn_totals(parts, design, rng):
    """Return attention per gene of all units, then of every draw: [1 + N_DRAWS, n_genes].

    Parameters
    ----------
    parts : float array [n_units, n_folds, n_seeds, n_genes]
    design : keygenes.core.jackknife.Design
    rng : numpy.random.Generator
    """
    units, models = rescaled_draws(design, rng)
    flat = parts.reshape(-1, parts.shape[3])
    rows = [parts.mean(2).sum((0, 1))[None]]
    for i in range(0, N_DRAWS, BLOCK):
        weights = np.einsum("bu,bfs->bufs", units[i : i + BLOCK], models[i : i + BLOCK])
        rows.append(weights.reshape(len(weights), -1) @ flat / design.n_seeds)
    return np.concatenate(rows)


def count_interval(values, design, bounds):
    """Return the 95 % t interval of a count from draws; missing where there is one unit in all.

    Parameters
    ----------
    values : float array [1 + N_DRAWS]
    """
    if len(design.strata) < 2:
        return np.nan, np.nan
    df = (design.sizes - 1).sum()
    spread = np.sqrt(((values[1:] - values[0]) ** 2).mean())
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, df) * spread
    return tuple(np.clip([values[0] - half, values[0] + half], *bounds))
