"""Two studies held against each other: does a track rank genes alike in both?

It may do so for a reason that needs no model: how many cells express a gene agrees across studies
too. So each agreement stands beside what detection leaves of it, beside chance, and beside the
agreement with other tracks within a study.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.schemas import TABLES
from keygenes.core.tracks import TRACKS
from keygenes.evidence.rankings import PERSISTENCE, bootstrap_overlap, rank_biased_overlap, spearman

ACROSS, WITHIN = "across", "within"
ORDER = [name for name in TRACKS if name != "random"]
N_BOOTSTRAP = 500
LEAST_GENES = 10  # fewer have no correlation


@dataclass(frozen=True)
class Scores:
    """One track of one study, over the genes that both studies have.

    score, n_cells : float arrays [n_genes], NaN where a gene has no score
    rank : int array [n_genes], 0 there
    """

    study: str
    track: str
    regime: str | None
    score: np.ndarray
    rank: np.ndarray
    n_cells: np.ndarray


def common_genes(a, b):
    """Return the sorted ids of the genes that two tables 'genes' both have.

    Raises
    ------
    InputError
        If there are too few: the studies name their genes otherwise, or are of two species.
    """
    ids = [sorted(set(table["ensembl_id"])) for table in (a, b)]
    shared = sorted(set(ids[0]) & set(ids[1]))
    if len(shared) < LEAST_GENES:
        examples = " and ".join(f"'{of[0]}'" if of else "none" for of in ids)
        raise input_error(
            "config key 'studies'",
            found=f"{len(shared)} genes that both studies score (ids such as {examples})",
            expected=f"at least {LEAST_GENES}, with ids of one kind",
            remedy="compare studies of one species whose genes have Ensembl ids",
        )
    return np.array(shared)


def pooled_tracks(genes, study, ids):
    """Return the `Scores` of a study over some genes: {(track, regime or None): Scores}.

    Scores drawn at random are left out: they are the same numbers wherever the genes are the same.

    Parameters
    ----------
    genes : table 'genes'
        Its rows without a seed are those of all models together.
    study : str
    ids : array of str [n_genes], sorted
    """
    table = genes[genes["seed"].isna() & genes["ensembl_id"].isin(ids)]
    table = table.assign(
        track=table["track"].astype(str), regime=table["regime"].astype(object).fillna("")
    )
    found = {}
    for (name, regime), rows in table.groupby(["track", "regime"], observed=True):
        if name not in ORDER:
            continue
        place = np.searchsorted(ids, rows["ensembl_id"].to_numpy(str))
        score, n_cells = np.full(len(ids), np.nan), np.full(len(ids), np.nan)
        rank = np.zeros(len(ids), np.int64)
        score[place], rank[place], n_cells[place] = rows["score"], rows["rank"], rows["n_cells"]
        found[name, regime or None] = Scores(study, name, regime or None, score, rank, n_cells)
    return found


def chance_overlap(n, p=PERSISTENCE):
    """Return the rank-biased overlap to expect of two unrelated orders of the same n genes.

    Of the first d of each, d^2 / n are in both.
    """
    if n < 1:
        return np.nan
    d = np.arange(1, n + 1)
    return float(p**n + (1 - p) / p * (d / n * p**d).sum())


def ranks_among(rank, chosen):
    """Return ranks from 1 among the chosen genes alone."""
    order = np.argsort(rank[chosen])
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(1, len(order) + 1)
    return found


def agreement(a, b, detection, mean_rank):
    """Return how far two tracks agree on the genes that both score.

    Parameters
    ----------
    a, b : Scores
    detection, mean_rank : dict {study: float array [n_genes]}
        What the partial correlations hold still: those of the studies that the two tracks are of.

    Returns
    -------
    dict
        The columns of table 'replication' that every row has; rbo_low and rbo_high are missing.
    """
    both = ~np.isnan(a.score) & ~np.isnan(b.score)
    n = int(both.sum())
    row = {"regime": a.regime or b.regime, "n_genes": n}
    row |= {"study_a": a.study, "study_b": b.study, "track_a": a.track, "track_b": b.track}
    if n < LEAST_GENES:
        return row
    ranks = [ranks_among(one.rank, both) for one in (a, b)]
    studies = list(dict.fromkeys([a.study, b.study]))
    held = [
        _covariates([of.get(study) for study in studies], both) for of in (detection, mean_rank)
    ]
    scores = a.score[both], b.score[both]
    row |= {"rbo": rank_biased_overlap(*ranks), "rbo_chance": chance_overlap(n)}
    row |= _interval("spearman", spearman(*scores))
    if held[0]:
        row |= _interval("partial", spearman(*scores, held[0]))
    if all(held):
        row["partial_both"] = spearman(*scores, [*held[0], *held[1]])[0]
    row["n_cells_a"], row["n_cells_b"] = (float(np.median(one.n_cells[both])) for one in (a, b))
    return row


def _covariates(columns, both):
    """Return the columns at some genes, or nothing where one is missing or has no value there."""
    if any(column is None or np.isnan(column[both]).any() for column in columns):
        return []
    return [column[both] for column in columns]


def _interval(name, values):
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def overlap_interval(a, b, n_bootstrap=N_BOOTSTRAP):
    """Return the 95 % interval of the rank-biased overlap of two tracks, over resampled genes.

    The seed is made from the names, so that a value does not depend on what else is compared.
    """
    both = ~np.isnan(a.score) & ~np.isnan(b.score)
    if both.sum() < LEAST_GENES:
        return np.nan, np.nan
    ranks = [ranks_among(one.rank, both) for one in (a, b)]
    if np.array_equal(*ranks):  # every resample of one list agrees with itself
        return 1.0, 1.0
    names = [str(part) for one in (a, b) for part in (one.track, one.regime)]
    rng = np.random.default_rng(zlib.crc32("/".join(names).encode()))
    drawn = bootstrap_overlap(*ranks, n_bootstrap, rng)
    return tuple(float(v) for v in np.quantile(drawn, [0.025, 0.975]))


def difference_interval(x, y):
    """Return x - y and its 95 % interval from two values with theirs, taken as independent.

    Zou and Donner 2008, square-and-add.

    Parameters
    ----------
    x, y : (value, low, high)
    """
    difference = x[0] - y[0]
    low = difference - np.hypot(x[0] - x[1], y[2] - y[0])
    return difference, low, difference + np.hypot(x[2] - x[0], y[0] - y[1])


def replication(a, b, names, n_bootstrap=N_BOOTSTRAP):
    """Return table 'replication' of one task, without its column 'task'.

    Tracks are compared where both studies have them, of the same regime; each with the tracks of
    that regime and with those that need no model. All agreement, within a study too, is over genes
    that both studies have, so that lists of equal length are compared.

    Parameters
    ----------
    a, b : table 'genes' of the two studies
    names : (str, str)
        Of the studies.

    Returns
    -------
    DataFrame
        comparison 'across': track_a in study_a against track_b in study_b; 'within': two tracks of
        one study (study_a = study_b), each pair once. In rows of one track across (track_a =
        track_b): the interval of rbo; other_mean, the mean rbo of the track with every other one
        within both studies; the nearest of these, and the difference to it.
    """
    ids = common_genes(a, b)
    studies = [pooled_tracks(*pair, ids) for pair in zip((a, b), names, strict=True)]
    keys = sorted(studies[0].keys() & studies[1].keys(), key=_place)
    held = [
        {
            name: tracks[track, None].score
            for name, tracks in zip(names, studies, strict=True)
            if (track, None) in tracks
        }
        for track in ("detection", "mean_rank")
    ]
    rows = []
    for regime in dict.fromkeys(key[1] for key in keys):
        of_regime = [key for key in keys if key[1] in (None, regime)]
        pairs = [
            (one, other)
            for one in of_regime
            for other in of_regime
            if regime in (one[1], other[1])  # those that need no model have rows of their own
        ]
        across = [
            {"comparison": ACROSS, **agreement(studies[0][one], studies[1][other], *held)}
            for one, other in pairs
        ]
        within = [
            {"comparison": WITHIN, **agreement(tracks[one], tracks[other], *held)}
            for tracks in studies
            for one, other in pairs
            if of_regime.index(one) < of_regime.index(other)
        ]
        for row in across:
            if row["track_a"] == row["track_b"]:
                key = row["track_a"], row["regime"]
                row |= _like_itself(row, key, within, studies, n_bootstrap)
        rows += [*across, *within]
    frame = pd.DataFrame(rows).reindex(columns=TABLES["replication"].names)
    return frame.drop(columns="task")


def _place(key):
    track, regime = key
    return regime is not None, regime or "", ORDER.index(track)


def _like_itself(row, key, within, studies, n_bootstrap):
    """Return the interval of a track's agreement with itself, and how other tracks compare."""
    if "rbo" not in row:
        return {}
    track, regime = key
    low, high = overlap_interval(studies[0][key], studies[1][key], n_bootstrap)
    found = {"rbo_low": low, "rbo_high": high}
    others = [r for r in within if track in (r["track_a"], r["track_b"]) and "rbo" in r]
    if not others:
        return found
    nearest = max(others, key=lambda r: r["rbo"])
    other = nearest["track_b"] if nearest["track_a"] == track else nearest["track_a"]
    tracks = studies[0] if nearest["study_a"] == row["study_a"] else studies[1]
    beside = tracks[(other, regime) if (other, regime) in tracks else (other, None)]
    limits = overlap_interval(tracks[key], beside, n_bootstrap)
    values = difference_interval((row["rbo"], low, high), (nearest["rbo"], *limits))
    return {
        **found,
        "other_mean": float(np.mean([r["rbo"] for r in others])),
        "nearest_track": other,
        "nearest_study": nearest["study_a"],
        "nearest_rbo": nearest["rbo"],
        **_interval("difference", values),
    }


def same_track(table):
    """Return the rows of table 'replication' that hold a track against itself across studies."""
    same = table["track_a"].astype(str) == table["track_b"].astype(str)
    return table[(table["comparison"] == ACROSS) & same]


def of_regime(table, regime):
    """Return the rows of one regime's tracks and of those that need no model."""
    regimes = table["regime"].astype(object)
    return table[regimes.isna() | (regimes == regime)]


def not_in_both(a, b, names):
    """Return the regimes and tracks that one study alone has: {study: [name]}."""
    found = {}
    kept = [_named(table) for table in (a, b)]
    for i, name in enumerate(names):
        alone = kept[i] - kept[1 - i]
        regimes = {regime for _, regime in kept[1 - i]}
        missing = sorted({regime for _, regime in alone if regime not in regimes})
        missing += sorted({track for track, regime in alone if regime in regimes})
        if missing:
            found[name] = missing
    return found


def _named(genes):
    pooled = genes[genes["seed"].isna()][["track", "regime"]].drop_duplicates()
    regimes = pooled["regime"].astype(object).where(pooled["regime"].notna(), None)
    return {
        (track, regime)
        for track, regime in zip(pooled["track"].astype(str), regimes, strict=True)
        if track in ORDER
    }


def primary_beside(a, b, names):
    """Return two tables 'primary' side by side: a row per quantity, a column per study.

    Parameters
    ----------
    a, b : table 'primary', or None where a study named no test
    names : (str, str)
    """
    columns = TABLES["primary"].names
    beside = {
        name: [None] * len(columns) if table is None else [table.iloc[0][c] for c in columns]
        for name, table in zip(names, (a, b), strict=True)
    }
    return pd.DataFrame({"quantity": columns, **beside}, dtype=object)
