"""The demo's story: what was planted is found, and what follows detection is not taken for it."""

import json

import pytest
from running import dry_run

from keygenes.core.runs import ALPHA
from keygenes.core.tables import read_table

CONFIG = ("--configfile", "config/demo.yaml")
WITHIN = 0.05  # of the best baseline's accuracy
NUMBERS = ["auprc", "permuted_p", "matched_p", "effect", "effect_low", "effect_high"]


@pytest.fixture(scope="module")
def results(demo):
    return demo / "results/demo"


@pytest.fixture(scope="module")
def tests(results):
    return read_table(results / "evidence/level/track_tests.parquet").set_index("track")


def accuracies(results):
    """Return the accuracy of each regime and baseline on the test cells of all folds."""
    table = read_table(results / "models/level/metrics.parquet")
    pooled = table["fold"].isna() & table["seed"].isna() & (table["design"] == "grouped")
    test = pooled & (table["split"] == "test") & (table["metric"] == "accuracy")
    return table[test].set_index("regime")["value"]


def test_the_demo_is_of_few_jobs(demo):
    assert len(dry_run(demo, *CONFIG, "--forceall")) <= 70
    assert dry_run(demo, *CONFIG) == []


def test_the_encoder_keeps_up_with_the_best_baseline(results):
    found = accuracies(results)
    best = found.drop("full").max()
    assert 0.75 <= best <= 0.95
    assert found["full"] >= best - WITHIN


def test_integrated_gradients_are_supported(results, tests):
    (row,) = read_table(results / "evidence/primary.parquet").itertuples()
    assert (row.outcome, row.track) == ("supported", "integrated_gradients")
    assert row.learnt and row.n_permuted == 20
    assert row.permuted_p <= ALPHA and row.matched_p <= ALPHA and row.effect >= row.min_effect
    named = tests.loc[row.track, NUMBERS].astype(float).to_dict()
    assert named == pytest.approx({name: getattr(row, name) for name in NUMBERS})


def test_total_attention_follows_detection_and_is_not_supported(results, tests):
    (primary,) = read_table(results / "evidence/primary.parquet").itertuples()
    row = tests.loc["attention_total"]
    assert row["role"] == "exploratory"
    assert row["permuted_p_max"] > ALPHA
    assert row["effect"] < primary.min_effect, "labels add less than is worth a claim"
    assert row["effect"] < 0.1 * primary.effect
    card = read_table(results / "evidence/level/scorecard.parquet")
    follows = card[(card["aspect"] == "confound") & (card["against"] == "detection")]
    follows = follows[follows["seed"].isna() & (follows["regime"] == "full")]
    rho = follows.set_index("track")["value"]
    assert rho["attention_total"] > 0.9
    assert abs(rho["integrated_gradients"]) < rho["attention_total"] - 0.3


def test_what_is_found_was_planted(results):
    genes = read_table(results / "evidence/level/genes.parquet")
    planted = read_table(results / "inputs/planted_response.truth.parquet")["ensembl_id"]
    of_track = genes[(genes["track"] == "integrated_gradients") & genes["seed"].isna()]
    first = of_track[of_track["regime"] == "full"].nsmallest(20, "rank")["ensembl_id"]
    assert first.isin(planted).mean() > 0.7
    assert of_track["ensembl_id"].isin(planted).mean() < 0.35


def test_every_figure_and_page_is_marked_as_simulated(results):
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert record["config"]["dataset"] == "planted_response"
    assert "SIMULATED" in (results / "report/summary.txt").read_text(encoding="utf-8")
    tables = list((results / "figures").rglob("*.tsv"))
    assert tables
    for path in tables:
        assert "simulated" in path.read_text(encoding="utf-8").splitlines()[0], path
