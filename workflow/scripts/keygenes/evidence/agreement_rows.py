"""Rows of the scorecard that hold tracks against other rankings: tests, confounds, controls."""

import numpy as np
import pandas as pd

from keygenes.core.progress import with_progress
from keygenes.core.schemas import TABLES
from keygenes.core.tracks import in_order
from keygenes.evidence.agreement import wilson
from keygenes.evidence.rankings import rank_biased_overlap, spearman
from keygenes.evidence.scorecard_rows import correlation, overlap_columns, ranks, rng_of, row

CONFOUNDS = ("length", "detection", "mean_rank", "mean_expression")
GIVEN = ("detection", "mean_expression", "mean_rank")  # of the partial correlation
TESTS = ("wilcoxon", "pseudobulk")


def expression_rows(runs, facts):
    """Return the rows of aspect 'expression': agreement with differential expression.

    rbo and Spearman's rho; partial_spearman is given detection, mean expression and mean rank.
    """
    ids = facts.index.to_numpy(str)
    rows = []
    for against in TESTS:
        target = runs.get((against, None, None))
        if target is None:
            continue
        for run, score in with_progress(runs.items(), f"against {against}", "rankings"):
            if run[0] == against:
                continue
            both = ~np.isnan(score) & ~np.isnan(target)
            a, b, n = score[both], target[both], int(both.sum())
            covariates = [facts[name].to_numpy()[both] for name in GIVEN]
            seed = rng_of("overlap", *run, against) if run[2] is None else None
            for metric, columns in (
                ("rbo", overlap_columns(a, b, ids[both], seed)),
                ("spearman", correlation(a, b)),
                ("partial_spearman", correlation(a, b, covariates)),
            ):
                rows.append(row(run, "expression", against, metric, n_genes=n, **columns))
    return rows


def confound_rows(runs, facts):
    """Return the rows of aspect 'confound': rho with length, detection, rank and expression."""
    rows = []
    for run, score in runs.items():
        for name in CONFOUNDS:
            values = facts[name].to_numpy(float)
            both = ~np.isnan(score) & ~np.isnan(values)
            columns = correlation(score[both], values[both])
            n = int(both.sum())
            rows.append(row(run, "confound", name, "spearman", n_genes=n, **columns))
    return rows


def half_rows(scores, tests, universe):
    """Return the rows of aspect 'halves': a score from one half of the wells, tests in the other.

    Values and intervals are means of the two directions.

    Parameters
    ----------
    scores : dict {(track, regime): {half: Series by ensembl_id}}
    tests : dict {half: Series by ensembl_id}
        |z| of the Wilcoxon tests in that half.
    universe : array of str
    """
    rows = []
    for (track, regime), halves in scores.items():
        found = []
        for own, other in (("a", "b"), ("b", "a")):
            if own not in halves or other not in tests:
                continue
            a, b = (s.reindex(universe).to_numpy(float) for s in (halves[own], tests[other]))
            both = ~np.isnan(a) & ~np.isnan(b)
            a, b, ids = a[both], b[both], universe[both]
            found.append(
                {
                    "rbo": overlap_columns(a, b, ids, rng_of("halves", track, regime, own)),
                    "spearman": correlation(a, b),
                    "n": len(a),
                }
            )
        for metric in ("rbo", "spearman") if found else ():
            columns = {
                name: float(np.mean([f[metric].get(name, np.nan) for f in found]))
                for name in ("value", "ci_low", "ci_high")
            }
            n = min(f["n"] for f in found)
            rows.append(
                row((track, regime, None), "halves", "wilcoxon", metric, n_genes=n, **columns)
            )
    return rows


def null_rows(runs, controls):
    """Return the rows of aspect 'null' that compare models with controls: rho of gene scores.

    Parameters
    ----------
    controls : collection of str
        Regimes with permuted labels or a random encoder.
    """
    rows = []
    for (track, regime, seed), score in runs.items():
        if seed is not None or regime is None or regime in controls:
            continue
        for control in controls:
            other = runs.get((track, control, None))
            if other is None:
                continue
            both = ~np.isnan(score) & ~np.isnan(other)
            columns = correlation(score[both], other[both])
            rows.append(
                row(
                    (track, regime, None),
                    "null",
                    control,
                    "spearman",
                    n_genes=int(both.sum()),
                    **columns,
                )
            )
    return rows


def significance_rows(genes):
    """Return the share of genes whose score differs between the groups of wells, per track.

    q < 0.05 and p < 0.05, over the genes tested; the interval takes genes as independent, which
    genes of the same cells are not. Of a control, this is what there is without anything learned.
    """
    pooled = genes[genes["seed"].isna() & genes["regime"].notna() & genes["p"].notna()]
    rows = []
    for (track, regime), table in pooled.groupby(["track", "regime"], observed=True, sort=False):
        for metric, column in (("share_q_below_0.05", "q"), ("share_p_below_0.05", "p")):
            hits, n = int((table[column] < 0.05).sum()), len(table)
            low, high = wilson(hits, n)
            columns = {"ci_low": low, "ci_high": high, "n_genes": n, "n_positive": hits}
            rows.append(
                row((track, regime, None), "null", "reference_wells", metric, hits / n, **columns)
            )
    return rows


def agreement(runs, ids, regime):
    """Return the agreement of all pairs of tracks, those of a model of one regime.

    Parameters
    ----------
    runs : result of `scores_by_run`
    ids : array of str [n_universe]

    Returns
    -------
    DataFrame
        Schema "agreement"; over the genes that both tracks score, every pair both ways.
    """
    own = {run[0]: s for run, s in runs.items() if run[2] is None and run[1] in (None, regime)}
    order = in_order(own)
    rows = []
    for i, first in enumerate(order):
        for second in order[i:]:
            both = ~np.isnan(own[first]) & ~np.isnan(own[second])
            a, b = own[first][both], own[second][both]
            found = {
                "rbo": rank_biased_overlap(ranks(a, ids[both]), ranks(b, ids[both])),
                "spearman": spearman(a, b)[0],
                "n_genes": int(both.sum()),
            }
            for pair in dict.fromkeys([(first, second), (second, first)]):
                rows.append({"track_a": pair[0], "track_b": pair[1], **found})
    return pd.DataFrame(rows, columns=TABLES["agreement"].names)
