"""The primary test through the workflow: relabelled models are trained, looked at and compared."""

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from running import dry_run, run_snakemake
from sklearn.metrics import average_precision_score

from keygenes.core.tables import read_table

FOLDS, RELABELLINGS = (1, 2), (1, 2)
TABLE = "results/micro/evidence/primary.parquet"


@pytest.fixture(scope="module")
def results(checkout, tmp_path_factory):
    """Return the results of the micro study's primary test, on two folds."""
    config = tmp_path_factory.mktemp("primary") / "two_folds.yaml"
    config.write_text(yaml.safe_dump({"folds": list(FOLDS)}))
    configs = ("config/demo_thesis.yaml", "tests/config/micro.yaml", config)
    rules = [rule for rule, _ in dry_run(checkout, TABLE, "--configfile", *configs)]
    assert rules.count("extract_relabelled") == len(FOLDS), "both relabellings in one job"
    run = run_snakemake(checkout, TABLE, "--cores", 2, "--configfile", *configs, timeout=1800)
    assert run.returncode == 0, run.text[-5000:]
    assert "evidence.permutations is 2" in run.text
    return checkout / "results/micro"


def run_table(results, kind, fold, relabelling, name):
    """Return a table of one run of the primary regime."""
    run = f"relabelled1.fold{fold}.seed1/{relabelling}" if relabelling else f"fold{fold}.seed1"
    return read_table(results / f"{kind}/level/full/{run}/{name}.parquet")


def test_wells_are_told_the_same_in_every_fold_and_tested_alike(results):
    obs = anndata.read_h5ad(results / "cells/counts.h5ad").obs
    own = read_table(results / "cells/labels.parquet").set_index("cell")["level"].astype(str)
    told = {}
    for fold in FOLDS:
        true = run_table(results, "models", fold, 0, "predictions").set_index("cell")
        for b in RELABELLINGS:
            table = run_table(results, "models", fold, b, "predictions").set_index("cell")
            assert (table["split"] == "test").equals(true["split"] == "test")
            told.setdefault(b, []).append(table["true"].astype(str))
    for first, second in told.values():
        assert first.equals(second)
        wells = first.groupby(obs["well"].astype(str).reindex(first.index).to_numpy())
        assert (wells.nunique() == 1).all()
        assert (first != own.reindex(first.index)).any()
        replicate = obs["replicate"].astype(str).reindex(first.index)
        before = pd.crosstab(replicate, own.reindex(first.index))
        n_wells = obs.groupby("replicate", observed=True)["well"].nunique()
        assert set(before.index) == set(n_wells.index)
    assert not told[1][0].equals(told[2][0])


def test_the_test_is_of_scores_over_all_folds(results):
    (row,) = read_table(results / "evidence/primary.parquet").itertuples()
    scores = read_table(results / "evidence/level/relabelled_scores.parquet")
    scores = scores[scores["track"] == row.track].set_index("relabelling")["auprc"]
    genes = read_table(results / "evidence/level/genes.parquet")
    detection = genes[(genes["track"] == "detection") & genes["seed"].isna()]
    detected = detection[detection["score"] >= 10].set_index("ensembl_id")["symbol"]
    known = set(pd.read_csv("resources/gene_sets/p53_textbook.tsv", sep="\t", comment="#").stack())
    means = {}
    for b in (0, *RELABELLINGS):
        table = pd.concat(run_table(results, "attention", fold, b, "by_well") for fold in FOLDS)
        table = table[table["subset"] == "test"]
        sums = table.groupby(table["ensembl_id"].astype(str))[["sum", "n_cells"]].sum()
        means[b] = (sums["sum"] / sums["n_cells"])[sums["n_cells"] >= 10]
    common = sorted(set(detected.index).intersection(*(mean.index for mean in means.values())))
    positive = detected[common].isin(known) | pd.Index(common).isin(known)
    assert row.n_genes == len(common)
    assert row.n_positive == positive.sum() > 0
    for b, mean in means.items():
        assert scores[b] == pytest.approx(average_precision_score(positive, mean[common]))
    assert row.permuted_p == (1 + (scores[1:] >= scores[0]).sum()) / 3
    assert row.effect == pytest.approx(scores[0] - scores[1:].mean())


def test_training_accuracy_is_by_the_labels_that_were_learned(results):
    table = read_table(results / "evidence/level/trained_accuracy.parquet")
    assert len(table) == len(FOLDS) * (1 + len(RELABELLINGS))
    for row in table.itertuples():
        own = run_table(results, "models", row.fold, row.relabelling, "predictions")
        own = own[own["split"] == "train"]
        hits = own["true"].astype(str) == own["predicted"].astype(str)
        assert (row.n_cells, row.accuracy) == (len(own), pytest.approx(hits.mean()))
    (primary,) = read_table(results / "evidence/primary.parquet").itertuples()
    means = table.groupby(table["relabelling"] > 0)["accuracy"].mean()
    assert np.allclose(
        [primary.trained_accuracy, primary.permuted_trained_accuracy], means.reindex([False, True])
    )
