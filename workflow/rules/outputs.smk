# What a study leaves behind: its figures, the results whose checksums are recorded, its targets.
# Comes in: the names of common.smk. Goes out: FIGURES, the outputs of figures, *_targets().
from snakemake.exceptions import WorkflowError

from keygenes.core.errors import input_error
from keygenes.core.figures import figure_names

FIGURE_FILES = ["svg", "png", "tsv"]


def carried(path, name, category, kind):
    """Return an output that Snakemake's report carries, with the caption of that name.

    All of them have the same labels: a list of the report has a column for each.
    """
    return report(
        path,
        caption=f"../report/{name}.rst",
        category=category,
        subcategory="Task {task}" if "{task}" in path else "All tasks",
        labels={"name": name, "kind": kind},
    )


def figure_files(sheet, figure):
    """Return the files of a figure: an SVG that Snakemake's report carries, a PNG, its table.

    The report carries the table as well where it has a caption of its own.
    """
    svg, png, tsv = [out(f"figures/{sheet.path(figure)}.{kind}") for kind in FIGURE_FILES]
    return [
        carried(svg, figure.name, figure.section, "figure"),
        png,
        carried(tsv, figure.table, figure.section, "table") if figure.table else tsv,
    ]


def primary_tables(task):
    """Return the tables of the primary test that a task has: those of its own task alone."""
    if task != STUDY.primary_task:
        return []
    return ["relabelled_genes", "relabelled_scores", "trained_accuracy", "track_tests"]


def primary_table(name, task):
    """Return the path of a table of the primary test in a list, empty for other tasks."""
    return [out(f"evidence/{task}/{name}.parquet")] if name in primary_tables(task) else []


FIGURES = figure_names(STUDY)


def recorded_results():
    """Return the tables and weights whose checksums are recorded: those that others build on."""
    cells = ["cells/selection", "cells/labels", "cells/splits", "vocabulary", "tokens"]
    tests = ["expression/wilcoxon", "expression/pseudobulk", "expression/half_tests"]
    found = [*cells, *tests, *(["evidence/claims"] if STUDY.claims else [])]
    found += [f"evidence/gene_sets/{name}" for name in STUDY.gene_sets]
    for task in STUDY.tasks:
        found += [f"models/{task}/metrics", f"models/{task}/confusion"]
        if task in STUDY.paired_tasks:
            found += [f"attention/{task}/{name}" for name in ("cosine", "rank_shift")]
        found += [f"evidence/{task}/{name}" for name in ("genes", "scorecard", "agreement", "roar")]
        for kind, name, regimes in (
            ("models", "predictions", STUDY.predicting),
            ("attention", "by_rank", STUDY.attended),
            ("attention", "by_gene", STUDY.attended),
            ("attention", "by_well", STUDY.attended),
            ("attention", "norms", STUDY.attended),
            ("evidence", "well_scores", [*STUDY.attributed, *STUDY.readers]),
            ("evidence", "faithfulness", STUDY.attributed),
            ("evidence", "randomisation", STUDY.attributed),
        ):
            found += [
                f"{kind}/{task}/{regime}/{run.name}/{name}"
                for regime in STUDY.of_task(regimes, task)
                for run in STUDY.runs_of(regime)
            ]
    for task in STUDY.gene_classes:
        found += [f"models/{task}/gene_metrics", f"evidence/{task}/genes"]
    found += [f"evidence/{task}/{name}" for task in STUDY.tasks for name in primary_tables(task)]
    found += ["evidence/primary"] if STUDY.primary else []
    weights = [
        FILES.run_file("models", task, regime, run, "model.safetensors")
        for task in STUDY.tasks
        for regime in STUDY.of_task(STUDY.regimes, task)
        for run in STUDY.runs_of(regime)
    ]
    return [*(out(f"{name}.parquet") for name in found), *weights]


def export_targets():
    """Return what others go on with: gene tables, cells with scores, cards of the classifiers."""
    return [
        *expand(out("export/{task}/genes.xlsx"), task=STUDY.tasks),
        out("export/scored.h5ad"),
        *FILES.of_classifiers("README.md"),
    ]


def all_targets():
    """Return what the default target needs: the page, which needs what it shows, and the export."""
    return [out("report/index.html"), *export_targets()]


def check_targets(wildcards):
    """Return what is to be known of a study before anything trains; refuse where none trains."""
    if not STUDY.tasks:
        error = input_error(
            "config key 'tasks'",
            found="no task of type 'cell'",
            expected="one, for the target check_only",
            remedy="ask for gene_classes_only",
        )
        raise WorkflowError(str(error))
    return out("cells/checks.tsv")


def de_targets():
    """Return the study without a model: differential expression and its figures."""
    without_model = figure_names(STUDY, lambda sheet: sheet.without_model)
    return [
        out("expression/wilcoxon.parquet"),
        *[out(f"figures/{name}.svg") for name in without_model],
    ]


def train_targets():
    """Return every model with its predictions and metrics."""
    return [
        *[
            FILES.run_file("models", task, regime, run, "predictions.parquet")
            for task in STUDY.tasks
            for regime in STUDY.of_task(STUDY.predicting, task)
            for run in STUDY.runs_of(regime)
        ],
        *expand(out("models/{task}/metrics.parquet"), task=STUDY.tasks),
    ]


def gene_class_targets(wildcards):
    """Return the results of the tasks that classify genes; refuse where there is none."""
    if not STUDY.gene_classes:
        error = input_error(
            "config key 'tasks'",
            found="no task of type 'gene'",
            expected="one, for the target gene_classes_only",
            remedy="add {name: ..., type: gene, gene_classes: ...}",
        )
        raise WorkflowError(str(error))
    of_genes = figure_names(STUDY, lambda sheet: sheet.of_genes)
    return [
        *expand(out("evidence/{task}/genes.parquet"), task=STUDY.gene_classes),
        *[out(f"figures/{name}.svg") for name in of_genes],
    ]
