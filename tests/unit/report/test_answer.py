import numpy as np
import pandas as pd
import pytest
import report_tables as tables
from stated import names_in, numbers_in, sentences_on, states
from study_configs import made_study

from keygenes.report.answer import answer
from keygenes.report.panels import cosine_text, spoken
from keygenes.report.summaries import best_baseline, interval, not_learnt, pooled, verdict_counts
from keygenes.report.wording import trained_folds


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


def asked_of(study, config=CONFIG):
    return answer(study, made_study(config, model={"title": "Geneformer V1"}))


@pytest.mark.slow
def test_five_sentences_with_their_numbers(study):
    asked, told, moved, genes, real = asked_of(study)
    for said in ("Geneformer V1", "made-up cells", "level", "well", trained_folds(3, 2)):
        assert said in asked, said
    assert states(asked, 2, 1), "classes, test cells"
    metrics = study["metrics"]["level"]
    best = best_baseline(metrics, "grouped")
    for row in (pooled(metrics, "full"), best):
        assert interval(row) in told
    assert spoken(best["regime"]) == "hvg lr" and "hvg lr" in told
    assert {"full", "frozen"} == names_in(moved, ["full", "frozen", "last layer"])
    assert states(moved, 0.896, 0.764, 24, 1440)
    assert states(moved, 0.970, 0.90, 50), "the same training from another seed"
    assert numbers_in(genes) == [2, 1, 1.0, 2, 2]
    assert "A, B, C" in genes and "p53" in genes
    assert "supported" in real.lower()
    assert verdict_counts(study["claims"]) in real
    assert numbers_in(verdict_counts(study["claims"])) == [2, 1, 0, 0, 0, 3]


@pytest.mark.slow
def test_the_primary_test_is_told_with_both_nulls_and_what_stands_beside_it(study):
    real = asked_of(study)[-1]
    row, tests = study["primary"].iloc[0], study["track_tests"].set_index("track")
    assert {"p53", "attattr"} == names_in(sentences_on(real, "AUPRC"), ["p53", "attattr"])
    of_null = ["permuted_mean", "effect", "effect_low", "effect_high", "matched_null_mean"]
    assert states(real, *row[["auprc", "seed_low", "seed_high", "base_rate", *of_null]], digits=3)
    assert states(real, 40, 20, 0.05, 0.93, 0.91, float(f"{row['matched_p']:.2g}"))
    for track in ("wilcoxon", "detection", "mean_rank"):
        said, value = sentences_on(real, spoken(track)), tests.loc[track, "auprc"]
        assert states(said, value, row["auprc"] - value, digits=3), track
    assert states(sentences_on(real, "wilcoxon"), 0.005, 199)
    assert states(sentences_on(real, "max-T"), 1, 3, 0.05)
    assert states(real, tests.loc["attention_total", "auprc"], digits=3), "the thesis's measure"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"n": 0}, "inconclusive"),
        ({"signal": 0.0}, "not supported"),
        ({"learnt": False}, "inconclusive"),
    ],
)
def test_other_outcomes_say_why(study, changed, outcome):
    _, study["track_tests"], study["primary"] = tables.primary_tables(**changed)
    real = asked_of(study)[-1]
    assert outcome in real.lower()
    assert study["primary"]["reason"].iloc[0] in real
    assert ("max-T" in real) == ("n" not in changed)
    assert states(real, 20) == ("n" not in changed)
    assert "nan" not in real


@pytest.mark.slow
def test_without_a_primary_test_there_is_no_verdict(study):
    study |= {"primary": None, "track_tests": None, "claims": None}
    real = asked_of(study)[-1]
    assert "evidence.primary" in real
    assert "supported" not in real and not numbers_in(real)


@pytest.mark.slow
def test_an_answer_about_a_model_that_has_not_learnt_begins_with_it(study):
    assert len(asked_of(study)) == 5
    study["metrics"]["level"] = metrics = tables.metrics_table(MODELS, unlearnt=["full"])
    named = metrics["metric"] == "classes_named"
    several = metrics.assign(value=metrics["value"].where(~named, 2))
    for study["metrics"]["level"] in (metrics, several):
        first, *others = asked_of(study)
        assert names_in(first, ["full", "level"]) == {"full", "level"}
        assert not_learnt(study["metrics"]["level"], "full") in first
        assert len(others) == 5
    assert states(first, 0.0, -0.02, 0.3), "accuracy less the commonest class's"


@pytest.mark.slow
def test_every_task_is_told_of(study):
    for name in ("metrics", "cosine", "comparison_bounds", "key_genes", "genes"):
        study[name]["dose"] = study[name]["level"]
    study["labels"] = study["labels"].assign(dose=study["labels"]["level"])
    tasks = [{"name": name, "column": "x", "classes": {}} for name in ("dose", "level")]
    _, told, moved, genes, _ = asked_of(study, {**CONFIG, "tasks": tasks})
    for said in (told, moved, genes):
        assert names_in(said, ["dose", "level"]) == {"dose", "level"}
    assert told.count(interval(pooled(study["metrics"]["level"], "full"))) == 2
    assert numbers_in(moved).count(0.97) == 1, "what is the same in both is said once"


@pytest.mark.parametrize(("cosine", "said"), [(1.0, "1.000"), (0.99996, ">0.999"), (0.5, "0.500")])
def test_only_an_exact_cosine_of_1_reads_as_1(cosine, said):
    assert cosine_text(cosine) == said


@pytest.mark.slow
def test_a_model_is_held_against_its_like_as_far_as_there_is_one(study):
    bounds, said = study["comparison_bounds"]["level"], {}
    fold = bounds.replace({"bound": {"other_seed": "other_fold"}})
    alone = bounds[bounds["bound"] == "split_half"]
    for name, table in {"seed": bounds, "fold": fold, "none": alone}.items():
        study["comparison_bounds"]["level"] = table
        said[name] = asked_of(study)[2]
    assert said["seed"] != said["fold"], "seeds and folds are told apart"
    assert [states(said[name], 0.97, 0.9, 50) for name in said] == [True, True, False]


@pytest.mark.slow
def test_without_sets_attended_genes_are_held_against_expressed_ones(study):
    config = {**CONFIG, "evidence": {**CONFIG["evidence"], "gene_sets": []}}
    genes = asked_of(study, config)[3]
    assert "A, B, C" in genes and "p53" not in genes
    assert numbers_in(genes) == [2, 1, 2]


@pytest.mark.slow
def test_an_accuracy_without_an_interval_says_why(study):
    metrics = study["metrics"]["level"]
    metrics = metrics.assign(ci_low=np.nan, ci_high=np.nan, unit="replicate")
    study["metrics"]["level"] = metrics
    _, told, *_ = asked_of(study)
    assert "replicate" in told
    assert not states(told, 95) and "nan" not in told


def test_of_a_set_that_is_in_the_data_in_part_it_is_said(study):
    study["gene_sets"] = {"p53": tables.gene_set_table("A", "D", lost=("X", "Y", "Z"))}
    genes = asked_of(study)[3]
    assert states(genes, 2, 5) and "p53" in genes


def test_a_set_of_which_no_gene_is_read_is_not_counted(study):
    study["key_genes"]["level"]["in_p53"] = False
    genes = asked_of(study)[3]
    assert names_in(genes, {"p53", "level"}) == {"p53", "level"}
    assert not states(genes, 0)
