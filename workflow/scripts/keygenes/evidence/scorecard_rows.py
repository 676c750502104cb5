"""A row of the scorecard, and the numbers that several of its aspects have."""

import zlib

import numpy as np

from keygenes.core.schemas import TABLES
from keygenes.evidence.agreement import precision_positions
from keygenes.evidence.rankings import bootstrap_overlap, rank_biased_overlap, spearman

MAX_OVERLAPS = 200  # resamples behind the interval of a rank-biased overlap


def row(run, aspect, against, metric, value, **columns):
    """Return a row of the table 'scorecard'."""
    empty = dict.fromkeys(TABLES["scorecard"].names)
    names = dict(zip(("track", "regime", "seed"), run, strict=True))
    return {
        **empty,
        **names,
        **{"aspect": aspect, "against": against, "metric": metric, "value": value},
        **columns,
    }


def interval(values):
    """Return the 95 % percentile interval of resamples as columns of a row."""
    values = values[~np.isnan(values)]
    low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
    return {"ci_low": low, "ci_high": high}


def rng_of(*parts):
    """Return the generator of random numbers of what has some names."""
    return np.random.default_rng([403, zlib.crc32("/".join(map(str, parts)).encode())])


def ranks(score, ids):
    """Return ranks from 1 by falling score, equal scores by id."""
    return precision_positions(score, ids)


def overlap_columns(a, b, ids, seed=None):
    """Return the rank-biased overlap of two scores, with its interval if a seed is given."""
    rank_a, rank_b = ranks(a, ids), ranks(b, ids)
    columns = {"value": rank_biased_overlap(rank_a, rank_b)}
    if seed is not None and len(ids):
        columns |= interval(bootstrap_overlap(rank_a, rank_b, MAX_OVERLAPS, seed))
    return columns


def correlation(a, b, covariates=()):
    """Return Spearman's rho of two scores, with its interval, as columns of a row."""
    return dict(zip(("value", "ci_low", "ci_high"), spearman(a, b, covariates), strict=True))
