"""Rows of the scorecard that hold tracks against gene sets: how well they tell their genes."""

import logging

import numpy as np

from keygenes.core.progress import with_progress
from keygenes.evidence.agreement import (
    SET_METRICS,
    bootstrap_sets,
    positions,
    precision_positions,
    set_metrics,
)
from keygenes.evidence.gene_sets import membership
from keygenes.evidence.matched import matched
from keygenes.evidence.scorecard_rows import interval, rng_of, row

log = logging.getLogger("keygenes")


def permuted_columns(tests, run, gene_set, metric):
    """Return the columns permuted_* of a pooled row of AUPRC: what the track's own test says.

    Parameters
    ----------
    tests : table 'track_tests', or None
    run : (track, regime, seed)
    gene_set, metric : str

    Returns
    -------
    dict
        Empty where no model of that regime learned from dealt labels.
    """
    if tests is None or metric != "auprc" or run[2] is not None:
        return {}
    regimes = tests["regime"].astype(object).where(tests["regime"].notna(), None)
    own = (tests["track"].astype(str) == run[0]) & (tests["gene_set"].astype(str) == gene_set)
    own &= regimes == run[1] if run[1] else regimes.isna()
    columns = ["permuted_mean", "permuted_sd", "permuted_p"]
    return tests.loc[own, columns].iloc[0].to_dict() if own.any() else {}


def truth_rows(runs, facts, sets, tests=None, *, n_bootstrap, n_null_draws):
    """Return the rows of aspect 'truth': how well each track tells the genes of a set.

    Pooled rows have an interval, over resampled genes, and a null: as many other genes, matched on
    detection and mean rank. The universe is the track's own: genes that it scores.

    Parameters
    ----------
    runs : result of `scores_by_run`
    facts : result of `gene_facts`
    sets : dict {name: set of str}
    tests : table 'track_tests', optional
        Without it the columns permuted_* stay empty.
    """
    ids = facts.index.to_numpy(str)
    by_universe = {}
    for run, score in runs.items():
        by_universe.setdefault((~np.isnan(score)).tobytes(), []).append(run)
    rows = []
    for name, members in with_progress(sets.items(), "against truth", "gene sets"):
        inside = membership(ids, facts["symbol"].to_numpy(), members)
        log.info("%s: %d of its genes are detected", name, inside.sum())
        for same in by_universe.values():
            scored = ~np.isnan(runs[same[0]])
            positive, kept = inside[scored], ids[scored]
            n, k = len(positive), int(positive.sum())
            sizes = {"n_genes": n, "n_positive": k}
            if k == 0 or k == n:
                rows += [
                    row(run, "truth", name, metric, np.nan, **sizes)
                    for run in same
                    for metric in SET_METRICS
                ]
                continue
            null = None
            if any(seed is None for _, _, seed in same):
                null = matched(positive, facts[scored], n_null_draws, rng_of("null", name, n))
            own = np.flatnonzero(positive)[None]
            for run in same:
                score = runs[run][scored]
                rank = precision_positions(score, kept)
                places = (*positions(score), rank)
                values = {m: float(v[0]) for m, v in set_metrics(own, *places).items()}
                pooled = run[2] is None
                if pooled:
                    against_null = null.columns(values, places)
                    resampled = bootstrap_sets(
                        positive, score, rank, n_bootstrap, rng_of("bootstrap", *run, name)
                    )
                for metric, value in values.items():
                    columns = {"base_rate": 0.5 if metric == "auroc" else k / n}
                    if pooled:
                        columns |= interval(resampled[metric]) | against_null[metric]
                    columns |= permuted_columns(tests, run, name, metric)
                    rows.append(row(run, "truth", name, metric, value, **columns, **sizes))
    return rows
