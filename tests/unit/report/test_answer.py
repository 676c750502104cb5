import numpy as np
import pandas as pd
import pytest
import report_tables as tables

from keygenes.report.answer import answer


@pytest.fixture
def study():
    card = pd.DataFrame(
        {
            "track": ["attention_received", "rollout", "wilcoxon", "attention_received"],
            "regime": ["full", "full", None, "full"],
            "seed": pd.array([None, None, None, 1], "Int64"),
            "against": "p53",
            "metric": "auprc",
            "value": 0.5,
            "ci_low": [0.3, 0.1, 0.9, 0.9],
            "base_rate": 0.2,
            "null_mean": [0.35, np.nan, np.nan, 0.0],
        }
    )
    gain = card.head(2).assign(metric="comprehensiveness_gain", ci_low=[0.1, -0.1])
    keys = pd.DataFrame({"ensembl_id": list("abcd"), "symbol": list("ABCD")})
    keys["in_p53"] = [True, False, False, True]
    ranks = pd.DataFrame({"track": "wilcoxon", "rank": [1, 2, 3, 4], "ensembl_id": list("dacb")})
    labels = pd.DataFrame({"cell": ["x"], "level": pd.Categorical(["low"], ["low", "high"])})
    metrics = tables.metrics_table(
        ("full", "length_only", "token0", "rank_lr", "hvg_lr", "majority")
    )
    return {
        "splits": pd.DataFrame({"cell": ["x"], "seed": 1, "split": "test", "unit": "well"}),
        "labels": labels,
        "metrics": {"level": metrics},
        "cosine": {"level": tables.cosine_table([("full", "frozen")])},
        "key_genes": {"level": keys},
        "genes": {"level": ranks},
        "scorecard": {"level": pd.concat([card, gain], ignore_index=True)},
        "claims": pd.DataFrame({"verdict": ["holds", "fails", "holds in part"]}),
    }


CONFIG = {
    "tasks": [{"name": "level", "column": "x", "classes": {}}],
    "evidence": {"regime": "full", "gene_sets": ["p53"], "n_key_genes": 2},
    "attention": {"pairs": [["last_layer", "frozen"], ["full", "frozen"]]},
}


def test_five_sentences_with_their_numbers(study):
    asked, told, moved, genes, real = answer(study, CONFIG, "made-up cells", "Geneformer V1")
    assert "Geneformer V1" in asked
    assert "level (2 classes) of made-up cells" in asked
    assert "1 test cells, held out by well, with one seed?" in asked
    assert "best of 9 baselines without a transformer (hvg lr) 0.53" in told
    assert "full and frozen, task level" in moved
    assert "Of the 2 genes" in genes
    assert "(A, B, C first), 1 are of the set p53, 1.0 would be by chance, and 2 of" in genes
    assert "1 of 2 attention and attribution tracks rank that set above" in real
    assert "0 of 1 above the mean of the same track in models trained on permuted labels" in real
    assert "for 1 of 2 of them" in real
    assert "1 of 3 readings of the claims hold" in real


def test_claims_about_another_study_are_not_counted_as_held_or_not(study):
    study["claims"]["verdict"] = "not testable here"
    *_, real = answer(study, CONFIG, "made-up cells", "Geneformer V1")
    assert "none of 3 readings of the claims can be tested here" in real


def test_without_sets_claims_and_tests_of_faithfulness(study):
    config = {**CONFIG, "evidence": {**CONFIG["evidence"], "gene_sets": []}}
    study["claims"] = None
    study["scorecard"]["level"] = study["scorecard"]["level"].head(0)
    found = answer(study, config, "made-up cells", "Geneformer V1")
    assert found[3] == (
        "The genes that receive most attention, task level, are A, B, C; 1 of the first 2 are "
        "among the 2 most differentially expressed ones."
    )
    assert found[4].startswith("There is no gene set")


def test_without_sets_tracks_are_held_against_differential_expression(study):
    config = {**CONFIG, "evidence": {**CONFIG["evidence"], "gene_sets": []}}
    card = study["scorecard"]["level"].head(4)
    card = card.assign(metric="partial_spearman", against="wilcoxon", ci_low=[0.1, -0.1, 0.9, 0.9])
    study["scorecard"]["level"] = card
    *_, real = answer(study, config, "made-up cells", "Geneformer V1")
    assert "1 of 2 attention and attribution tracks follow differential expression" in real


def test_an_accuracy_without_an_interval_says_why(study):
    metrics = study["metrics"]["level"]
    study["metrics"]["level"] = metrics.assign(ci_low=np.nan, ci_high=np.nan, unit="replicate")
    _, told, *_ = answer(study, CONFIG, "made-up cells", "Geneformer V1")
    assert "(no interval: one replicate per class)" in told
    assert "95 %" not in told
