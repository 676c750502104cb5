"""The sections of the page: their texts, figures and tables, from tables alone."""

import re

import pandas as pd

from keygenes.attention.expected import LIMIT
from keygenes.core.figures import FIGURES
from keygenes.core.tracks import TRACKS
from keygenes.report.captions import caption
from keygenes.report.panels import spoken
from keygenes.report.subject import regime_of, subject
from keygenes.report.summaries import (
    metric_summary,
    set_table,
    verdict_counts,
)
from keygenes.report.wording import listed, others_words

METRIC_HEADS = {
    "n_cells": "cells",
    "n_units": "units",
    "macro_f1": "macro F1",
    "quadratic_kappa": "kappa",
    "mean_absolute_error": "error",
    "accuracy_gain": "gain",
    "p (accuracy_gain)": "p (gain)",
}
N_EXPRESSED = 5  # genes of a comparison on the page


def figure_title(stem):
    """Return what a figure is called on the page: "Figure 4 · attention ...", as in the thesis.

    One that the thesis does not have has no number.
    """
    name = FIGURES[stem].title
    number = re.match(r"figure(\d+)_", stem)
    return f"Figure {number[1]} · {name}" if number else name[0].upper() + name[1:]


def _figures(shown, section, task):
    found = []
    for name, place in shown.items():
        *own, stem = name.split("/")
        if FIGURES[stem].section == section and own == ([task] if task else []):
            found.append({**place, "title": figure_title(stem), "caption": caption(stem)})
    return found


def shown_metrics(summary):
    """Return the result of `summaries.metric_summary` as wide as the page, with short heads."""
    summary = summary.assign(covers=summary["covers"].where(summary["ci_low"].notna()))
    ends = [summary[end].map("{:.3f}".format) for end in ("ci_low", "ci_high")]
    interval = (ends[0] + " to " + ends[1]).where(summary["ci_low"].notna())
    table = summary.drop(columns=["ci_low", "ci_high"]).round(3)
    table.insert(table.columns.get_loc("accuracy") + 1, "95 % interval", interval)
    return table.rename(columns=METRIC_HEADS)


def _limits(tables, study):
    """Return what is to be known of q where it is shown, to follow another sentence; may be ''."""
    tracks = {name for task in study.tasks for name in tables["genes"][task]["track"].astype(str)}
    shown = study.main_attended and "attention_residual" in tracks
    return f" q of attention residual: {LIMIT}" if shown else ""


def _gene_sets(tables):
    """Return the table of gene sets as the page takes it, in a list; empty without any."""
    found = set_table(tables)
    files = [f"evidence/gene_sets/{name}.tsv" for name in tables["gene_sets"]]
    return [] if found.empty else [(caption("gene_sets"), found, ", ".join(files))]


def class_counts(labels, splits):
    """Return how many cells each class of each task has, and how many of them were tested."""
    tested = labels["cell"].isin(splits["cell"][splits["split"] == "test"])
    rows = [
        (task, name, int((labels[task] == name).sum()), int((labels[task][tested] == name).sum()))
        for task in labels.columns.drop("cell")
        for name in labels[task].cat.categories
    ]
    return pd.DataFrame(rows, columns=["task", "class", "n_cells", "n_tested"])


def top_expressed(wilcoxon, task, n):
    """Return the `n` first genes of every comparison of a task, as the table has them sorted."""
    table = wilcoxon[wilcoxon["task"].astype(str) == task]
    columns = ["group", "reference", "symbol", "log2fc", "auc", "p_adj", "detection"]
    columns += ["n_cells", "n_reference"]
    return table.groupby(["group", "reference"], observed=True, sort=False).head(n)[columns]


def _metrics(tables, study, task):
    """Return the table of metrics of a task as the page takes it."""
    table = shown_metrics(metric_summary(tables["metrics"][task]))
    table = table if study.regimes else table.rename(columns={"regime": "model"})
    short = {"kappa": "quadratic kappa", "error": "mean absolute error", "gain": "accuracy_gain"}
    heads = [name for name in short if name in table]
    meant = f"{listed(heads)} stand for {listed(short[name] for name in heads)}."
    return (f"{caption('metrics')} {meant}", table, f"models/{task}/metrics.parquet")


def _all_genes(study):
    """Return what is said over the table of all genes."""
    regime = regime_of(study)
    of, attention = "", ""
    if regime:
        of = f" of regime {spoken(regime)}"
        attention = " the attention it receives by layer and head,"
    pooled = "all models pooled" if study.main else "all folds pooled"
    return (
        "Every gene that a track scores or a test covers, with its rank on each track (1: most "
        f"key){of}, {pooled}. A click on a gene shows its scores, its rank in cells of each class,"
        f"{attention} and its differential expression."
    )


def _key_genes(tables, study, task):
    """Return the table of the genes that lead as the page takes it."""
    keys = tables["key_genes"][task].head(study.evidence["n_key_genes"])
    keys = keys[["symbol", *keys.columns.drop("symbol")]]  # the first column stays in sight
    if study.main_attended:
        said = f"{figure_title('figure8_key_genes')}. {caption('figure8_key_genes')}"
        return said, keys, f"figures/{task}/figure8_key_genes.tsv"
    track = study.readers.get(study.main) or TRACKS[study.leading_track]
    unit = f" [{others_words(track.unit)}]" if track.unit else ""
    said = (
        f"The {subject(study).leading()}. score: {others_words(track.score)}{unit}; n_cells: test "
        "cells that express the gene; rank_mean and rank_sd: its rank in the encodings of these "
        "cells, also in those of each class. in_: whether it belongs to a gene set of the study."
    )
    return said, keys, f"evidence/{task}/key_genes.parquet"


def page_sections(tables, study, shown):
    """Return the sections of the page: data, models, attention, genes, then tasks of genes.

    Parameters
    ----------
    tables : dict
    study : Study
    shown : dict {name: dict}
        The figures in their order: stem, source, width, height and chart, as `page.write_page`
        takes them; their titles and captions are added here.
    """
    tasks = study.tasks
    unit = tables["splits"]["unit"].iloc[0]
    lost = tables["tokens"]["counts_lost"].mean()
    split = {
        "well": "Whole wells are held out: fold k tests replicate k.",
        "replicate": "Whole replicates are held out: fold k tests replicate k.",
        "cell": "Cells are held out one by one (no replicates known, or split.by is 'random'), so "
        "that cells that were handled together may stand on both sides: read every accuracy as "
        "optimistic.",
    }[unit]
    text = (
        f"Dataset: {study.dataset_title}. {split} The encoding loses on average {lost:.1%} of a "
        f"cell's counts to genes outside the vocabulary (n = {len(tables['tokens'])} cells)."
    )
    sections = [
        {
            "title": "Data",
            "text": text,
            "figures": _figures(shown, "Data", None),
            "tables": [
                (caption("selection"), tables["selection"], "cells/selection.parquet"),
                (caption("checks"), tables["checks"], "cells/checks.parquet"),
                *_gene_sets(tables),
                (
                    "Cells per class, and those of them that some fold tests.",
                    class_counts(tables["labels"], tables["splits"]),
                    "cells/labels.parquet",
                ),
            ],
        }
    ]
    for task in tasks:
        sections.append(
            {
                "title": f"Models, task {task}",
                "figures": _figures(shown, "Models", task),
                "tables": [_metrics(tables, study, task)],
            }
        )
    sections += [
        {"title": f"Attention, task {task}", "figures": figures}
        for task in tasks
        if (figures := _figures(shown, "Attention", task))
    ]
    sections.append(
        {
            "title": "All genes, all tracks",
            "text": _all_genes(study) + _limits(tables, study),
            "gene_tasks": tasks,
        }
    )
    for task in tasks:
        sections.append(
            {
                "title": f"Genes, task {task}",
                "figures": _figures(shown, "Genes", task),
                "tables": [
                    _key_genes(tables, study, task),
                    (
                        f"The {N_EXPRESSED} genes that differ most in each comparison: those with "
                        "the smallest p, of equal ones the largest |z|, first. group: the class; "
                        "reference: what it is held against, either with its n cells. "
                        f"{caption('wilcoxon')}",
                        top_expressed(tables["wilcoxon"], task, N_EXPRESSED),
                        "expression/wilcoxon.parquet",
                    ),
                ],
            }
        )
    return sections + gene_sections(tables, study, shown)


def claims_section(table, study, shown):
    """Return the section of the verdicts, as a list; empty where the study has no claims.

    Parameters
    ----------
    table : table 'claims' or None
    study : Study
    shown : dict
    """
    claims = study.claims
    if claims is None:
        return []
    about = ": verdicts about simulated cells, not about any real ones" * bool(study.simulated)
    n_others = int((~table["primary"].astype(bool)).sum())
    return [
        {
            "title": f"{claims['title']}{about}",
            "text": f"What was claimed is from: {claims['source']}. Each claim has one verdict, "
            f"that of its primary reading: {verdict_counts(table)}. Its other readings and tasks "
            f"({n_others} in all) stand under it and count for nothing. "
            "By chance: how often a study with nothing behind it earns a verdict.",
            "figures": _figures(shown, "Claims", None),
            "claims": table,
        }
    ]


def gene_sections(tables, study, shown):
    """Return one section per task of genes.

    Parameters
    ----------
    tables : dict
        Per task of genes gene_classes, gene_metrics and gene_scores (the task's evidence).
    """
    sections = []
    for task in study.gene_classes:
        genes, scores = tables["gene_classes"][task], tables["gene_scores"][task]
        found, seen = genes["token"].notna(), genes["n_cells"] > 0
        counts = ", ".join(
            f"{name} {part.sum()} of {len(part)}"
            for name, part in seen.groupby(genes["class"], observed=True)
        )
        best = scores[(scores["regime"] == "pretrained") & scores["seed"].isna()]
        best = best.merge(genes[["ensembl_id", "class"]], on="ensembl_id").sort_values("rank")
        columns = ["rank", "ensembl_id", "symbol", "class", "score", "n_cells"]
        sections.append(
            {
                "title": f"Gene classes, task {task}",
                "text": f"{len(genes)} genes are listed; {found.mean():.0%} are in the vocabulary, "
                f"{seen.mean():.0%} are expressed in the study's cells ({counts}).",
                "figures": _figures(shown, "Gene classes", task),
                "tables": [
                    (
                        caption("gene_metrics"),
                        tables["gene_metrics"][task],
                        f"models/{task}/gene_metrics.parquet",
                    ),
                    (
                        f"The genes with the highest probability of class "
                        f"'{genes['class'].cat.categories[-1]}' (pretrained encoder, out of fold, "
                        "mean over cells and seeds).",
                        best[columns].head(study.evidence["n_key_genes"]),
                        f"evidence/{task}/genes.parquet",
                    ),
                ],
            }
        )
    return sections
