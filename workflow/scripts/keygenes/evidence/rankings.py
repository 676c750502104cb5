"""How much two rankings of genes agree."""

import numpy as np
import scipy

PERSISTENCE = 0.98  # of rank-biased overlap: the first 50 ranks carry 85 % of the weight


def rank_biased_overlap(rank_a, rank_b, p=PERSISTENCE):
    """Return the extrapolated rank-biased overlap of two rankings of the same genes.

    Webber et al. 2010, eq. 32: X_k / k p^k + (1 - p) / p sum_d X_d / d p^d, where X_d of the
    first d genes are in both. The lists may end before they agree; what follows is taken to agree
    as well as what was seen.

    Parameters
    ----------
    rank_a, rank_b : int arrays [n_genes]
        Ranks from 1; a gene that a list does not hold has 0.
    p : float
        Persistence: a reader goes on to the next rank with this chance.
    """
    depth = int(min(rank_a.max(initial=0), rank_b.max(initial=0)))
    if depth == 0:
        return np.nan
    shared = (rank_a > 0) & (rank_b > 0)
    later = np.maximum(rank_a[shared], rank_b[shared])
    overlap = np.cumsum(np.bincount(later[later <= depth], minlength=depth + 1))[1:]
    d = np.arange(1, depth + 1)
    weights = p**d
    agreement = overlap / d
    return float(agreement[-1] * weights[-1] + (1 - p) / p * (agreement * weights).sum())


def bootstrap_overlap(rank_a, rank_b, n_bootstrap, rng, p=PERSISTENCE):
    """Return rank-biased overlaps of resamples of genes (Poisson bootstrap), with the first genes.

    A gene drawn twice stands twice in both lists. Beyond 1,500 ranks no weight is left.

    Parameters
    ----------
    rank_a, rank_b : int arrays [n_genes]
        Ranks from 1, no ties, none missing.

    Returns
    -------
    float array [n_bootstrap]
    """
    deep = 1500
    near = (rank_a <= deep) | (rank_b <= deep)
    # The rank of a gene near the top of one list in the other: genes before it are resampled too.
    a, b = rank_a[near], rank_b[near]
    order_a, order_b = np.argsort(a), np.argsort(b)
    gaps_a, gaps_b = (np.diff(r[o], prepend=0) - 1 for r, o in ((a, order_a), (b, order_b)))
    found = np.empty(n_bootstrap)
    for i in range(n_bootstrap):
        weights = rng.poisson(1.0, len(a))
        starts = []
        for order, gaps in ((order_a, gaps_a), (order_b, gaps_b)):
            start = np.empty(len(a), np.int64)
            before = np.cumsum(weights[order] + rng.poisson(gaps))
            start[order] = before - weights[order]
            starts.append(start)
        later = np.repeat(np.maximum(*starts), weights)
        copy = np.arange(len(later)) - np.repeat(np.cumsum(weights) - weights, weights) + 1
        later = later + copy
        depth = int(min(deep, weights.sum()))
        if not depth:  # of a few genes none may be drawn
            found[i] = np.nan
            continue
        overlap = np.cumsum(np.bincount(later[later <= depth], minlength=depth + 1))[1:]
        d = np.arange(1, depth + 1)
        agreement = overlap / d
        found[i] = agreement[-1] * p**depth + (1 - p) / p * (agreement * p**d).sum()
    return found


def spearman(a, b, covariates=()):
    """Return Spearman's correlation and its 95 % interval, given covariates if there are any.

    Partial: the correlation of what linear regressions on the ranks of the covariates leave of both
    ranks. The interval is Fisher's z with the variance of Bonett and Wright (2000),
    (1 + rho^2 / 2) / (n - 3 - covariates); genes are taken as independent.

    Parameters
    ----------
    a, b : float arrays [n_genes]
    covariates : sequence of float arrays [n_genes]

    Returns
    -------
    rho, low, high : float
        Missing where fewer than ten genes are given or one side does not vary.
    """
    n = len(a)
    if n < 10 + len(covariates):
        return np.nan, np.nan, np.nan
    ranks = [scipy.stats.rankdata(v) for v in (a, b)]
    if covariates:
        design = np.column_stack([np.ones(n), *(scipy.stats.rankdata(v) for v in covariates)])
        ranks = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks]
    else:
        ranks = [r - r.mean() for r in ranks]
    norms = [np.sqrt((r**2).sum()) for r in ranks]
    if min(norms) < 1e-6 * n:  # constant, or nothing that the covariates do not say
        return np.nan, np.nan, np.nan
    rho = float(np.clip(ranks[0] @ ranks[1] / (norms[0] * norms[1]), -1, 1))
    if abs(rho) > 1 - 1e-12:
        return rho, rho, rho
    half = scipy.stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (n - 3 - len(covariates)))
    return rho, float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))
