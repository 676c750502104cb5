"""How well a ranking of genes agrees with a set of genes.

Scores are larger for more key genes; ranks count from 1. Tied scores are one step, as in sklearn.
"""

import numpy as np
import scipy

PRECISION_AT = (10, 25, 50, 100)
SET_METRICS = ("auroc", "auprc", *(f"precision_at_{k}" for k in PRECISION_AT))
N_DETECTION, N_RANK = 10, 5  # strata of matched draws
AT_A_TIME = 2_000_000  # numbers of a block, which bounds memory


def positions(score):
    """Return where every gene ends in the falling order: the number of genes scored no lower.

    Parameters
    ----------
    score : float array [n_genes]

    Returns
    -------
    last : int array [n_genes]
        Ties share the last position of their step.
    middle : float array [n_genes]
        Ties share the mean position.
    """
    return (
        scipy.stats.rankdata(-score, method="max").astype(np.int64),
        scipy.stats.rankdata(-score, method="average"),
    )


def precision_positions(score, ensembl_ids):
    """Return ranks without ties (equal scores go by id), for what counts the first k genes."""
    order = np.lexsort((ensembl_ids, -score))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def set_metrics(chosen, last, middle, rank):
    """Return every metric of many sets of genes of one size at once.

    Parameters
    ----------
    chosen : int array [n_sets, n_positive]
        Indices of the genes of each set.
    last, middle, rank : arrays [n_genes]
        Of `positions` and `precision_positions`.

    Returns
    -------
    dict {metric: float array [n_sets]}
        auroc, auprc (average precision), precision_at_<k> (of the first k genes, the share that
        is in the set).
    """
    n, k = len(last), chosen.shape[1]
    found = {}
    below = k * n - middle[chosen].sum(1) + k * 0.5  # sum over the set of genes below, half of ties
    found["auroc"] = (below - k * k / 2) / (k * (n - k)) if n > k else np.full(len(chosen), np.nan)
    ends = np.sort(last[chosen], axis=1)
    hits = np.broadcast_to(np.arange(1, k + 1), ends.shape)
    tied = ends[:, 1:] == ends[:, :-1]
    if tied.any():  # all of a step count from its end on
        hits = hits.copy()
        for i in range(k - 2, -1, -1):
            hits[:, i] = np.where(tied[:, i], hits[:, i + 1], hits[:, i])
    found["auprc"] = (hits / ends).mean(1)
    first = rank[chosen]
    for at in PRECISION_AT:
        found[f"precision_at_{at}"] = (first <= at).sum(1) / min(at, n)
    return found


def strata(detection, mean_rank):
    """Return the stratum of every gene: detection decile x mean-rank quintile.

    Parameters
    ----------
    detection, mean_rank : float arrays [n_genes]
        Equal values share a stratum.

    Returns
    -------
    int array [n_genes]
        Decile times `N_RANK`, plus quintile.
    """
    codes = [
        np.minimum(
            (scipy.stats.rankdata(v, method="average") - 0.5) / len(v) * parts, parts - 1
        ).astype(int)
        for v, parts in ((detection, N_DETECTION), (mean_rank, N_RANK))
    ]
    return codes[0] * N_RANK + codes[1]


def nearest_strata(codes, code):
    """Return strata by their distance to one of them, itself first; equally near ones by code.

    The distance is the share of genes between two strata by detection plus that by mean rank: a
    step of a decile is half of a step of a quintile.
    """
    detection = np.abs(codes // N_RANK - code // N_RANK) / N_DETECTION
    rank = np.abs(codes % N_RANK - code % N_RANK) / N_RANK
    return codes[np.lexsort((codes, np.round(detection + rank, 9)))]


def numbers_drawn(positive, stratum):
    """Return how many other genes a matched set takes of each stratum, and what they leave open.

    Every stratum gives its own positives as many others as it has. Those that are wanting come
    from the nearest strata with others to spare, and only where no stratum has, from the
    positives themselves.

    Parameters
    ----------
    positive : bool array [n_genes]
    stratum : int array [n_genes]

    Returns
    -------
    others : dict {stratum: int}
    wanting : dict {stratum: int}
        Of the stratum's own positives.
    """
    codes = np.unique(stratum)
    wanted = {code: int((positive & (stratum == code)).sum()) for code in codes}
    spare = {code: int((~positive & (stratum == code)).sum()) for code in codes}
    others = {code: min(wanted[code], spare[code]) for code in codes}
    for code in codes:
        spare[code] -= others[code]
        wanted[code] -= others[code]
    for code in [c for c in codes if wanted[c]]:
        for near in nearest_strata(codes, code):
            taken = min(wanted[code], spare[near])
            others[near] += taken
            spare[near] -= taken
            wanted[code] -= taken
    return others, wanted


def drawn_without_repeats(n, k, n_draws, rng):
    """Return `n_draws` sets of `k` of the numbers below `n`: int array [n_draws, k].

    Uniform over all sets (Floyd's algorithm, all draws side by side).
    """
    drawn = np.empty((n_draws, k), np.int64)
    for i, top in enumerate(range(n - k, n)):
        new = rng.integers(0, top + 1, n_draws)
        taken = (drawn[:, :i] == new[:, None]).any(1)
        drawn[:, i] = np.where(taken, top, new)
    return drawn


def matched_draws(positive, stratum, n_draws, rng):
    """Return random sets of other genes, as many of every stratum as the given set has.

    Genes of the given set are drawn only where others are wanting (`numbers_drawn`): their share,
    ``positive[draws].mean()``, is the overlap that remains. Uniform over all such sets.

    Parameters
    ----------
    positive : bool array [n_genes]
    stratum : int array [n_genes]
        From `strata`.
    n_draws : int
    rng : numpy.random.Generator

    Returns
    -------
    int array [n_draws, n_positive]
        Indices of genes, none twice in a set.
    """
    columns = []
    for numbers, drawable in zip(
        numbers_drawn(positive, stratum), (~positive, positive), strict=True
    ):
        columns += _of_strata(numbers, drawable, stratum, n_draws, rng)
    return np.concatenate(columns, axis=1)


def dealt_sets(positive, stratum, n_draws, rng):
    """Return random sets with as many of every stratum, of all its genes: membership dealt anew.

    For p: under the null the given set is one of these, so that p holds its level whatever share
    of a stratum is positive. Against `matched_draws` it does not: what others are left when the
    given set has taken high scores is lower, and spreads less (where a tenth of the genes is
    positive, steeply by detection, 18 % of null sets have p <= 0.05, and 5 % against these).

    Parameters and returns are those of `matched_draws`.
    """
    codes, k = np.unique(stratum[positive], return_counts=True)
    numbers = dict(zip(codes, k, strict=True))
    everything = np.ones(len(positive), bool)
    return np.concatenate(_of_strata(numbers, everything, stratum, n_draws, rng), axis=1)


def _of_strata(numbers, drawable, stratum, n_draws, rng):
    columns = []
    for code, k in numbers.items():
        if k:
            members = np.flatnonzero(drawable & (stratum == code))
            columns.append(members[drawn_without_repeats(len(members), k, n_draws, rng)])
    return columns


def against_draws(observed, drawn, dealt):
    """Return mean and sd of a metric over random sets of others, and p of the observed one.

    Parameters
    ----------
    observed : float
    drawn, dealt : float arrays [n_draws]
        The metric of `matched_draws` and of `dealt_sets`; p, one-sided, is among the latter.
    """
    exceed = int((dealt >= observed - 1e-12).sum())
    return float(drawn.mean()), float(drawn.std(ddof=1)), (1 + exceed) / (1 + len(dealt))


def bootstrap_sets(positive, score, rank, n_bootstrap, rng):
    """Return the metrics of a set in resamples of genes, drawn apart from the set and the others.

    A Poisson bootstrap: every gene counts a Poisson(1) number of times. Between two members of the
    set only the number of other genes matters, and sums of Poisson numbers are Poisson, so that a
    resample takes as many numbers as the set has genes.

    Parameters
    ----------
    positive : bool array [n_genes]
    score : float array [n_genes]
    rank : int array [n_genes]
        Of `precision_positions`.
    n_bootstrap : int
    rng : numpy.random.Generator

    Returns
    -------
    dict {metric: float array [n_bootstrap]}
    """
    order = np.argsort(rank)
    flags, values = positive[order], score[order]
    places = np.flatnonzero(flags)
    step = np.unique(-values, return_inverse=True)[1]
    # Others between one member and the next, in the order of ranks; the last run follows them all.
    runs = np.diff(np.concatenate([[-1], places, [len(flags)]])) - 1
    # A member counts at the end of its step of equal scores, in the middle of it for the area.
    ends = np.searchsorted(step, step[places], side="right")
    starts = np.searchsorted(step, step[places], side="left")
    found = {name: np.empty(n_bootstrap) for name in SET_METRICS}
    simple = bool((ends - starts == 1).all())  # no member is tied
    per_block = max(1, AT_A_TIME // (len(runs) if simple else len(flags)))
    for start in range(0, n_bootstrap, per_block):
        rows = slice(start, min(start + per_block, n_bootstrap))
        size = rows.stop - rows.start
        weights = rng.poisson(1.0, (size, len(places)))
        if simple:
            others = rng.poisson(runs, (size, len(runs)))
            before = np.cumsum(others, axis=1)
            above, level, total = before[:, :-1], before[:, :-1], before[:, -1]
            hits = np.cumsum(weights, axis=1)
        else:
            others = rng.poisson(1.0, (size, len(flags))) * ~flags
            before = np.concatenate([np.zeros((size, 1)), np.cumsum(others, axis=1)], axis=1)
            of_set = np.zeros((size, len(flags)))
            of_set[:, places] = weights
            of_set = np.concatenate([np.zeros((size, 1)), np.cumsum(of_set, axis=1)], axis=1)
            above, level, total = before[:, places], before[:, ends], before[:, -1]
            hits = of_set[:, ends]
        members = weights.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            lower = above if simple else (before[:, starts] + before[:, ends]) / 2
            found["auroc"][rows] = 1 - (weights * lower).sum(1) / (members * total)
            precision = np.where(weights > 0, hits / (hits + level), 0.0)
            found["auprc"][rows] = (weights * precision).sum(1) / members
        ahead = above + np.cumsum(weights, axis=1) - weights  # genes ranked before each member
        for at in PRECISION_AT:
            within = np.clip(at - ahead, 0, weights).sum(1)
            found[f"precision_at_{at}"][rows] = within / min(at, len(flags))
    return found


def wilson(successes, n):
    """Return the 95 % interval of a share (Wilson)."""
    if n == 0:
        return np.nan, np.nan
    z = scipy.stats.norm.ppf(0.975)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(centre - half), float(centre + half)
