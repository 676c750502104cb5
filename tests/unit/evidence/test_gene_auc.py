import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.gene_auc import (
    gene_metrics,
    gene_tracks,
    resamples,
    score_gene_classes,
    weighted_auc,
)

NAMES = ["dull", "keen"]


def predictions(truth, score, *, names=NAMES, genes=None, n_drawn=50):
    """Return table 'gene_predictions' of genes g0, g1, ... with scores of the last class."""
    score = np.asarray(score, float)
    if score.ndim == 1:
        score = np.column_stack([1 - score, score])
    return pd.DataFrame(
        {
            "ensembl_id": [f"g{i:03d}" for i in (range(len(truth)) if genes is None else genes)],
            "symbol": "s",
            "fold": 1,
            "true": pd.Categorical.from_codes(truth, names),
            "probabilities": list(score),
            "n_cells": 7,
            "n_drawn": n_drawn,
        }
    )


def row(metrics, encoder, seed=None, metric="roc_auc"):
    of_seed = metrics["seed"].isna() if seed is None else metrics["seed"] == seed
    [found] = metrics[
        (metrics["encoder"] == encoder) & of_seed & (metrics["metric"] == metric)
    ].to_dict("records")
    return found


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_area_equals_scikit_learn_s_with_ties_and_weights(rng):
    truth = rng.random(60) < 0.3
    score = np.round(rng.normal(size=60) + truth, 1)  # with ties
    weights = resamples(60, 300)
    found = weighted_auc(truth, score, weights)
    assert found[0] == pytest.approx(roc_auc_score(truth, score))
    for i in (1, 250, 251, 300):
        assert found[i] == pytest.approx(roc_auc_score(truth, score, sample_weight=weights[i]))


def test_area_leaves_out_genes_without_a_score_and_needs_both_sides(rng):
    truth = np.array([True, True, False, False])
    score = np.array([0.9, np.nan, 0.1, 0.95])
    ones = np.ones((1, 4))
    assert weighted_auc(truth, score, ones)[0] == 0.5
    assert np.isnan(weighted_auc(truth, score, np.array([[0.0, 1, 1, 1]])))[0]


@pytest.mark.slow
def test_interval_covers_the_truth_as_often_as_it_says(rng):
    """Binormal scores with a shift of 1 have an area of 0.760."""
    covered = 0
    for _ in range(200):
        truth = np.arange(80) % 4 == 0
        table = predictions(truth.astype(int), rng.normal(size=80) + truth)
        found = row(gene_metrics({("pretrained", 1): table}, 200), "pretrained")
        covered += found["ci_low"] <= 0.7602 <= found["ci_high"]
    assert 0.88 <= covered / 200 <= 0.99


def test_seeds_are_pooled_by_the_mean_probability_of_each_gene(rng):
    truth = np.arange(40) % 2
    a, b = rng.random(40), rng.random(40)
    tables = {
        ("pretrained", 1): predictions(truth, a),
        ("pretrained", 2): predictions(truth[:30], b[:30], n_drawn=60),  # ten genes fewer
    }
    metrics = gene_metrics(tables, 100)
    mean = np.where(np.arange(40) < 30, (a + b) / 2, a)
    pool = row(metrics, "pretrained")
    assert pool["value"] == pytest.approx(roc_auc_score(truth, mean))
    assert (pool["n_genes"], pool["n_positive"], pool["n_cells"]) == (40, 20, 60)
    assert row(metrics, "pretrained", 2)["value"] == pytest.approx(
        roc_auc_score(truth[:30], b[:30])
    )
    assert row(metrics, "pretrained", 2)["n_genes"] == 30


def test_permuted_labels_differ_per_seed_and_their_areas_are_averaged(rng):
    truth = np.arange(40) % 2
    score = rng.random((2, 40))
    labels = [rng.permutation(truth) for _ in range(2)]
    tables = {("pretrained", s + 1): predictions(truth, score[s]) for s in range(2)}
    tables |= {("shuffled_labels", s + 1): predictions(labels[s], score[s]) for s in range(2)}
    areas = [roc_auc_score(labels[s], score[s]) for s in range(2)]
    metrics = gene_metrics(tables, 100)
    found = row(metrics, "shuffled_labels")
    assert found["value"] == pytest.approx(np.mean(areas))
    assert np.isnan(found["ci_low"]), "genes alone do not tell how permutations spread"
    for s in range(2):
        found = row(metrics, "shuffled_labels", s + 1)
        assert found["value"] == pytest.approx(areas[s])
        assert found["ci_low"] < found["value"] < found["ci_high"]


def test_gain_is_paired_over_genes(rng):
    truth = np.arange(60) % 2
    score = rng.normal(size=60) + truth
    tables = {
        ("pretrained", 1): predictions(truth, score),
        ("random_encoder", 1): predictions(truth, score),  # the same: no doubt about no gain
        ("logistic", 1): predictions(truth, rng.normal(size=60)),
    }
    metrics = gene_metrics(tables, 200)
    same = row(metrics, "random_encoder", metric="gain")
    assert same["value"] == same["ci_low"] == same["ci_high"] == 0
    less = row(metrics, "logistic", metric="gain")
    assert less["value"] == pytest.approx(
        row(metrics, "pretrained")["value"] - row(metrics, "logistic")["value"]
    )
    assert less["ci_low"] < less["value"] < less["ci_high"]


def test_three_classes_have_a_row_each_against_the_rest(rng):
    truth = np.arange(60) % 3
    score = rng.dirichlet([1, 1, 1], 60)
    table = predictions(truth, score, names=["a", "b", "c"])
    metrics = gene_metrics({("pretrained", 1): table}, 100)
    pool = metrics[metrics["seed"].isna()].set_index("class")
    assert list(pool.index) == ["a", "b", "c"]
    for code, name in enumerate("abc"):
        assert pool.loc[name, "value"] == pytest.approx(
            roc_auc_score(truth == code, score[:, code])
        )


def test_evidence_ranks_the_genes_by_the_last_class_per_encoder_and_seed(tmp_path, rng):
    truth = np.arange(12) % 2
    score = rng.random((2, 12))
    paths = {}
    for encoder in ("pretrained", "logistic"):
        for s in range(2):
            paths[encoder, s + 1] = tmp_path / f"{encoder}{s}.parquet"
            write_table(predictions(truth, score[s]), paths[encoder, s + 1], "gene_predictions")
    outputs = {"out_metrics": tmp_path / "m.parquet", "out_genes": tmp_path / "g.parquet"}
    score_gene_classes(predictions=paths, n_bootstrap=100, **outputs)
    genes = read_table(outputs["out_genes"])
    assert list(genes.columns) == TABLES["genes"].names
    assert (genes["track"] == "gene_class_probability").all()
    assert genes["direction"].isna().all()
    assert len(genes) == 2 * 3 * 12
    pool = genes[(genes["regime"] == "pretrained") & genes["seed"].isna()]
    mean = pool.sort_values("ensembl_id")["score"].to_numpy()
    np.testing.assert_allclose(mean, score.mean(0))
    assert pool.sort_values("rank")["score"].is_monotonic_decreasing
    first = genes[(genes["regime"] == "logistic") & (genes["seed"] == 1)]
    np.testing.assert_allclose(first.sort_values("ensembl_id")["score"], score[0])
    before = outputs["out_metrics"].read_bytes()
    score_gene_classes(predictions=paths, n_bootstrap=100, **outputs)
    assert outputs["out_metrics"].read_bytes() == before


def test_the_null_of_a_gene_is_its_probability_under_shuffled_labels():
    scores = {1: [0.2, 0.4], 2: [0.6, 0.5]}
    tables = {("pretrained", s): predictions([0, 1], [0.1, 0.9]) for s in scores}
    alone = gene_tracks(tables)
    assert alone[["permuted_mean", "permuted_sd"]].isna().all().all()
    tables |= {("shuffled_labels", s): predictions([1, 0], p) for s, p in scores.items()}
    tracks = gene_tracks(tables)
    real = tracks["regime"] == "pretrained"
    assert tracks.loc[~real, "permuted_mean"].isna().all(), "no null of a null"
    genes = tracks[real].groupby("ensembl_id")
    assert genes["permuted_mean"].mean().to_dict() == pytest.approx({"g000": 0.4, "g001": 0.45})
    assert genes["permuted_sd"].max()["g000"] == pytest.approx(np.std([0.2, 0.6], ddof=1))


def test_pooled_evidence_keeps_genes_that_one_seed_alone_scores():
    tables = {
        ("pretrained", 1): predictions([0, 1], [0.2, 0.4]),
        ("pretrained", 2): predictions([1, 0], [0.8, 0.1], genes=[1, 2]),
    }
    tracks = gene_tracks(tables)
    pool = tracks[tracks["seed"].isna()].set_index("ensembl_id")["score"]
    assert pool.to_dict() == pytest.approx({"g000": 0.2, "g001": 0.6, "g002": 0.1})
