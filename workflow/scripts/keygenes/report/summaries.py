"""Numbers of the tables that the page and the terminal tell of."""

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.evidence.verdicts import tally


def pooled(metrics, regime, metric="accuracy"):
    """Return the row of a regime's pooled test metric, or None if it has none."""
    rows = metrics[
        (metrics["regime"].astype(str) == regime)
        & (metrics["metric"].astype(str) == metric)
        & (metrics["split"].astype(str) == "test")
        & metrics["seed"].isna()
    ]
    return None if rows.empty else rows.sort_values("design").iloc[0]  # 'grouped' before 'random'


def metric_summary(metrics):
    """Return the pooled test metrics, a row per regime and design.

    Columns regime, design, n_cells, n_units, accuracy with its interval, then the values of the
    other metrics; of accuracy_gain and leak with their p.
    """
    rows = metrics[metrics["seed"].isna() & (metrics["split"].astype(str) == "test")]
    rows = rows.astype({"regime": str, "design": str, "metric": str})
    keys = ["regime", "design"]
    wide = rows.pivot(index=keys, columns="metric", values="value")
    p = rows.pivot(index=keys, columns="metric", values="p")
    accuracy = rows[rows["metric"] == "accuracy"].set_index(keys)
    table = accuracy[["n_cells", "n_units"]].assign(accuracy=accuracy["value"])
    table = table.assign(ci_low=accuracy["ci_low"], ci_high=accuracy["ci_high"])
    for name in ("balanced_accuracy", "macro_f1", "quadratic_kappa", "mean_absolute_error"):
        table[name] = wide[name]
    for name in ("accuracy_gain", "leak"):
        if name in wide:
            table[name], table[f"p ({name})"] = wide[name], p[name]
    return table.reset_index()


def interval(row):
    """Return a value with its interval as text; where there is none, why."""
    if pd.isna(row["ci_low"]):
        return f"{row['value']:.2f} (no interval: one {row['unit']} per class)"
    return f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"


def top_members(key_genes, name, n_top):
    """Return how many of the first `n_top` key genes are in a gene set, and how many by chance."""
    flags = key_genes[f"in_{name}"].to_numpy()
    return int(flags[:n_top].sum()), flags.mean() * min(n_top, len(flags))


def attention_change(tables, config, task):
    """Return how far the attention of the first pair of models of a task differs.

    Returns
    -------
    dict
        a, b (regimes), n_heads, n_cells; cosine (mean over heads), low, high (heads), lowest
        (layer, head), pearson; other_seed, {cosine, pearson, n_cells} of two seeds of `a`, None
        where one seed was trained.
    """
    cosine, bounds = tables["cosine"][task], tables["comparison_bounds"][task]
    compared = set(zip(cosine["a"].astype(str), cosine["b"].astype(str), strict=True))
    a, b = next(pair for pair in config["attention"]["pairs"] if tuple(pair) in compared)
    rows = cosine[(cosine["a"].astype(str) == a) & (cosine["b"].astype(str) == b)]
    heads = rows.groupby(["layer", "head"], observed=True)[["cosine", "pearson"]].mean()
    same = bounds["regime"].astype(str) == a
    again = bounds[same & (bounds["bound"].astype(str) == "other_seed")]
    control = again[["cosine", "pearson"]].mean().to_dict()
    control["n_cells"] = int(again.drop_duplicates("seed")["n_cells"].sum())
    return {
        "a": a,
        "b": b,
        "n_heads": len(heads),
        "n_cells": int(rows.drop_duplicates("seed")["n_cells"].sum()),
        **heads.mean().to_dict(),
        "low": heads["cosine"].min(),
        "high": heads["cosine"].max(),
        "lowest": heads["cosine"].idxmin(),
        "other_seed": control if len(again) else None,
    }


def best_baseline(metrics, design):
    """Return the row of the baseline with the highest pooled accuracy of a design."""
    rows = metrics[metrics["metric"].astype(str) == "accuracy"]
    rows = rows[rows["regime"].astype(str).isin(BASELINES)]
    rows = rows[rows["seed"].isna() & (rows["design"] == design)]
    return rows.loc[rows["value"].idxmax()]


def top_expressed_members(genes, key_genes, name, n_top):
    """Return how many of the `n_top` most differentially expressed genes are in a gene set."""
    ranked = genes[genes["track"].astype(str) == "wilcoxon"].sort_values("rank").head(n_top)
    members = key_genes.set_index("ensembl_id")[f"in_{name}"]
    return int(members.reindex(ranked["ensembl_id"]).fillna(False).sum())


def verdict_counts(table):
    """Return how many readings of the claims hold, hold in part, fail and cannot be tested."""
    holds, part, fails, untestable = tally(table["verdict"]).values()
    return (
        f"{holds} hold, {part} in part, {fails} fail, {untestable} not testable "
        f"({len(table)} readings of {table['claim'].nunique()} claims)"
    )
