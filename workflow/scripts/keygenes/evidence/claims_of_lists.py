"""Tests of claims that rankings of genes have nothing to do with each other: a verdict each."""

import numpy as np
import pandas as pd
import scipy

from keygenes.evidence.claim_tables import (
    NotTestable,
    ranked_genes,
    scorecard_row,
    standard_error,
)
from keygenes.evidence.claims_of_accuracy import by_chance
from keygenes.evidence.claims_of_genes import SEEDS
from keygenes.evidence.outcomes import (
    ALPHA,
    Found,
    Margin,
    Null,
    equivalence_p,
    equivalent,
    listed,
    outcome,
    over_models,
    unless,
)
from keygenes.evidence.verdicts import FAILS, HOLDS, PART, UNDECIDED

RANDOM = "a random ranking in every training"
RECURS = 0.5  # Spearman between the rankings of two trainings, from which on a ranking is one


def recurs(seeds):
    """Return whether the rankings of single trainings agree, and the least Spearman of two.

    (False, NaN) of a single one: whether it would come again is not known.
    """
    scores = [table.set_index("ensembl_id")["score"] for table in seeds.values()]
    found = []
    for i, one in enumerate(scores):
        for other in scores[:i]:
            both = pd.concat([one, other], axis=1, join="inner")
            found.append(scipy.stats.spearmanr(both.iloc[:, 0], both.iloc[:, 1]).statistic)
    least = min(found, default=np.nan)
    return bool(least >= RECURS), float(least)


def _recurrence(seeds, n_genes):
    """Return whether a ranking recurs, a clause where not, and how often random rankings do."""
    again, least = recurs(seeds)
    chance = scipy.stats.norm.sf(RECURS * np.sqrt(max(n_genes - 1, 1)))
    if again:
        return True, "", chance
    reason = (
        "there is one training, so whether its ranking would come again is not known"
        if np.isnan(least)
        else f"rankings of single trainings hardly agree (Spearman {least:.2f})"
    )
    return False, f"; {reason}", chance


def _as_unlike(share):
    return f"one random ranking for all trainings is as unlike {share:.0%} of the time"


def _share_within(found, n, most):
    """Return the verdict on a share of at most `most`, by its exact 90 % interval: str array."""
    found = np.asarray(found)
    high = scipy.stats.beta.ppf(1 - ALPHA, found + 1, np.maximum(n - found, 1e-9))
    high = np.where(found >= n, 1.0, high)
    low = np.where(
        found > 0, scipy.stats.beta.ppf(ALPHA, np.maximum(found, 1e-9), n - found + 1), 0.0
    )
    return np.select([high <= most, low > most], [HOLDS, FAILS], UNDECIDED)


def lists_differ(tables, task, *, regime, track, against, n_top, n_against, most, controls):
    """Test whether the first `n_top` genes of a track are hardly among `n_against` of another.

    A claim of no difference: holds if the share that is in both is at most `most` with its whole
    90 % interval (exact), fails if the interval lies above, else undecided; in part if a control
    track in place of `against` shares more than `most`. Random rankings share nothing either, so
    the track's own trainings must agree (Spearman of 0.5 or more between any two), else nothing
    is decided. p: of sharing `most` or more. Null: a random ranking in every training.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)
    n = min(n_top, n_against)

    def shared(table, name):
        other = ranked_genes(tables, task, name, regime)[0]
        both = table[table["ensembl_id"].isin(other["ensembl_id"])]
        first = other[other["ensembl_id"].isin(both["ensembl_id"])]["ensembl_id"].head(n_against)
        return int(both["ensembl_id"].head(n_top).isin(first).sum()), len(both)

    found, n_both = shared(frame, against)
    again, clause, chance_again = _recurrence(seeds, n_both)
    counts = [shared(table, against)[0] for table in seeds.values()]
    interval, unit = over_models(counts, f"of {n} genes shared", SEEDS)
    notes, explained = [], []
    for name in controls:
        try:
            others = shared(frame, name)[0]
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        explained += [name] if others > most * n else []
        notes.append(f"{name}: {others} of {n} shared")
    possible = np.arange(n + 1)
    share = scipy.stats.hypergeom.pmf(possible, n_both, n_against, n_top)
    verdict = unless(_share_within(found, n, most), bool(explained))
    like_once = share[_share_within(possible, n, most) == HOLDS].sum()
    like = like_once * chance_again
    return outcome(
        verdict if again or str(verdict) == FAILS else UNDECIDED,
        f"{found} of {n} are shared with {against}, {n_top * n_against / n_both:.1f} by chance; "
        f"claimed are at most {most:.0%}"
        + (f"; {listed(explained)} shares more" if explained else "")
        + clause,
        Found(found, unit, n_both, "genes", interval, scipy.stats.binom.cdf(found, n, most)),
        null=Null(RANDOM, 0.0 if explained else float(like), float(like) if explained else 0.0),
        control="; ".join([*notes, _as_unlike(like_once)]),
    )


def top_is_unchanged(tables, task, *, n_top, fdr, min_abs_log2fc, most):
    """Test whether the most attended genes are not differentially expressed.

    Holds if the share that is lies at or below `most` with its whole 90 % interval (exact), and
    below that of all genes (p <= 0.05): where few genes change at all, random ones do not either.
    In part if only the first, fails if the interval lies above `most`, else undecided. p: of as
    few among random genes (hypergeometric). Null: a random ranking.
    """
    table = tables["attended"][task].sort_values("attention_rank")
    changed = ((table["p_adj"] < fdr) & (table["log2fc"].abs() >= min_abs_log2fc)).to_numpy()
    n, possible = min(n_top, len(table)), np.arange(min(n_top, len(table)) + 1)
    found = int(changed[:n].sum())
    chance = scipy.stats.hypergeom(len(table), int(changed.sum()), n)
    verdicts = np.where(
        (_share_within(possible, n, most) == HOLDS) & (chance.cdf(possible) > ALPHA),
        PART,
        _share_within(possible, n, most),
    )
    share = chance.pmf(possible)
    return outcome(
        verdicts[found],
        f"{found} of the first {n} are differentially expressed, {n * changed.mean():.1f} by "
        f"chance; claimed are at most {most:.0%}",
        Found(
            found,
            f"of the first {n}; seeds pooled, no interval",
            len(table),
            "genes",
            p=chance.cdf(found),
        ),
        null=Null(
            "a random ranking",
            float(share[verdicts == HOLDS].sum()),
            float(share[verdicts == PART].sum()),
        ),
        control=f"all genes: {changed.mean():.0%} are differentially expressed",
    )


def uncorrelated(tables, task, *, regime, track, against, metric, margin):
    """Test whether a track has nothing to do with another, by a correlation of the scorecard.

    A claim of no difference, tested on Fisher's z: holds if the 90 % interval lies within
    `margin` of 0, fails if all of it lies outside, else undecided. Random rankings are
    uncorrelated too, so the track's own trainings must agree (Spearman of 0.5 or more between any
    two), else nothing is decided. p: of the two one-sided tests. Null: a random ranking in every
    training.
    """
    row = scorecard_row(
        tables,
        task,
        track=track,
        regime=regime,
        aspect="expression",
        against=against,
        metric=metric,
    )
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    again, clause, chance_again = _recurrence(
        ranked_genes(tables, task, track, regime)[1], row["n_genes"]
    )
    within = Margin(0.0, float(np.arctanh(margin)))
    verdict, p, like_once = UNDECIDED, np.nan, 0.0
    if np.isfinite([low, high]).all() and -1 < low <= high < 1:
        error, _ = standard_error(np.arctanh(low), np.arctanh(high), 10**6)
        verdict = str(equivalent(np.arctanh(value), error, 10**6, within))
        p = float(equivalence_p(np.arctanh(value), error, 10**6, within))
        random = by_chance(0.0, error, 10**6)
        like_once = (equivalent(random, error, 10**6, within) == HOLDS).mean()
    return outcome(
        verdict if again or verdict == FAILS else UNDECIDED,
        f"the {metric.replace('_', ' ')} with {against} is {value:.2f}; claimed is 0 within "
        f"{margin:g}" + clause,
        Found(
            value,
            "correlation" + ("; 95 % interval" if np.isfinite(low) else "; no interval"),
            row["n_genes"],
            "genes",
            (low, high),
            p if again else np.nan,
        ),
        null=Null(RANDOM, float(like_once * chance_again), 0.0),
        control=(
            "detection, mean expression and mean rank are held fixed; "
            if metric.startswith("partial")
            else ""
        )
        + _as_unlike(like_once),
    )
