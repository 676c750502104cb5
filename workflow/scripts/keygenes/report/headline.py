"""The numbers that matter, for the page's cards and for the end of a run on the terminal."""

import textwrap

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.core.shown import printable_lines
from keygenes.report.panels import cosine_text, spoken
from keygenes.report.subject import beside, subject
from keygenes.report.summaries import (
    attention_change,
    best_baseline,
    covered,
    in_question,
    interval,
    n_trainings,
    not_learnt,
    partial_sets,
    pooled,
    top_expressed_members,
    top_members,
    verdict_counts,
)
from keygenes.report.wording import counted, trained_folds

INDENT = {"initial_indent": "      ", "subsequent_indent": "      "}


def headline_numbers(tables, study):
    """Return the numbers that matter as (label, value, detail).

    Parameters
    ----------
    tables : dict
        selection, splits, primary (or None), gene_sets {name: table}, and per task metrics,
        key_genes and, where models are compared, cosine and comparison_bounds; per task of genes
        gene_metrics.
    study : Study
    """
    splits, tasks = tables["splits"], study.tasks
    tested = splits[splits["split"] == "test"]
    unit = tested["unit"].iloc[0]
    n_folds = tested["fold"].nunique()
    models = counted(n_folds, "fold")
    if study.main:
        models = trained_folds(n_folds, n_trainings(tables, study.main, tasks))
    kept = tables["selection"].iloc[-1]
    rows = [
        *([] if tables["primary"] is None else [primary_headline(tables["primary"].iloc[0])]),
        (
            "cells in the study",
            f"{kept['n_cells']:,}",
            f"{tested['cell'].nunique():,} of them tested out of fold ({models}, held out by "
            f"{unit}), {kept['n_genes']:,} genes",
        ),
    ]
    for task in list(dict.fromkeys([tasks[0], tasks[-1]])):
        rows += _accuracy_headline(tables["metrics"][task], study, task)
    for task in study.paired_tasks[-1:]:
        rows.append(attention_headline(task, attention_change(tables, study, task)))
    for name in study.gene_sets[:1]:
        rows.append(_members_headline(tables, study, tasks[-1], name))
    return rows + [gene_headline(task, tables["gene_metrics"][task]) for task in study.gene_classes]


def _accuracy_headline(metrics, study, task):
    """Return the line of a task's accuracy, beside its floors and other models, as a list."""
    row, majority = in_question(metrics, study.main), pooled(metrics, "majority")
    if row is None:
        return []
    over = ""
    if pd.notna(row["ci_low"]):
        over = f"95 % interval {covered(row)} ({row['n_units']} {row['unit']}s), "
    reason = study.main and not_learnt(metrics, study.main)
    over = f"it has not learnt its task: {reason}; {over}" if reason else over
    others = [f"{spoken(name)} {pooled(metrics, name)['value']:.2f}" for name in BASELINES[:2]]
    who = subject(study).accuracy_of.replace("{best}", spoken(row["regime"]))
    if study.main:
        best = best_baseline(metrics, row["design"])
        others.append(
            f"best of {len(BASELINES)} baselines ({spoken(best['regime'])}) {interval(best)}"
        )
    models = {name: pooled(metrics, name) for name in beside(study)}
    others += [f"{spoken(name)} {interval(of)}" for name, of in models.items() if of is not None]
    return [
        (
            f"accuracy of {who}, task {task}",
            interval(row),
            f"{over}n = {row['n_cells']} cells; "
            f"always the commonest class: {majority['value']:.2f}; " + ", ".join(others),
        )
    ]


def _members_headline(tables, study, task, name):
    """Return the line of a gene set: how many of its genes lead."""
    keys, n_top, about = (
        tables["key_genes"][task],
        study.evidence["n_key_genes"],
        subject(study),
    )
    found, expected = top_members(keys, name, n_top)
    none = not keys[f"in_{name}"].any()
    detail = f"{expected:.1f} expected by chance"
    if study.main:
        by_expression = top_expressed_members(tables["genes"][task], keys, name, n_top)
        detail += f"; {by_expression} among the {n_top} most differentially expressed"
    if none:
        detail = f"no gene of the set is {about.scored} in the test cells"
    else:
        detail += _part(partial_sets(tables).get(name))
    return (
        f"genes of {spoken(name)} among the {n_top} {about.among}, task {task}",
        "not testable" if none else str(found),
        detail,
    )


def _part(counts):
    """Return what follows where a gene set is in the data in part alone (or None: nothing)."""
    return (
        f"; only {counts['matched']} of its {counts['listed']} genes in the data" if counts else ""
    )


def primary_headline(row):
    """Return the line of the primary test: its outcome, and the numbers that decide it.

    Parameters
    ----------
    row : the row of table 'primary'
    """
    detail = [str(row["reason"])]
    if pd.notna(row["auprc"]):
        detail.append(f"AUPRC {row['auprc']:.3f}, base rate {row['base_rate']:.3f}")
    if row["n_permuted"]:
        ends = ""
        if pd.notna(row["effect_low"]):
            ends = f" (95 % interval {row['effect_low']:+.3f} to {row['effect_high']:+.3f})"
        detail.append(
            f"{row['effect']:+.3f}{ends} beyond {row['n_permuted']} relabellings, p = "
            f"{row['permuted_p']:.2g}; smallest effect that counts {row['min_effect']:g}"
        )
    return (
        f"primary test: {spoken(row['track'])} of {spoken(row['regime'])} and "
        f"{spoken(row['gene_set'])}, task {row['task']}",
        str(row["outcome"]),
        "; ".join(detail),
    )


def attention_headline(task, moved):
    """Return the line of a task's attention: the cosine of two models, beside that of chance."""
    a, b, control = spoken(moved["a"]), spoken(moved["b"]), moved["again"]
    layer, head = moved["lowest"]
    beside = ""
    if control:
        twins = {"other_seed": "two trainings of a fold", "other_fold": "two folds"}
        beside = f"; between {twins[control['bound']]} of {a} {cosine_text(control['cosine'])}"
    return (
        f"attention of {a} against {b}, task {task}",
        f"cosine {cosine_text(moved['cosine'])}",
        f"mean of {moved['n_heads']} heads; lowest {cosine_text(moved['low'])} in layer {layer}, "
        f"head {head}; n = {moved['n_cells']} test cells{beside}",
    )


def gene_headline(task, metrics):
    """Return the line of a task of genes: the pretrained encoder's ROC-AUC beside its controls."""
    table = metrics[(metrics["metric"] == "roc_auc") & metrics["seed"].isna()]
    table = table[table["class"] == table["class"].iloc[-1]].set_index("encoder")
    row = table.loc["pretrained"]
    controls = table["value"].drop("pretrained").items()
    others = ", ".join(f"{spoken(name)} {value:.2f}" for name, value in controls)
    return (
        f"ROC-AUC of {row['class']} genes, task {task}",
        interval(row),
        f"95 % interval over n = {row['n_genes']} genes, each scored out of fold; controls: "
        f"{others}; chance 0.50",
    )


def summary_text(headline, page, simulated, claims=None):
    """Return what the terminal prints at the end of a run.

    `simulated` says what is simulated, or is False; `claims` is the table of verdicts or None.
    """
    lines = ["", *([f"SIMULATED DATA: {simulated}."] if simulated else [])]
    width = max(len(label) for label, _, _ in headline)
    for label, value, detail in headline:
        lines += [f"  {label:<{width}}  {value}", *textwrap.wrap(detail, 96, **INDENT)]
    if claims is not None:
        lines.append(f"  claims: {verdict_counts(claims)}")
    return printable_lines("\n".join([*lines, "", f"Report: {page}", ""]))
