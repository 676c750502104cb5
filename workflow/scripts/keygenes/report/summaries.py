"""Numbers of the tables that the page and the terminal tell of."""

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.core.shown import shortened
from keygenes.evidence.gene_sets import is_partial, set_counts
from keygenes.evidence.verdicts import (
    FAILS,
    HOLDS,
    PART,
    UNDECIDED,
    UNTESTABLE,
    of_claims,
    tally,
)
from keygenes.models import learnt
from keygenes.report.panels import distinct_cells, pool


def pooled(metrics, regime, metric="accuracy"):
    """Return the row of a regime's pooled test metric, or None if it has none."""
    rows = metrics[
        (metrics["regime"].astype(str) == regime)
        & (metrics["metric"].astype(str) == metric)
        & (metrics["split"].astype(str) == "test")
    ]
    rows = pool(rows)
    return None if rows.empty else rows.sort_values("design").iloc[0]  # 'grouped' before 'random'


def in_question(metrics, name):
    """Return the pooled test accuracy of a regime or reader; of None that of the best baseline."""
    return pooled(metrics, name) if name else best_baseline(metrics, "grouped")


def metric_summary(metrics):
    """Return the pooled test metrics, a row per regime and design.

    Columns regime, design, n_cells, n_units, accuracy with its interval and what that covers,
    learnt ('no: ...' of models that have not), then the values of the other metrics; of
    accuracy_gain and leak with their p.
    """
    rows = pool(metrics[metrics["split"].astype(str) == "test"])
    rows = rows.astype({"regime": str, "design": str, "metric": str})
    keys = ["regime", "design"]
    wide = rows.pivot(index=keys, columns="metric", values="value")
    p = rows.pivot(index=keys, columns="metric", values="p")
    accuracy = rows[rows["metric"] == "accuracy"].set_index(keys)
    table = accuracy[["n_cells", "n_units"]].assign(accuracy=accuracy["value"])
    table = table.assign(ci_low=accuracy["ci_low"], ci_high=accuracy["ci_high"])
    table["covers"] = accuracy["covers"].astype(object)
    table["learnt"] = [learnt_text(metrics, name) for name in table.index.get_level_values(0)]
    for name in ("balanced_accuracy", "macro_f1", "quadratic_kappa", "mean_absolute_error"):
        table[name] = wide[name]
    for name in ("accuracy_gain", "leak"):
        if name in wide:
            table[name], table[f"p ({name})"] = wide[name], p[name]
    return table.reset_index()


def not_learnt(metrics, regime):
    """Return why a regime or baseline counts as not having learnt its task, in words; or ''.

    Parameters
    ----------
    metrics : table 'metrics' of the task
    regime : str
    """
    if regime == "majority":
        return ""
    return learnt.not_learnt(metrics, regime)


def learnt_text(metrics, regime):
    """Return 'yes', or 'no' with the reason; None where it was not asked."""
    if regime == "majority" or pooled(metrics, regime, "accuracy_over_commonest") is None:
        return None
    reason = not_learnt(metrics, regime)
    return f"no: {reason}" if reason else "yes"


def n_trainings(tables, regime, tasks):
    """Return how often each fold of a regime was trained: 1 where nothing is trained here."""
    metrics = tables["metrics"][tasks[0]]
    return max(1, metrics.loc[metrics["regime"].astype(str) == regime, "seed"].nunique())


def covered(row):
    """Return what an interval is over: "over wells only" where each fold has one model."""
    covers = row["covers"] if pd.notna(row["covers"]) else f"{row['unit']}s"
    return f"over {covers}" + ("" if "trainings" in str(covers) else " only")


def interval(row):
    """Return a value with its interval as text; where there is none, why."""
    if pd.isna(row["ci_low"]):
        return f"{row['value']:.2f} (no interval: one {row['unit']} per class)"
    return f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"


def top_members(key_genes, name, n_top):
    """Return how many of the first `n_top` key genes are in a gene set, and how many by chance."""
    flags = key_genes[f"in_{name}"].to_numpy()
    return int(flags[:n_top].sum()), flags.mean() * min(n_top, len(flags))


def partial_sets(tables):
    """Return what became of the gene sets less than half of which is in the data.

    Parameters
    ----------
    tables : dict
        gene_sets: {name: table 'gene_set'}.

    Returns
    -------
    dict {name: result of `evidence.gene_sets.set_counts`}
    """
    counts = {name: set_counts(table) for name, table in tables["gene_sets"].items()}
    return {name: found for name, found in counts.items() if is_partial(found)}


def set_table(tables):
    """Return what became of every gene set, a row each (see `partial_sets`)."""
    rows = []
    for name, table in tables["gene_sets"].items():
        counts = set_counts(table)
        lost = shortened(", ".join(counts.pop("lost")), 60)
        rows.append({"gene_set": name, **counts, "lost": lost})
    return pd.DataFrame(rows)


def set_auprc(scorecard, study):
    """Return the row of AUPRC of the track that leads against the first gene set, or None.

    Parameters
    ----------
    scorecard : table 'scorecard' of a task
    study : Study
        About no regime, so that no regime is named in the rows of this track.
    """
    wanted = {"track": study.leading_track, "aspect": "truth", "metric": "auprc"}
    wanted |= {"against": next(iter(study.gene_sets), None)}
    rows = scorecard[scorecard["seed"].isna() & scorecard["regime"].isna()]
    for column, value in wanted.items():
        rows = rows[rows[column].astype(str) == value]
    rows = rows[rows["value"].notna()]
    return None if rows.empty else rows.iloc[0]


def attention_change(tables, study, task):
    """Return how far the attention of the first pair of models of a task differs.

    Returns
    -------
    dict
        a, b (regimes), n_heads, n_cells; cosine (mean over heads), low, high (heads), lowest
        (layer, head), pearson; again: {bound, cosine, pearson, n_cells} of two models of `a`
        between which nothing but chance differs: two trainings of a fold (bound other_seed), or
        where each fold was trained once two folds (other_fold); None where there is one model.
    """
    cosine, bounds = tables["cosine"][task], tables["comparison_bounds"][task]
    compared = set(zip(cosine["a"].astype(str), cosine["b"].astype(str), strict=True))
    a, b = next(pair for pair in study.pairs if pair in compared)
    rows = cosine[(cosine["a"].astype(str) == a) & (cosine["b"].astype(str) == b)]
    heads = rows.groupby(["layer", "head"], observed=True)[["cosine", "pearson"]].mean()
    again = trained_again(bounds, a)
    return {
        "a": a,
        "b": b,
        "n_heads": len(heads),
        "n_cells": distinct_cells(rows),
        **heads.mean().to_dict(),
        "low": heads["cosine"].min(),
        "high": heads["cosine"].max(),
        "lowest": heads["cosine"].idxmin(),
        "again": again
        and {
            "bound": again[0],
            "n_cells": distinct_cells(again[1]),
            **again[1][["cosine", "pearson"]].mean().to_dict(),
        },
    }


def trained_again(bounds, regime):
    """Return (bound, rows of 'comparison_bounds') of a regime trained again; None without."""
    rows = bounds[bounds["regime"].astype(str) == regime]
    for bound in ("other_seed", "other_fold"):
        found = rows[rows["bound"].astype(str) == bound]
        if len(found):
            return bound, found
    return None


def best_baseline(metrics, design):
    """Return the row of the baseline with the highest pooled accuracy of a design."""
    rows = metrics[metrics["metric"].astype(str) == "accuracy"]
    rows = rows[rows["regime"].astype(str).isin(BASELINES)]
    rows = pool(rows[rows["design"] == design])
    return rows.loc[rows["value"].idxmax()]


def top_expressed_members(genes, key_genes, name, n_top):
    """Return how many of the `n_top` most differentially expressed genes are in a gene set."""
    ranked = genes[genes["track"].astype(str) == "wilcoxon"].sort_values("rank").head(n_top)
    members = key_genes.set_index("ensembl_id")[f"in_{name}"]
    return int(members.reindex(ranked["ensembl_id"]).fillna(False).sum())


def verdict_counts(table):
    """Return how many claims have each verdict, one a claim: "2 hold, 1 in part, ... (of 9)"."""
    words = {HOLDS: "hold", PART: "in part", FAILS: "fail", UNDECIDED: "undecided"}
    words[UNTESTABLE] = "not testable here"
    found = tally(of_claims(table)["verdict"])
    return (
        f"{', '.join(f'{n} {words[verdict]}' for verdict, n in found.items())} (one verdict each, "
        f"of {sum(found.values())} claims)"
    )
