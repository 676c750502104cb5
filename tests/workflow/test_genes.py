"""A task of genes beside the demo's tasks of cells: what it adds, what it gives, what reruns."""

import shutil

import numpy as np
import pytest
import yaml
from running import REPOSITORY, dry_run, edited_config, run_snakemake

from keygenes.core.tables import read_table
from keygenes.inputs.simulate import simulated_genes

DEMO = "config/demo.yaml"
CLASSES = {"other": {"kind": ["other"]}, "common": {"kind": ["ribosomal", "housekeeping"]}}
ENCODERS = {"pretrained", "random_encoder", "shuffled_labels", "logistic"}
ADDED = {"label_genes", "classify_genes", "score_gene_classes", "plot_gene_classes"}
REPORT = {"record_provenance", "write_report", "write_scored_cells"}
AFTER_SCORES = {"score_gene_classes", "plot_gene_classes"} | REPORT


def gene_config(folder, changes=None, classes=CLASSES):
    """Write the demo's config with a task of genes, its registry and its list; return the path."""
    listed = folder / "genes.csv"
    if not listed.exists():  # an edit of the config leaves the list as it is
        genes = simulated_genes(500)
        chosen = genes["kind"].isin([*CLASSES["common"]["kind"], "other"])
        genes.loc[chosen, ["ensembl_id", "kind"]].head(80).to_csv(listed, index=False)
    entry = {"title": "a test", "file": {"path": str(listed)}, "classes": classes}
    lists = yaml.safe_dump({"gene_classes": {"simulated": entry}}, sort_keys=False)  # last: scored
    (folder / "lists.yaml").write_text(lists)
    tasks = yaml.safe_load((REPOSITORY / DEMO).read_text(encoding="utf-8"))["tasks"]
    small = {
        "tasks": [*tasks, {"name": "common", "type": "gene", "gene_classes": "simulated"}],
        "registries.gene_sets": ["config/gene_sets.yaml", str(folder / "lists.yaml")],
        "gene_classification.folds": 2,
        "gene_classification.max_cells": 20,
    }
    return edited_config(folder / "genes.yaml", {**small, **(changes or {})})


def rules_of(jobs):
    return {rule for rule, _ in jobs}


@pytest.fixture(scope="module")
def done(demo, tmp_path_factory):
    """Return a copy of the finished demo in which the task of genes has run, and its config."""
    folder = tmp_path_factory.mktemp("genes")
    config = gene_config(folder)
    checkout = shutil.copytree(demo, folder / "main", symlinks=True)
    jobs = dry_run(checkout, "--configfile", config)
    assert rules_of(jobs) == ADDED | REPORT, "a task of genes adds these rules, no more"
    run = run_snakemake(checkout, "--cores", 2, "--quiet", "rules", "--configfile", config)
    assert run.returncode == 0, run.text[-5000:]
    return checkout, folder, run.text


def test_every_gene_is_scored_by_the_encoder_and_each_control(done):
    results = done[0] / "results/demo"
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
    assert set(genes["seed"].dropna()) == {1, 2}
    folds = [
        read_table(results / f"models/common/{name}/seed1/gene_predictions.parquet")["fold"]
        for name in ("pretrained", "random_encoder", "logistic")
    ]
    assert all(np.array_equal(fold, folds[0]) for fold in folds)
    assert not list(results.rglob("resume*"))


def test_the_page_and_the_summary_tell_of_it(done):
    checkout, _, said = done
    page = (checkout / "results/demo/report/index.html").read_text(encoding="utf-8")
    assert "Gene classes, task common" in page
    assert "80 genes are listed; 100% are in the vocabulary" in page
    assert "simulated" in page
    assert "ROC-AUC of common genes, task common" in said
    assert "shuffled labels 0." in said


@pytest.mark.parametrize(
    ("changes", "classes", "expected"),
    [
        ({}, CLASSES, set()),
        ({"gene_classification.epochs": 2}, CLASSES, {"classify_genes"} | AFTER_SCORES),
        ({"gene_classification.n_bootstrap": 500}, CLASSES, AFTER_SCORES),
        ({}, {**CLASSES, "other": {"kind": ["other", "mitochondrial"]}}, ADDED | AFTER_SCORES),
    ],
    ids=["nothing", "epochs", "n_bootstrap", "classes"],
)
def test_an_edit_reruns_what_follows_from_it(done, changes, classes, expected):
    checkout, folder, _ = done
    config = gene_config(folder, changes, classes)
    assert rules_of(dry_run(checkout, "--configfile", config)) == expected
