"""Intervals over wells, and over trainings: the delete-one jackknife within strata.

A statistic is a function of sums over units (wells): confusion matrices, hits and numbers of cells.
It is evaluated on the sums of all units and on those with one unit left out, the others of its
stratum (dose) counting n / (n - 1) times, as the design fixes how many there are. With ``d_i`` the
statistic without unit i, a stratum of n units gives the variance

    v = (n - 1) / n  sum_i (d_i - mean d)^2    with n - 1 degrees of freedom,

unbiased for means however small n is, where a percentile bootstrap of two wells gives half of it.
Units of a stratum may have been scored by different models, so `v` holds some variation of models,
but not what the wells of a fold share. Where every fold was trained S > 1 times, models are
left out as well, one of a fold's S at a time; their variances add. What varies with model and unit
is then in both, so the variance with one model left out for one unit alone is taken off (as
with errors clustered two ways: Cameron, Gelbach & Miller 2011), and never more than the models
added. With S = 1 nothing can be said about other trainings: the interval is one over units only.

Degrees of freedom of either part are Satterthwaite's over its strata or folds, for variances that
are themselves estimates (E v^2 = sigma^4 (1 + 2 / d)): ``(sum v)^2 / sum(v^2 / (d + 2)) - 2``, at
most sum(d). With equal variances these are near sum(d), and fewer where few strata carry most; the
plain formula, ``/ sum(v^2 / d)``, gives a third of them where d is 1. The two parts together have
Satterthwaite's of the two. `tests/worlds/test_coverage.py` holds what this covers in simulations.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

LEVEL = 0.95
UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True)
class Design:
    """What is left out, in the order of the rows of `left_out_sums`.

    Attributes
    ----------
    strata : int array [n_units]
        From 0; none has a single unit, unless there is one unit in all.
    n_folds, n_seeds : int
        Models: every fold was trained `n_seeds` times.
    """

    strata: np.ndarray
    n_folds: int = 1
    n_seeds: int = 1

    @property
    def sizes(self) -> np.ndarray:
        """Units per stratum: int array [n_strata]."""
        return np.bincount(self.strata)


def _in_order(names: np.ndarray) -> np.ndarray:
    """Return distinct names in the order of their numbers, or sorted where some have none."""
    names = np.unique(names)
    try:
        return names[np.argsort(names.astype(float), kind="stable")]
    except ValueError:
        return names


def merged_strata(strata: ArrayLike) -> np.ndarray:
    """Return the stratum of each unit, those of a single unit merged with their neighbours.

    Parameters
    ----------
    strata : array [n_units]
        Doses or other names; numbers, or text that reads as numbers, are neighbours by size, others
        in sorted order. A single unit joins the next stratum, or at the end the one before.

    Returns
    -------
    int array [n_units]
        Codes from 0. Differences between doses then count as differences between units: wide,
        never too narrow.
    """
    strata = np.asarray(strata).astype(str)
    names = _in_order(strata)
    sizes = [(strata == name).sum() for name in names]
    code, held, codes = 0, 0, {}
    for name, size in zip(names, sizes, strict=True):
        codes[name] = code
        held += size
        if held > 1:
            code, held = code + 1, 0
    last = max(0, code - 1)  # of the last that is closed
    return np.array([min(codes[name], last) for name in strata], int)


def design_of(strata: ArrayLike, n_folds: int = 1, n_seeds: int = 1) -> Design:
    """Return the `Design` of units in some strata, and of models."""
    return Design(merged_strata(strata), n_folds, n_seeds)


def left_out_sums(parts: ArrayLike, design: Design) -> np.ndarray:
    """Return sums over units, means over seeds: of everything, then with one thing left out.

    Parameters
    ----------
    parts : array [n_units, n_folds, n_seeds, ...]
        What each model found in each unit; 0 where it was not asked. A statistic of one regime
        that was trained once, beside others, repeats it for every seed.
    design : Design

    Returns
    -------
    float array [n_rows, ...]
        Row 0: the whole. Then a row per unit; where there are several seeds, one per model
        (fold by fold) and one per unit and model. NaN where nothing would be left.
    """
    parts = np.asarray(parts)
    n, of_stratum, sizes = len(parts), design.strata, design.sizes
    tail = parts.shape[3:]
    ones = (1,) * len(tail)
    # Everything is summed before it is divided: a count of 0 stays exactly 0.
    units = parts.sum((1, 2))
    strata = np.zeros((len(sizes), *tail), units.dtype)
    np.add.at(strata, of_stratum, units)
    whole = strata.sum(0)
    with np.errstate(divide="ignore"):
        factor = np.where(sizes > 1, sizes / (sizes - 1.0), np.nan)[of_stratum]
    others = strata[of_stratum]
    rows = [whole[None], whole - others + factor.reshape(n, *ones) * (others - units)]
    s = design.n_seeds
    if s > 1:
        for each, axis in ((parts.sum(0), 1), (parts, 2)):  # a model; a model for one unit
            change = (each.sum(axis, keepdims=True) - s * each) / (s - 1)
            rows.append((whole + change).reshape(-1, *tail))
    return np.concatenate(rows) / s


def _variances(found: np.ndarray, axis: int) -> np.ndarray:
    """Return the jackknife variance over one axis of statistics with one of n left out."""
    n = found.shape[axis]
    return (n - 1) * found.var(axis)


def _of_strata(found: np.ndarray, design: Design) -> np.ndarray:
    """Return the variance of each stratum: float array [n_strata, ...]."""
    return np.stack(
        [_variances(found[design.strata == code], 0) for code in range(len(design.sizes))]
    )


def _freedom(found: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of a sum of variances: float array [...].

    Parameters
    ----------
    found : float array [n, ...]
    each : float array [n]
        Degrees of freedom of each.
    """
    total = found.sum(0)
    squares = (found**2 / (each + 2).reshape(-1, *(1,) * total.ndim)).sum(0)
    df = np.divide(total**2, squares, out=np.full_like(total, np.inf), where=squares > 0) - 2
    return np.clip(df, 1, max(1.0, each.sum()))


def variance(values: np.ndarray, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Return variance and degrees of freedom of a statistic.

    Parameters
    ----------
    values : float array [n_rows, ...]
        The statistic of every row of `left_out_sums`.
    design : Design

    Returns
    -------
    variance, df : float arrays [...]
        NaN where there is one unit in all.
    """
    n, f, s = len(design.strata), design.n_folds, design.n_seeds
    tail = values.shape[1:]
    if n < 2:
        missing = np.full(tail, np.nan)[()]
        return missing, missing
    strata = _of_strata(values[1 : 1 + n], design)
    total, df = strata.sum(0), _freedom(strata, design.sizes - 1.0)
    if s == 1:
        return total, df
    folds = _variances(values[1 + n : 1 + n + f * s].reshape(f, s, *tail), 1)
    both = _variances(values[1 + n + f * s :].reshape(n * f, s, *tail), 1).sum(0)
    models = np.clip(folds.sum(0) - both, 0, None)
    # A rest that is small by chance is not better known: it counts with the sum it is left of.
    squares = total**2 / df + models * folds.sum(0) / _freedom(folds, np.full(f, s - 1.0))
    total = total + models
    return total, np.divide(total**2, squares, out=np.array(df), where=squares > 0)


def interval(
    values: np.ndarray, design: Design, bounds: tuple[float, float] = UNBOUNDED
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a statistic: low, high.

    Parameters
    ----------
    values : float array [n_rows, ...]
        The statistic of every row of `left_out_sums`.
    design : Design
    bounds : (float, float)
        Between which the statistic lies.

    Returns
    -------
    low, high : float arrays [...]
    """
    spread, df = variance(values, design)
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, df) * np.sqrt(spread)
    low, high = values[0] - half, values[0] + half
    return np.clip(low, *bounds), np.clip(high, *bounds)


def two_sided_p(values: np.ndarray, design: Design) -> np.ndarray:
    """Return the p of a statistic against 0, two-sided, from its t.

    Where leaving a unit out changes nothing the t has no scale: then p is 1 for 0 itself, else
    the smallest that turning the signs of n units could give, 2^(1 - n).
    """
    spread, df = variance(values, design)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * scipy.stats.t.sf(np.abs(values[0]) / np.sqrt(spread), df)
    still = np.where(values[0] == 0, 1.0, 0.5 ** (len(design.strata) - 1))
    return np.where(spread == 0, still, p)[()]  # a number of one statistic
