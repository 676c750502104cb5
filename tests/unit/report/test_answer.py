import numpy as np
import pandas as pd
import pytest
import report_tables as tables

from keygenes.report.answer import answer, passes_every
from keygenes.report.panels import cosine_text


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
    masking = {"metric": "comprehensiveness_gain", "against": "matched_random"}
    gain = card.head(2).assign(**masking, ci_low=[0.1, -0.1])
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
        "comparison_bounds": {"level": tables.bounds_table()},
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
    assert (
        "of 9 baselines without a transformer, the best on these cells (hvg lr) 0.53 (0.48" in told
    )
    assert moved.startswith("The attention of full and frozen has a mean cosine of 0.896 (0.764")
    assert "of 24 heads; n = 1,440 test cells)" in moved
    assert "; two models of full, trained with other seeds and splits, have a" in moved
    assert "a cosine of 0.970 and a correlation of 0.90 (n = 50 cells)" in moved
    assert "Of the 2 genes" in genes
    assert "1 (A, B, C first) are of the set p53; 1.0 would be by chance" in genes
    assert "of the 2 most differentially expressed genes 2 are" in genes
    assert real.startswith(
        "Is it real? No: of the attention and attribution tracks 0 of 2 pass all"
    )
    assert "1 of 2 rank p53 above its base rate, 0 of 1 do so above the mean of the same" in real
    assert "1 of 2 put genes first whose masking" in real
    assert real.endswith("; 1 of 3 readings of the claims hold.")


def test_every_task_is_told_of(study):
    for name in ("metrics", "cosine", "comparison_bounds", "key_genes", "genes", "scorecard"):
        study[name]["dose"] = study[name]["level"]
    study["labels"] = study["labels"].assign(dose=study["labels"]["level"])
    tasks = [{"name": name, "column": "x", "classes": {}} for name in ("dose", "level")]
    card = study["scorecard"]["level"]
    passed = card.assign(ci_low=0.9)
    study["scorecard"]["level"] = passed[passed["track"] == "attention_received"]
    _, told, moved, genes, real = answer(study, {**CONFIG, "tasks": tasks}, "cells", "V1")
    assert "tells dose with" in told
    assert "; level with" in told
    assert "a cosine of 0.970 in dose and level" in moved
    assert "1 (A, B, C first) in dose and level are" in genes
    assert real.startswith("Is it real? In part: of the attention")
    assert "0 of 2 in dose and 1 of 1 in level pass" in real


@pytest.mark.parametrize(("low", "verdict"), [(0.9, "Yes"), (0.1, "No")])
def test_it_is_real_only_if_every_track_passes_every_test(study, low, verdict):
    card = study["scorecard"]["level"]
    study["scorecard"]["level"] = card[card["metric"] == "auprc"].assign(ci_low=low, null_mean=0.3)
    *_, real = answer(study, CONFIG, "cells", "V1")
    assert real.startswith(f"Is it real? {verdict}: ")
    assert "pass both tests" in real


def test_a_track_without_one_of_the_tests_does_not_pass_every_test():
    made = {"set": pd.Series({"a": True, "b": True}), "masking": pd.Series({"a": True})}
    assert passes_every(made).to_dict() == {"a": True, "b": False}


@pytest.mark.parametrize(("cosine", "said"), [(1.0, "1.000"), (0.99996, ">0.999"), (0.5, "0.500")])
def test_only_an_exact_cosine_of_1_reads_as_1(cosine, said):
    assert cosine_text(cosine) == said


def test_one_seed_has_no_other_to_compare_with(study):
    bounds = study["comparison_bounds"]["level"]
    study["comparison_bounds"]["level"] = bounds[bounds["bound"] == "split_half"]
    _, _, moved, *_ = answer(study, CONFIG, "cells", "V1")
    assert "two models" not in moved


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
        "Of the 2 genes that receive most attention, 1 (A, B, C first) are among the 2 most "
        "differentially expressed ones."
    )
    assert found[4].startswith("There is no gene set")


def test_without_sets_tracks_are_held_against_differential_expression(study):
    config = {**CONFIG, "evidence": {**CONFIG["evidence"], "gene_sets": []}}
    card = study["scorecard"]["level"].head(4)
    card = card.assign(metric="partial_spearman", against="wilcoxon", ci_low=[0.1, -0.1, 0.9, 0.9])
    study["scorecard"]["level"] = card
    *_, real = answer(study, config, "made-up cells", "Geneformer V1")
    assert real.startswith("Is it real? In part: of the attention and attribution tracks 1 of 2")
    assert "pass the one test made with their whole 95 % interval (1 of 2 follow diff" in real


def test_an_accuracy_without_an_interval_says_why(study):
    metrics = study["metrics"]["level"]
    study["metrics"]["level"] = metrics.assign(ci_low=np.nan, ci_high=np.nan, unit="replicate")
    _, told, *_ = answer(study, CONFIG, "made-up cells", "Geneformer V1")
    assert "(no interval: one replicate per class)" in told
    assert "95 %" not in told
