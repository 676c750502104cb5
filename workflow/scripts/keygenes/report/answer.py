"""The question and the answer in five sentences, with their numbers."""

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.core.tasks import cell_tasks
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence.verdicts import HOLDS, UNTESTABLE, tally
from keygenes.report.panels import spoken
from keygenes.report.summaries import (
    best_baseline,
    interval,
    pooled,
    top_expressed_members,
    top_members,
)
from keygenes.report.wording import counted, listed


def answer(tables, config, dataset, model):
    """Return five sentences: what was asked, and what was found of models, attention and genes.

    Parameters
    ----------
    tables : dict
        labels, splits, claims (or None), and per task metrics, cosine, key_genes, genes, scorecard.
    config : dict
    dataset, model : str
        What they are called.
    """
    regime, tasks = config["evidence"]["regime"], [task["name"] for task in cell_tasks(config)]
    return [
        _asked(tables, config, dataset, model, regime, tasks),
        _told(tables, regime, tasks),
        _moved(tables, config, tasks[-1]),
        _genes(tables, config, tasks[-1]),
        _real(tables, config, regime, tasks[-1]),
    ]


def _asked(tables, config, dataset, model, regime, tasks):
    tested = tables["splits"][tables["splits"]["split"] == "test"]
    classes = {task: len(tables["labels"][task].cat.categories) for task in tasks}
    asked = listed([f"{task} ({n} classes)" for task, n in classes.items()])
    return (
        f"Which genes does {model} look at when it is fine-tuned (regime {spoken(regime)}) to tell "
        f"{asked} of {dataset} apart, and is that real: asked of {tested['cell'].nunique():,} test "
        f"cells, held out by {tested['unit'].iloc[0]}, with "
        f"{counted(tested['seed'].nunique(), 'seed')}?"
    )


def _told(tables, regime, tasks):
    told, known = [], False
    for task in tasks:
        metrics = tables["metrics"][task]
        row, majority = pooled(metrics, regime), pooled(metrics, "majority")
        if row is None:
            continue
        best = best_baseline(metrics, row["design"])
        known |= pd.notna(row["ci_low"])
        told.append(
            f"{task} with an accuracy of {interval(row)}, where always naming the commonest class "
            f"reaches {majority['value']:.2f} and the best of {len(BASELINES)} baselines without a "
            f"transformer ({spoken(best['regime'])}) {best['value']:.2f}"
        )
    if not told:
        return "No test accuracy was measured."
    return f"The model tells {'; '.join(told)}{' (95 % intervals)' if known else ''}."


def _moved(tables, config, task):
    cosine = tables["cosine"][task]
    compared = set(zip(cosine["a"].astype(str), cosine["b"].astype(str), strict=True))
    a, b = next(pair for pair in config["attention"]["pairs"] if tuple(pair) in compared)
    rows = cosine[(cosine["a"].astype(str) == a) & (cosine["b"].astype(str) == b)]
    heads = rows.groupby(["layer", "head"], observed=True)[["cosine", "pearson"]].mean()
    layer, head = heads["cosine"].idxmin()
    return (
        f"The attention of {spoken(a)} and {spoken(b)}, task {task}, has a cosine of "
        f"{heads['cosine'].mean():.3f} on average over {len(heads)} heads (1: equal; lowest "
        f"{heads['cosine'].min():.3f}, layer {layer}, head {head}), and what genes receive "
        f"correlates by {heads['pearson'].mean():.3f}."
    )


def _genes(tables, config, task):
    n_top = config["evidence"]["n_key_genes"]
    keys = tables["key_genes"][task]
    first = ", ".join(keys["symbol"].head(3).astype(str))
    sets = config["evidence"]["gene_sets"]
    if not sets:
        leaders = set(keys["ensembl_id"].head(n_top))
        tests = tables["genes"][task]
        tested = tests[tests["track"].astype(str) == "wilcoxon"].sort_values("rank")
        both = len(leaders & set(tested["ensembl_id"].head(n_top)))
        return (
            f"The genes that receive most attention, task {task}, are {first}; {both} of the first "
            f"{n_top} are among the {n_top} most differentially expressed ones."
        )
    found, expected = top_members(keys, sets[0], n_top)
    by_test = top_expressed_members(tables["genes"][task], keys, sets[0], n_top)
    return (
        f"Of the {n_top} genes that receive most attention, task {task} ({first} first), {found} "
        f"are of the set {spoken(sets[0])}, {expected:.1f} would be by chance, and {by_test} of "
        f"the {n_top} most differentially expressed ones are."
    )


def _real(tables, config, regime, task):
    said = []
    sets = config["evidence"]["gene_sets"]
    card = tables["scorecard"][task]
    metric, against = ("auprc", sets[0]) if sets else ("partial_spearman", "wilcoxon")
    rows = card[
        (card["metric"].astype(str) == metric)
        & (card["against"].astype(str) == against)
        & (card["regime"].astype(str) == regime)
        & card["seed"].isna()
        & card["track"].astype(str).isin([*ATTENTION, *ATTRIBUTIONS])
    ].dropna(subset=["ci_low"])
    if not sets and len(rows):
        said.append(
            f"{(rows['ci_low'] > 0).sum()} of {len(rows)} attention and attribution tracks follow "
            "differential expression beyond what detection, mean expression and rank explain "
            "(partial correlation above 0 with all of its interval)"
        )
    if sets:
        above = rows[rows["ci_low"] > rows["base_rate"]]
        said.append(
            f"{len(above)} of {len(rows)} attention and attribution tracks rank that set above its "
            "base rate (with all of their interval)"
        )
        twins = rows.dropna(subset=["null_mean"])
        if len(twins):
            beyond = twins[twins["ci_low"] > twins["null_mean"]]
            said.append(
                f"{len(beyond)} of {len(twins)} above the mean of the same track in models trained "
                "on permuted labels"
            )
    gains = card[
        (card["metric"].astype(str) == "comprehensiveness_gain")
        & (card["regime"].astype(str) == regime)
        & card["seed"].isna()
        & card["track"].astype(str).isin([*ATTENTION, *ATTRIBUTIONS])
    ]
    if len(gains):
        moving = (gains["ci_low"] > 0).sum()
        said.append(
            f"masking the genes that a track puts first moves the model's answer more than masking "
            f"random genes of the same ranks for {moving} of {len(gains)} of them"
        )
    claims = tables["claims"]
    if claims is not None:
        verdicts = tally(claims["verdict"])
        testable = len(claims) - verdicts[UNTESTABLE]
        said.append(
            f"{verdicts[HOLDS]} of {len(claims)} readings of the claims hold"
            if testable
            else f"none of {len(claims)} readings of the claims can be tested here"
        )
    if not said:
        return "There is no gene set, track or claim to hold this against."
    text = ", ".join(said)
    return f"Is it real? In task {task}, {text}."
