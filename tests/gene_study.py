"""The demo with a task of genes beside its tasks of cells."""

import shutil
from types import SimpleNamespace

import yaml
from running import dry_run, edited_config, run_snakemake, whole_config

from keygenes.inputs.simulate import simulated_genes

DEMO = "config/demo_thesis.yaml"
CLASSES = {"other": {"kind": ["other"]}, "common": {"kind": ["ribosomal", "housekeeping"]}}
RULES = {
    "label_genes",
    "classify_genes",
    "score_gene_classes",
    "plot_gene_classes",
}  # its own


def gene_config(folder, changes=None, classes=CLASSES):
    """Write the demo's config with a task of genes, its registry and its list; return the path.

    The registry has a second list, which an edited task may name.
    """
    listed = folder / "genes.csv"
    if not listed.exists():  # an edit of the config leaves the list as it is
        genes = simulated_genes(500)
        chosen = genes["kind"].isin([*CLASSES["common"]["kind"], "other"])
        genes.loc[chosen, ["ensembl_id", "kind"]].head(80).to_csv(listed, index=False)
    entry = {"title": "a test", "file": {"path": str(listed)}, "classes": classes}
    fewer = {**entry, "classes": {**classes, "common": {"kind": ["ribosomal"]}}}
    lists = {"gene_classes": {"simulated": entry, "ribosomal": fewer}}
    text = yaml.safe_dump(lists, sort_keys=False)  # the last class is scored
    (folder / "lists.yaml").write_text(text)
    tasks = whole_config(DEMO)["tasks"]
    small = {
        "tasks": [*tasks, {"name": "common", "type": "gene", "gene_classes": "simulated"}],
        "registries.gene_sets": ["config/gene_sets.yaml", str(folder / "lists.yaml")],
        "gene_classification.folds": 2,
        "gene_classification.max_cells": 20,
    }
    return edited_config(folder / "genes.yaml", {**small, **(changes or {})})


def finished_gene_study(demo, folder):
    """Run the task of genes in a copy of a checkout whose demo is finished.

    Returns
    -------
    SimpleNamespace
        checkout; folder (of `gene_config`); added, the rules that the finished demo had yet to run;
        text, what the run said.
    """
    config = gene_config(folder)
    unused = shutil.ignore_patterns(".git", ".venv")
    checkout = shutil.copytree(demo, folder / "main", symlinks=True, ignore=unused)
    added = {rule for rule, _ in dry_run(checkout, "--configfile", config)}
    run = run_snakemake(checkout, "--cores", 2, "--quiet", "rules", "--configfile", config)
    assert run.returncode == 0, run.text[-5000:]
    return SimpleNamespace(checkout=checkout, folder=folder, added=added, text=run.text)
