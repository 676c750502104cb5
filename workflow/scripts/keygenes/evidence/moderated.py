"""Moderated t: two groups of wells, gene by gene, with variances that lean on all genes.

With six wells a side a gene's own variance is hardly known. Empirical Bayes (Smyth 2004, the
method of limma) takes the variances of all genes as draws of s0^2 d0 / chi^2_d0, estimates s0^2 and
d0 from them, and replaces each by (d0 s0^2 + d s^2) / (d0 + d), of d0 + d degrees of freedom.
"""

import numpy as np
import scipy
from scipy.special import digamma, polygamma

MIN_WELLS = 2  # on each side


def trigamma_inverse(value):
    """Return x with trigamma(x) = value (Newton on 1 / trigamma, as in Smyth 2004, appendix).

    Parameters
    ----------
    value : float
        Positive.
    """
    if value > 1e7:
        return 1 / np.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        tri = polygamma(1, x)
        step = tri * (1 - tri / value) / polygamma(2, x)
        x += step
        if -step / x < 1e-8:
            break
    return float(x)


def fit_prior(variance, df):
    """Return the prior's variance and degrees of freedom (Smyth 2004, section 6.2).

    Parameters
    ----------
    variance : float array [n_genes]
        Sample variances; zero and missing ones are left out.
    df : float array [n_genes]
        Their degrees of freedom.

    Returns
    -------
    s0_squared, d0 : float
        d0 is infinite where the variances differ no more than chance makes them, and zero (no
        moderation) where fewer than two are known.
    """
    known = (variance > 0) & (df > 0) & np.isfinite(variance)
    if known.sum() < 2:
        return 0.0, 0.0
    half = df[known] / 2
    e = np.log(variance[known]) - digamma(half) + np.log(half)
    spread = e.var(ddof=1) - polygamma(1, half).mean()
    if spread <= 0:
        return float(np.exp(e.mean())), np.inf
    d0 = 2 * trigamma_inverse(spread)
    return float(np.exp(e.mean() + digamma(d0 / 2) - np.log(d0 / 2))), d0


def two_groups(values):
    """Return difference, pooled variance, its degrees of freedom and the wells of both sides.

    Parameters
    ----------
    values : pair of float arrays [n_wells, n_genes]
        Missing (NaN) where a well has no value.

    Returns
    -------
    effect, variance, df : float arrays [n_genes]
        effect: first minus second. All missing where a side has fewer than `MIN_WELLS` wells.
    sizes : int array [2, n_genes]
    """
    present = [~np.isnan(side) for side in values]
    sizes = np.array([mask.sum(0) for mask in present])
    enough = (sizes >= MIN_WELLS).all(0)
    means, squares = [], []
    for side, mask, n in zip(values, present, sizes, strict=True):
        filled = np.where(mask, side, 0.0)
        mean = filled.sum(0) / np.maximum(n, 1)
        means.append(mean)
        squares.append((np.where(mask, side - mean, 0.0) ** 2).sum(0))
    df = np.where(enough, sizes.sum(0) - 2, np.nan).astype(float)
    effect = np.where(enough, means[0] - means[1], np.nan)
    return effect, np.where(enough, sum(squares), np.nan) / df, df, sizes


def moderated_t(contrast, reference, prior=None):
    """Compare two groups of wells, gene by gene.

    Parameters
    ----------
    contrast, reference : float arrays [n_wells, n_genes]
        NaN: the well has no value for the gene.
    prior : (s0_squared, d0), optional
        Without one it is estimated from the genes given.

    Returns
    -------
    dict of float arrays [n_genes]
        effect (contrast minus reference, mean over wells), t, df, p (two-sided), n_wells (of both
        sides). Missing where a side has fewer than two wells; t and p also where nothing varies.
    """
    effect, variance, df, sizes = two_groups((contrast, reference))
    s0_squared, d0 = fit_prior(variance, df) if prior is None else prior
    with np.errstate(invalid="ignore", divide="ignore"):
        if np.isinf(d0):
            moderated, total = np.where(np.isnan(df), np.nan, s0_squared), df + d0
        else:
            moderated, total = (d0 * s0_squared + df * variance) / (d0 + df), df + d0
        # Never more than all genes together have, as in limma.
        total = np.minimum(total, np.nansum(df))
        t = effect / np.sqrt(moderated * (1 / sizes[0] + 1 / sizes[1]))
    t = np.where(np.isfinite(t), t, np.nan)
    return {
        "effect": effect,
        "t": t,
        "df": total,
        "p": 2 * scipy.stats.t.sf(np.abs(t), total),
        "n_wells": sizes.sum(0),
    }
