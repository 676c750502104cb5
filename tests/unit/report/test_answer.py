import numpy as np
import pandas as pd
import pytest
import report_tables as tables

from keygenes.report.answer import answer
from keygenes.report.panels import cosine_text


@pytest.fixture
def study():
    keys = pd.DataFrame({"ensembl_id": list("abcd"), "symbol": list("ABCD")})
    keys["in_p53"] = [True, False, False, True]
    ranks = pd.DataFrame({"track": "wilcoxon", "rank": [1, 2, 3, 4], "ensembl_id": list("dacb")})
    labels = pd.DataFrame({"cell": ["x"], "level": pd.Categorical(["low"], ["low", "high"])})
    _, tests, primary = tables.primary_tables()
    splits = {"cell": ["x"] * 3, "fold": [1, 2, 3], "split": "test", "unit": "well"}
    return {
        "splits": pd.DataFrame(splits),
        "labels": labels,
        "metrics": {"level": tables.metrics_table(MODELS, seeds=(1, 2))},
        "cosine": {"level": tables.cosine_table([("full", "frozen")])},
        "comparison_bounds": {"level": tables.bounds_table()},
        "key_genes": {"level": keys},
        "genes": {"level": ranks},
        "gene_sets": {"p53": tables.gene_set_table("A", "D")},
        "claims": tables.claims_table(),
        "primary": primary,
        "track_tests": tests,
    }


MODELS = ("full", "length_only", "token0", "rank_lr", "hvg_lr", "majority")
CONFIG = {
    "tasks": [{"name": "level", "column": "x", "classes": {}}],
    "evidence": {"regime": "full", "gene_sets": ["p53"], "n_key_genes": 2},
    "attention": {"pairs": [["last_layer", "frozen"], ["full", "frozen"]]},
}


@pytest.mark.slow
def test_five_sentences_with_their_numbers(study):
    asked, told, moved, genes, real = answer(study, CONFIG, "made-up cells", "Geneformer V1")
    assert "Geneformer V1" in asked
    assert "level (2 classes) of made-up cells" in asked
    assert "1 test cells, held out by well in three folds, each trained twice?" in asked
    assert (
        "of 9 baselines without a transformer, the best on these cells (hvg lr) 0.53 (0.48" in told
    )
    assert moved.startswith("The attention of full and frozen has a mean cosine of 0.896 (0.764")
    assert "of 24 heads; n = 1,440 test cells)" in moved
    assert told.endswith("(95 % intervals over wells and trainings).")
    assert "; two models of full, trained on the same cells from other seeds, have a" in moved
    assert "a cosine of 0.970 and a correlation of 0.90 (n = 50 cells)" in moved
    assert "Of the 2 genes" in genes
    assert "1 (A, B, C first) are of the set p53; 1.0 would be by chance" in genes
    assert "of the 2 most differentially expressed genes 2 are" in genes
    assert real.startswith("Is it real? Supported: it passes both nulls, and its effect is")
    assert real.endswith(
        " Claims: 2 hold, 1 in part, 0 fail, 0 undecided, 0 not testable here (one verdict "
        "each, of 3 claims)."
    )


@pytest.mark.slow
def test_the_primary_test_is_told_with_both_nulls_and_what_stands_beside_it(study):
    real = answer(study, CONFIG, "cells", "V1")[-1]
    row, tests = study["primary"].iloc[0], study["track_tests"].set_index("track")
    t, beside = row["auprc"], tests["auprc"]
    for said in (
        f"By attattr of full, the 40 genes of p53 have an AUPRC of {t:.3f} "
        f"({row['seed_low']:.3f} to {row['seed_high']:.3f} over its trainings); a random order "
        "reaches 0.044.",
        f"Models of 20 relabellings of the wells reach {row['permuted_mean']:.3f} (p = ",
        f"an effect of {row['effect']:+.3f} ({row['effect_low']:+.3f} to "
        f"{row['effect_high']:+.3f}), of which 0.05 would count",
        f"as highly ranked reach {row['matched_null_mean']:.3f} (p = {row['matched_p']:.2g})",
        "Accuracy on training cells is 0.93, and 0.91 in models of relabelled wells.",
        f"wilcoxon {beside['wilcoxon']:.3f} ({t - beside['wilcoxon']:+.3f} for attattr, p = 0.005 "
        "in 199 relabellings)",
        f"detection {beside['detection']:.3f} ({t - beside['detection']:+.3f} for attattr) and",
        f"mean rank {beside['mean_rank']:.3f} ({t - beside['mean_rank']:+.3f} for attattr)",
        "All other tracks are exploratory: 1 of 3 reach p = 0.05 after correction",
        f"Total attention, the thesis's measure, reaches {beside['attention_total']:.3f}, and ",
    ):
        assert said in real, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n": 0}, "Inconclusive: 0 relabellings cannot give p <= 0.05"),
        ({"signal": 0.3}, "Inconclusive: the effect may be as large as"),
        ({"signal": 0.0}, "Not supported: the whole interval of the effect lies below 0.05."),
        ({"learnt": False}, "Inconclusive: the model has not learnt"),
        ({"n_positive": 9}, "Inconclusive: 9 genes of the set are scored"),
    ],
)
def test_other_outcomes_say_why(study, changed, said):
    _, study["track_tests"], study["primary"] = tables.primary_tables(**changed)
    real = answer(study, CONFIG, "cells", "V1")[-1]
    assert said in real
    assert ("No model of relabelled wells" in real) == (changed.get("n") == 0)
    assert ("no relabelling tests them" in real) == (changed.get("n") == 0)
    assert "nan" not in real


@pytest.mark.slow
def test_without_a_primary_test_there_is_no_verdict(study):
    study |= {"primary": None, "track_tests": None, "claims": None}
    assert answer(study, CONFIG, "cells", "V1")[-1] == (
        "Is it real? Not asked: the config names no primary test (evidence.primary)."
    )


@pytest.mark.slow
def test_an_answer_about_a_model_that_has_not_learnt_begins_with_it(study):
    assert len(answer(study, CONFIG, "cells", "V1")) == 5
    study["metrics"]["level"] = tables.metrics_table(MODELS, unlearnt=["full"])
    first, *others = answer(study, CONFIG, "cells", "V1")
    assert first.startswith("The model in question (full) has not learnt level: it names one class")
    assert len(others) == 5
    metrics = study["metrics"]["level"]
    named = metrics["metric"] == "classes_named"
    study["metrics"]["level"] = metrics.assign(value=metrics["value"].where(~named, 2))
    first = answer(study, CONFIG, "cells", "V1")[0]
    assert "its accuracy less the commonest class's is +0.00 (-0.02 to +0.30)" in first


@pytest.mark.slow
def test_every_task_is_told_of(study):
    for name in ("metrics", "cosine", "comparison_bounds", "key_genes", "genes"):
        study[name]["dose"] = study[name]["level"]
    study["labels"] = study["labels"].assign(dose=study["labels"]["level"])
    tasks = [{"name": name, "column": "x", "classes": {}} for name in ("dose", "level")]
    _, told, moved, genes, _ = answer(study, {**CONFIG, "tasks": tasks}, "cells", "V1")
    assert "tells dose with" in told
    assert "; level with" in told
    assert "a cosine of 0.970 in dose and level" in moved
    assert "1 (A, B, C first) in dose and level are" in genes


@pytest.mark.parametrize(("cosine", "said"), [(1.0, "1.000"), (0.99996, ">0.999"), (0.5, "0.500")])
def test_only_an_exact_cosine_of_1_reads_as_1(cosine, said):
    assert cosine_text(cosine) == said


@pytest.mark.slow
def test_one_seed_has_no_other_to_compare_with(study):
    bounds = study["comparison_bounds"]["level"]
    study["comparison_bounds"]["level"] = bounds[bounds["bound"] == "split_half"]
    _, _, moved, *_ = answer(study, CONFIG, "cells", "V1")
    assert "two models" not in moved


@pytest.mark.slow
def test_where_each_fold_was_trained_once_folds_are_compared(study):
    bounds = study["comparison_bounds"]["level"].replace({"bound": {"other_seed": "other_fold"}})
    study["comparison_bounds"]["level"] = bounds
    assert "two models of full, trained on other folds, have" in answer(study, CONFIG, "c", "V1")[2]


@pytest.mark.slow
def test_without_sets_attended_genes_are_held_against_expressed_ones(study):
    config = {**CONFIG, "evidence": {**CONFIG["evidence"], "gene_sets": []}}
    assert answer(study, config, "made-up cells", "Geneformer V1")[3] == (
        "Of the 2 genes that receive most attention, 1 (A, B, C first) are among the 2 most "
        "differentially expressed ones."
    )


@pytest.mark.slow
def test_an_accuracy_without_an_interval_says_why(study):
    metrics = study["metrics"]["level"]
    study["metrics"]["level"] = metrics.assign(ci_low=np.nan, ci_high=np.nan, unit="replicate")
    _, told, *_ = answer(study, CONFIG, "made-up cells", "Geneformer V1")
    assert "(no interval: one replicate per class)" in told
    assert "95 %" not in told


def test_of_a_set_that_is_in_the_data_in_part_it_is_said(study):
    study["gene_sets"] = {"p53": tables.gene_set_table("A", "D", lost=("X", "Y", "Z"))}
    genes = answer(study, CONFIG, "made-up cells", "Geneformer V1")[3]
    assert "Only 2 of the 5 genes of p53 are in the data" in genes


def test_a_set_of_which_no_gene_is_read_is_not_counted(study):
    study["key_genes"]["level"]["in_p53"] = False
    genes = answer(study, CONFIG, "made-up cells", "Geneformer V1")[3]
    assert "No gene of p53 is read in the test cells of level" in genes
    assert "0 (" not in genes and "by chance" not in genes
