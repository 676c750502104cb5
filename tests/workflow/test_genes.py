"""A task of genes beside the demo's tasks of cells: what it adds, what it gives, what reruns."""

import numpy as np
import pytest
from gene_study import CLASSES, RULES, gene_config
from running import dry_run
from stated import names_in, numbers_in, sentences_on, states

from keygenes.core.tables import read_table

ENCODERS = {"pretrained", "random_encoder", "shuffled_labels", "logistic"}
REPORT = {"record_provenance", "write_report", "write_scored_cells"}
AFTER_SCORES = {"score_gene_classes", "plot_gene_classes"} | REPORT


def test_a_task_of_genes_adds_its_rules_and_no_more(gene_study):
    assert gene_study.added == RULES | REPORT


def test_every_gene_is_scored_by_the_encoder_and_each_control(gene_study):
    results = gene_study.checkout / "results/demo_thesis"
    metrics = read_table(results / "models/common/gene_metrics.parquet")
    areas = metrics[(metrics["metric"] == "roc_auc") & metrics["seed"].isna()]
    assert set(areas["encoder"]) == ENCODERS
    assert (areas["class"] == "common").all()
    assert areas["value"].between(0, 1).all()
    assert (areas["n_cells"] == 20).all()
    # Common genes are detected more often: what expression alone tells, the simulation planted.
    assert areas.set_index("encoder").loc["logistic", "ci_low"] > 0.5
    genes = read_table(results / "evidence/common/genes.parquet")
    assert set(genes["regime"]) == ENCODERS
    assert set(genes["seed"].dropna()) == {1}
    folds = [
        read_table(results / f"models/common/{name}/seed1/gene_predictions.parquet")["fold"]
        for name in ("pretrained", "random_encoder", "logistic")
    ]
    assert all(np.array_equal(fold, folds[0]) for fold in folds)
    assert not list(results.rglob("resume*"))


def test_the_page_and_the_summary_tell_of_it(gene_study):
    page = (gene_study.checkout / "results/demo_thesis/report/index.html").read_text(
        encoding="utf-8"
    )
    told = sentences_on(page, "80 genes")
    assert states(told, 80, 100), "listed, % in the vocabulary"
    assert "simulated" in page
    (line,) = [line for line in gene_study.text.splitlines() if "ROC-AUC" in line]
    assert names_in(line, ["common"]) and numbers_in(line)
    assert "shuffled labels 0." in gene_study.text


@pytest.mark.parametrize(
    ("changes", "classes", "expected"),
    [
        ({}, CLASSES, set()),
        ({"gene_classification.epochs": 2}, CLASSES, {"classify_genes"} | AFTER_SCORES),
        ({"gene_classification.n_bootstrap": 500}, CLASSES, AFTER_SCORES),
        ({}, {**CLASSES, "other": {"kind": ["other", "mitochondrial"]}}, RULES | REPORT),
    ],
    ids=["nothing", "epochs", "n_bootstrap", "classes"],
)
def test_an_edit_reruns_what_follows_from_it(gene_study, changes, classes, expected):
    config = gene_config(gene_study.folder, changes, classes)
    jobs = dry_run(gene_study.checkout, "--configfile", config)
    assert {rule for rule, _ in jobs} == expected
