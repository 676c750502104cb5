"""What the page says: its numbers, sections, captions and provenance, from tables alone."""

import re
import textwrap

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.core.shown import printable_lines
from keygenes.core.tasks import cell_tasks, gene_tasks
from keygenes.evidence.verdicts import tally
from keygenes.report.captions import caption
from keygenes.report.panels import cosine_text, spoken
from keygenes.report.summaries import (
    attention_change,
    best_baseline,
    interval,
    metric_summary,
    pooled,
    top_expressed_members,
    top_members,
)
from keygenes.report.wording import plural

INDENT = {"initial_indent": "      ", "subsequent_indent": "      "}

FIGURES = {  # where a figure stands on the page, and what it is called there beside its number
    "figure1_umap": ("Data", "the cells by class (UMAP)"),
    "dose_screen": ("Data", "genes that respond to each dose"),
    "training_curves": ("Models", "loss and accuracy while training"),
    "figure3_confusion": ("Models", "true and predicted classes (confusion)"),
    "forest": ("Models", "accuracy beside its baselines"),
    "figure4_cosine": ("Attention", "attention of two models compared (cosine)"),
    "figure5_rank_shift": ("Attention", "change of attention along the ranks"),
    "figure6_rank_shift_layers": ("Attention", "change along the ranks, layer by layer"),
    "rank_shift_corrected": ("Attention", "change along the ranks, corrected for cell length"),
    "figure9_norms": ("Attention", "norms of what attention adds"),
    "equal_length": ("Attention", "equally long, equally deep and shuffled cells"),
    "figure7_attended_vs_de": ("Genes", "most attended and most differentially expressed genes"),
    "figure8_key_genes": ("Genes", "genes by the attention they receive"),
    "scorecard": ("Genes", "every track against truth, chance and confounds"),
    "agreement": ("Genes", "agreement of the tracks"),
    "roar": ("Genes", "accuracy without the genes of a track (remove and retrain)"),
    "comprehensiveness": ("Genes", "what masking the genes of a track does to the answer"),
    "randomisation": ("Genes", "what is left of a track as weights become random"),
    "gene_classes": ("Gene classes", "how well classes of genes are told apart"),
    "claims": ("Claims", "the verdict on every claim"),
}
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


def headline_numbers(tables, config):
    """Return the numbers that matter as (label, value, detail).

    Parameters
    ----------
    tables : dict
        selection, splits, and per task metrics, cosine, key_genes; per task of genes gene_metrics.
    config : dict
    """
    regime, splits = config["evidence"]["regime"], tables["splits"]
    tasks = [task["name"] for task in cell_tasks(config)]
    tested = splits[splits["split"] == "test"]
    unit, n_seeds = tested["unit"].iloc[0], tested["seed"].nunique()
    kept = tables["selection"].iloc[-1]
    rows = [
        (
            "cells in the study",
            f"{kept['n_cells']:,}",
            f"{tested['cell'].nunique():,} of them tested out of fold by {plural(n_seeds, 'seed')} "
            f"(held out by {unit}), {kept['n_genes']:,} genes",
        )
    ]
    for task in list(dict.fromkeys([tasks[0], tasks[-1]])):
        metrics = tables["metrics"][task]
        row, majority = pooled(metrics, regime), pooled(metrics, "majority")
        if row is None:
            continue
        best = best_baseline(metrics, row["design"])
        known = pd.notna(row["ci_low"])
        over = f"95 % interval over {row['n_units']} {row['unit']}s, " if known else ""
        others = [f"{spoken(name)} {pooled(metrics, name)['value']:.2f}" for name in BASELINES[:2]]
        others.append(
            f"best of {len(BASELINES)} baselines ({spoken(best['regime'])}) {interval(best)}"
        )
        rows.append(
            (
                f"accuracy of the {spoken(regime)} model, task {task}",
                interval(row),
                f"{over}n = {row['n_cells']} cells; "
                f"always the commonest class: {majority['value']:.2f}; " + ", ".join(others),
            )
        )
    task = tasks[-1]
    rows.append(attention_headline(task, attention_change(tables, config, task)))
    n_top = config["evidence"]["n_key_genes"]
    for name in config["evidence"]["gene_sets"][:1]:
        found, expected = top_members(tables["key_genes"][task], name, n_top)
        by_expression = top_expressed_members(
            tables["genes"][task], tables["key_genes"][task], name, n_top
        )
        rows.append(
            (
                f"genes of {spoken(name)} among the {n_top} most attended, task {task}",
                str(found),
                f"{expected:.1f} expected by chance; {by_expression} among the {n_top} most "
                "differentially expressed",
            )
        )
    return rows + [
        gene_headline(t["name"], tables["gene_metrics"][t["name"]]) for t in gene_tasks(config)
    ]


def attention_headline(task, moved):
    """Return the line of a task's attention: the cosine of two models, beside that of two seeds."""
    a, b, control = spoken(moved["a"]), spoken(moved["b"]), moved["other_seed"]
    layer, head = moved["lowest"]
    beside = f"; between two seeds of {a} {cosine_text(control['cosine'])}" if control else ""
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
    others = ", ".join(
        f"{name.replace('_', ' ')} {value:.2f}"
        for name, value in table["value"].drop("pretrained").items()
    )
    return (
        f"ROC-AUC of {row['class']} genes, task {task}",
        interval(row),
        f"95 % interval over n = {row['n_genes']} genes, each scored out of fold; controls: "
        f"{others}; chance 0.50",
    )


def figure_title(stem):
    """Return what a figure is called on the page: "Figure 4 · attention ...", as in the thesis.

    One that the thesis does not have has no number.
    """
    _, name = FIGURES[stem]
    number = re.match(r"figure(\d+)_", stem)
    return f"Figure {number[1]} · {name}" if number else name[0].upper() + name[1:]


def _figures(shown, section, task):
    found = []
    for name, place in shown.items():
        *own, stem = name.split("/")
        if FIGURES[stem][0] == section and own == ([task] if task else []):
            found.append({**place, "title": figure_title(stem), "caption": caption(stem)})
    return found


def shown_metrics(summary):
    """Return the result of `summaries.metric_summary` as wide as the page, with short heads."""
    ends = [summary[end].map("{:.3f}".format) for end in ("ci_low", "ci_high")]
    interval = (ends[0] + " to " + ends[1]).where(summary["ci_low"].notna())
    table = summary.drop(columns=["ci_low", "ci_high"]).round(3)
    table.insert(table.columns.get_loc("accuracy") + 1, "95 % interval", interval)
    return table.rename(columns=METRIC_HEADS)


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


def page_sections(tables, config, shown, dataset):
    """Return the sections of the page: data, models, attention, genes, then tasks of genes.

    Parameters
    ----------
    tables : dict
    config : dict
    shown : dict {name: dict}
        The figures in their order: stem, source, width, height and chart, as `page.write_page`
        takes them; their titles and captions are added here.
    dataset : dict
        Entry of the registry.
    """
    evidence = config["evidence"]
    tasks = [t["name"] for t in cell_tasks(config)]
    unit = tables["splits"]["unit"].iloc[0]
    lost = tables["tokens"]["counts_lost"].mean()
    split = {
        "well": "Whole wells are held out: seed k tests replicate k.",
        "replicate": "Whole replicates are held out: seed k tests replicate k.",
        "cell": "Cells are held out one by one (no replicates known, or split.by is 'random'), so "
        "that cells that were handled together may stand on both sides: read every accuracy as "
        "optimistic.",
    }[unit]
    text = (
        f"Dataset: {dataset['title']}. {split} The encoding loses on average {lost:.1%} of a "
        f"cell's counts to genes outside the vocabulary (n = {len(tables['tokens'])} cells)."
    )
    sections = [
        {
            "title": "Data",
            "text": text,
            "figures": _figures(shown, "Data", None),
            "tables": [
                (caption("selection"), tables["selection"], "cells/selection.parquet"),
                (
                    "Cells per class, and those of them that some seed tests.",
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
                "tables": [
                    (
                        f"{caption('metrics')} kappa, error and gain stand for quadratic kappa, "
                        "mean absolute error and accuracy_gain.",
                        shown_metrics(metric_summary(tables["metrics"][task])),
                        f"models/{task}/metrics.parquet",
                    )
                ],
            }
        )
    sections += [
        {"title": f"Attention, task {task}", "figures": _figures(shown, "Attention", task)}
        for task in tasks
    ]
    sections.append(
        {
            "title": "All genes, all tracks",
            "text": "Every gene that a track scores or a test covers, with its rank on each track "
            f"(1: most key) of regime {spoken(evidence['regime'])}, all seeds pooled. A click on a "
            "gene shows its scores, its rank in cells of each class, the attention it receives by "
            "layer and head, and its differential expression.",
            "gene_tasks": tasks,
        }
    )
    for task in tasks:
        keys = tables["key_genes"][task].head(evidence["n_key_genes"])
        keys = keys[["symbol", *keys.columns.drop("symbol")]]  # the first column stays in sight
        sections.append(
            {
                "title": f"Genes, task {task}",
                "figures": _figures(shown, "Genes", task),
                "tables": [
                    (
                        f"{figure_title('figure8_key_genes')}. {caption('figure8_key_genes')}",
                        keys,
                        f"figures/{task}/figure8_key_genes.tsv",
                    ),
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
    return sections + gene_sections(tables, config, shown)


def claims_section(table, claims, shown, simulated):
    """Return the section of the verdicts, as a list; empty where the study has no claims.

    Parameters
    ----------
    table : table 'claims' or None
    claims : dict or None
        title and source of the claims file.
    simulated : bool or str
    """
    if claims is None:
        return []
    return [
        {
            "title": claims["title"]
            + (": verdicts about simulated cells, not about any real ones" if simulated else ""),
            "text": f"What was claimed is from: {claims['source']}. It is judged here reading by "
            f"reading and task by task: {verdict_counts(table)}.",
            "figures": _figures(shown, "Claims", None),
            "claims": table,
        }
    ]


def gene_sections(tables, config, shown):
    """Return one section per task of genes.

    Parameters
    ----------
    tables : dict
        Per task of genes gene_classes, gene_metrics and gene_scores (the task's evidence).
    """
    sections = []
    for task in (t["name"] for t in gene_tasks(config)):
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
                        best[columns].head(config["evidence"]["n_key_genes"]),
                        f"evidence/{task}/genes.parquet",
                    ),
                ],
            }
        )
    return sections


def provenance_facts(record):
    """Return the page's facts of a study's record: {what it is: text}.

    Every registry entry has its line, followed by those of its files; what is made by the study
    itself has a line, too.
    """
    made = record["keygenes"]
    commit = made["commit"] and made["commit"][:12] + (" and changes" if made["changed"] else "")
    facts = {
        "keygenes": f"{made['version']}{f' (commit {commit})' if commit else ''}",
        "whole record": f"provenance.json and ro-crate-metadata.json in results/{record['study']}/"
        f": config, versions, and the sha256 of {plural(len(record['inputs']), 'input')} and "
        f"{plural(len(record['results']), 'result')}",
        "config sha256": record["config_sha256"],
        **record["seeds"],
        "seeds": ", ".join(map(str, record["seeds"]["seeds"])),
    }
    files = {source["name"]: _place(source) for source in record["inputs"]}
    for what, said in _entries(record):
        facts[what] = ". ".join([*said, *([files.pop(what)] if what in files else [])])
        of_entry = [name for name in files if name.startswith(f"{what}, file ")]
        facts |= {name: files.pop(name) for name in of_entry}
    return facts | files


def _place(source):
    """Return where an input comes from, and its checksum."""
    place = source["url"] or f"Local file {source['path']}"
    return f"{place} (sha256 {source['sha256']})"


def _entries(record):
    """Yield what each registry entry of a study is called, and what is to be said of it."""
    config, entries = record["config"], record["entries"]
    for name, entry in entries["datasets"].items():
        yield f"dataset '{name}'", _about(entry)
    if entries["model"]:
        yield f"model '{config['model']}'", _about(entries["model"])
    else:
        yield "model", [f"pretrained by this study on dataset '{config['pretrain']['dataset']}'"]
    if entries["vocabulary"]:
        yield f"vocabulary '{config['tokens']['vocabulary']}'", _about(entries["vocabulary"])
    else:
        yield "vocabulary", [f"made by this study from dataset '{config['pretrain']['dataset']}'"]
    for kind in ("gene set", "gene classes"):
        for name, entry in entries["gene_sets" if kind == "gene set" else "gene_classes"].items():
            yield f"{kind} '{name}'", _about(entry)


def _about(entry):
    """Return what a registry entry says of itself, as sentences without their full stops."""
    said = [entry["title"]]
    if "combine" in entry:
        said.append(f"Combined from {', '.join(entry['combine'])}")
    if "simulate" in entry:
        settings = ", ".join(f"{key} {value}" for key, value in sorted(entry["simulate"].items()))
        said.append(f"Simulated by this study ({settings})")
    if truth := entry.get("file", {}).get("truth_of"):
        said.append(f"Written by this study with the simulated dataset '{truth}'")
    return said + ([f"Licence: {entry['licence']}"] if "licence" in entry else [])


def all_versions(recorded, own):
    """Return {package: text} of the versions that made a study and those that wrote its report.

    Parameters
    ----------
    recorded : dict {package: [versions]}
        Of the record, which is written before the report.
    own : dict {package: version}
    """
    both = {
        name: sorted({*recorded.get(name, ()), *({own[name]} if name in own else ())})
        for name in sorted({*recorded, *own})
    }
    return {name: ", ".join(versions) for name, versions in both.items()}


def verdict_counts(table):
    """Return how many readings of the claims hold, hold in part, fail and cannot be tested."""
    holds, part, fails, untestable = tally(table["verdict"]).values()
    return (
        f"{holds} hold, {part} in part, {fails} fail, {untestable} not testable "
        f"({len(table)} readings of {table['claim'].nunique()} claims)"
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
