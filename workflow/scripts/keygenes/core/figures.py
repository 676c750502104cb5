"""The figures of a study: what each is called, where it stands, and which tables it is drawn from.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here; and by no script
but the report's: an edit here draws no figure again unless it is about what the figure is drawn
from.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from keygenes.core.regimes import kind_of
from keygenes.core.study import Study
from keygenes.core.study_files import StudyFiles

STUDY, TASK, GENE_TASK = "study", "task", "task of genes"  # what there is one sheet for
RunTables = Callable[[Study, StudyFiles, str], list[str]]
Param = Callable[[Study, str], Any]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name : str
        Of its files and of its caption, ``workflow/report/{name}.rst``. That of a figure of the
        thesis starts with its number there, as in ``figure4_cosine``.
    section : str
        Where it stands, on the page and in Snakemake's report.
    title : str
        What it is called on the page, beside its number.
    table : str or None
        Caption of its numbers, where Snakemake's report carries these too.
    """

    name: str
    section: str
    title: str
    table: str | None = None


@dataclass(frozen=True)
class Sheet:
    """The figures that one job draws, as they read the same tables.

    Attributes
    ----------
    name : str
        Of the rule.
    draws : str
        ``module:function`` of `keygenes.report`. The function takes the tables {name: data frame},
        the params {name: value} and the task (None where there is one sheet per study), and returns
        {name of the figure: (matplotlib figure, table of the numbers drawn)}.
    tables : dict {name: path or function}
        Under the study's results, {task} stands for the task; a function returns a file of each of
        the param 'runs', which become one table.
    figures : tuple of Figure
    per : str
        What there is one for: STUDY, TASK (of cells) or GENE_TASK.
    params : dict {name: function}
        What else the figures depend on: plain values, as an edit of one draws them again.
    exists : function of (study, task)
        Whether a study has it.
    """

    name: str
    draws: str
    tables: dict[str, str | RunTables]
    figures: tuple[Figure, ...]
    per: str = TASK
    params: dict[str, Param] = field(default_factory=dict)
    exists: Callable[[Study, str], bool] = lambda study, task: True

    @property
    def without_model(self) -> bool:
        """Whether cells and expression are all that it is drawn from."""
        rooms = ("cells/", "expression/")
        return all(isinstance(t, str) and t.startswith(rooms) for t in self.tables.values())

    @property
    def of_genes(self) -> bool:
        """Whether there is one for each task of genes."""
        return self.per == GENE_TASK

    @property
    def module(self) -> str:
        """Name of the module of `keygenes.report` that draws it."""
        return self.draws.partition(":")[0]

    def of(self, name: str) -> str:
        """Return a name with the wildcard that tells the sheets of several tasks apart."""
        return name if self.per == STUDY else f"{name}.{{task}}"

    def path(self, figure: Figure) -> str:
        """Return the path of a figure's files, without ending, under a study's figures."""
        return figure.name if self.per == STUDY else f"{{task}}/{figure.name}"


def of_runs(kind: str, name: str, models: str) -> RunTables:
    """Return a table of a sheet: a file of every run of some models, a list of a `Study`."""
    return lambda study, files, task: files.of_runs(kind, name, getattr(study, models), task)


def runs_of(models: str) -> Param:
    """Return the param 'runs' that goes with `of_runs`."""
    return lambda study, task: study.runs(getattr(study, models), task)


SHEETS = (
    Sheet(
        "plot_umap",
        "figures_data:umap_plates",
        {"umap": "expression/umap.parquet", "labels": "cells/labels.parquet"},
        (Figure("figure1_umap", "Data", "the cells by class (UMAP)"),),
        per=STUDY,
        params={
            "units": lambda study, task: {
                task["name"]: "µM" for task in study.cell_tasks if task["column"] == "dose_um"
            }
        },
    ),
    Sheet(  # cells that carry doses are screened one by one
        "plot_dose_screen",
        "figures_data:dose_screen_plates",
        {"dose_screen": "expression/dose_screen.parquet"},
        (Figure("dose_screen", "Data", "genes that respond to each dose"),),
        per=STUDY,
        params={
            "fdr": lambda study, task: study.expression["fdr"],
            "min_abs_log2fc": lambda study, task: study.expression["min_abs_log2fc"],
        },
        exists=lambda study, task: study.has_columns("dose_um"),
    ),
    Sheet(
        "plot_training",
        "figures_models:training_plates",
        {"history": of_runs("models", "history.parquet", "finetuned")},
        (Figure("training_curves", "Models", "loss and accuracy while training"),),
        params={"runs": runs_of("finetuned")},
        exists=lambda study, task: bool(study.finetuned),
    ),
    Sheet(
        "plot_predictions",
        "figures_models:prediction_plates",
        {
            "metrics": "models/{task}/metrics.parquet",
            "confusion": "models/{task}/confusion.parquet",
            "labels": "cells/labels.parquet",
        },
        (
            Figure("figure3_confusion", "Models", "true and predicted classes (confusion)"),
            Figure("forest", "Models", "accuracy beside its baselines", table="metrics"),
        ),
        params={
            "kinds": lambda study, task: {
                **{n: kind_of(study.regimes[n]) for n in study.of_task(study.regimes, task)},
                **dict.fromkeys(study.readers, "reader"),
            },
            "twins": lambda study, task: study.by_cell,
            "main": lambda study, task: study.main,
        },
    ),
    Sheet(
        "plot_attention",
        "figures_attention:attention_plates",
        {
            "cosine": "attention/{task}/cosine.parquet",
            "comparison_bounds": "attention/{task}/comparison_bounds.parquet",
            "rank_shift": "attention/{task}/rank_shift.parquet",
            "tokens": "tokens/report.parquet",
            "key_genes": "evidence/{task}/key_genes.parquet",
        },
        (
            Figure("figure4_cosine", "Attention", "attention of two models compared (cosine)"),
            Figure("figure5_rank_shift", "Attention", "change of attention along the ranks"),
            Figure(
                "figure6_rank_shift_layers", "Attention", "change along the ranks, layer by layer"
            ),
            Figure(
                "rank_shift_corrected",
                "Attention",
                "change along the ranks, corrected for cell length",
            ),
        ),
        params={
            "corrected": lambda study, task: study.corrected_pairs(task),
            "marker": lambda study, task: study.evidence["marker"],
        },
        exists=lambda study, task: task in study.paired_tasks,
    ),
    Sheet(
        "plot_norms",
        "figures_norms:norm_plates",
        {"norms": of_runs("attention", "norms.parquet", "attended")},
        (Figure("figure9_norms", "Attention", "norms of what attention adds"),),
        params={"runs": runs_of("attended")},
        exists=lambda study, task: bool(study.of_task(study.attended, task)),
    ),
    Sheet(
        "plot_inputs",
        "figures_inputs:input_plates",
        {
            "input_length": "evidence/{task}/input_length.parquet",
            "rank_shift": "attention/{task}/rank_shift.parquet",
        },
        (Figure("equal_length", "Attention", "equally long, equally deep and shuffled cells"),),
        params={
            "pairs": lambda study, task: study.pairs_on_variants(task),
            "n_top": lambda study, task: study.evidence["n_key_genes"],
        },
        exists=lambda study, task: bool(study.pairs_on_variants(task)),
    ),
    Sheet(
        "plot_genes",
        "figures_genes:gene_plates",
        {"attended": "evidence/{task}/attended_vs_expressed.parquet"},
        (
            Figure(
                "figure7_attended_vs_de",
                "Genes",
                "most attended and most differentially expressed genes",
            ),
        ),
        params={
            "regime": lambda study, task: study.main,
            "fdr": lambda study, task: study.expression["fdr"],
            "gene_set": lambda study, task: next(iter(study.gene_sets), None),
        },
        exists=lambda study, task: study.main_attended,
    ),
    Sheet(
        "plot_primary",
        "figures_primary:primary_plates",
        {
            "scores": "evidence/{task}/relabelled_scores.parquet",
            "tests": "evidence/{task}/track_tests.parquet",
            "outcome": "evidence/primary.parquet",
        },
        (
            Figure(
                "primary_test",
                "Genes",
                "the primary test: true against relabelled models",
                table="primary_test",
            ),
        ),
        exists=lambda study, task: task == study.primary_task,
    ),
    Sheet(
        "plot_scorecard",
        "figures_scorecard:scorecard_plates",
        {
            "scorecard": "evidence/{task}/scorecard.parquet",
            "agreement": "evidence/{task}/agreement.parquet",
        },
        (
            Figure(
                "scorecard",
                "Genes",
                "every track against truth, chance and confounds",
                table="scorecard",
            ),
            Figure("agreement", "Genes", "agreement of the tracks"),
        ),
        params={
            "regime": lambda study, task: study.main,
            "simulated_sets": lambda study, task: [
                name
                for name in study.gene_sets
                if study.entries["gene_sets"][name].get("simulated")
            ],
        },
    ),
    Sheet(
        "plot_roar",
        "figures_roar:roar_plates",
        {"roar": "evidence/{task}/roar.parquet"},
        (Figure("roar", "Genes", "accuracy without the genes of a track (remove and retrain)"),),
    ),
    Sheet(
        "plot_faithfulness",
        "figures_faithfulness:faithfulness_plates",
        {
            "faithfulness": "evidence/{task}/faithfulness.parquet",
            "randomisation": "evidence/{task}/randomisation.parquet",
        },
        (
            Figure(
                "comprehensiveness",
                "Genes",
                "what masking the genes of a track does to the answer",
            ),
            Figure("randomisation", "Genes", "what is left of a track as weights become random"),
        ),
        params={
            "regime": lambda study, task: next(
                name
                for name in [study.main, *study.attributed]
                if name in study.of_task(study.attributed, task)
            )
        },
        exists=lambda study, task: bool(study.of_task(study.attributed, task)),
    ),
    Sheet(
        "plot_gene_classes",
        "figures_classes:gene_class_plates",
        {
            "metrics": "models/{task}/gene_metrics.parquet",
            "genes": "evidence/{task}/genes.parquet",
            "classes": "models/{task}/gene_classes.parquet",
        },
        (
            Figure(
                "gene_classes",
                "Gene classes",
                "how well classes of genes are told apart",
                table="gene_metrics",
            ),
        ),
        per=GENE_TASK,
    ),
    Sheet(
        "plot_claims",
        "figures_claims:claim_plates",
        {"claims": "evidence/claims.parquet"},
        (Figure("claims", "Claims", "the verdict on every claim", table="claims"),),
        per=STUDY,
        params={"title": lambda study, task: study.claims["title"] if study.claims else ""},
        exists=lambda study, task: study.claims is not None,
    ),
)
# A figure of the thesis that is no picture: the page shows the table that genes are scored into.
TABLES = (Figure("figure8_key_genes", "Genes", "genes by the attention they receive"),)
FIGURES = {figure.name: figure for sheet in SHEETS for figure in sheet.figures}
FIGURES |= {figure.name: figure for figure in TABLES}


def tasks_with(study: Study, sheet: Sheet) -> list[str]:
    """Return the tasks that a sheet's rule is for; of one that a study has once, none."""
    return {STUDY: [], TASK: study.tasks, GENE_TASK: list(study.gene_classes)}[sheet.per]


def figure_names(study: Study, chosen: Callable[[Sheet], bool] = lambda sheet: True) -> list[str]:
    """Return the figures that a study has, or those of some sheets, as ``{task}/{name}`` or a name.

    Those of the whole study come first, then each task's, in the order of `SHEETS`.
    """
    return [
        sheet.path(figure).format(task=task)
        for sheet, task in _sheets_of(study)
        if chosen(sheet)
        for figure in sheet.figures
    ]


def _sheets_of(study: Study) -> Iterator[tuple[Sheet, str]]:
    for task in ["", *study.tasks, *study.gene_classes]:
        for sheet in SHEETS:
            of_task = task in tasks_with(study, sheet) if task else sheet.per == STUDY
            if of_task and sheet.exists(study, task):
                yield sheet, task
