"""The calibration of tests: shares with intervals, levels where nothing is there, and the page."""

import importlib
import re

import numpy as np
import pytest
from stated import states

N_STUDIES = 40


@pytest.fixture(scope="module")
def patched():
    """Return a `MonkeyPatch` that lasts as long as what these tests share."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def calibration(repository, patched):
    """Return a function that imports a module of benchmarks/calibration/."""
    for folder in ("tests/unit/evidence", "tests/worlds", "benchmarks/calibration"):
        patched.syspath_prepend(repository / folder)
    return importlib.import_module


@pytest.fixture(scope="module")
def rates(calibration):
    return calibration("rates")


@pytest.fixture(scope="module")
def score_tables(calibration):
    return calibration("score_tables")


@pytest.fixture(scope="module")
def few_studies(score_tables):
    """Return the tables of a quick calibration: settings without and with something to find."""
    return {
        name: score_tables.table(name, N_STUDIES) for name in ("nothing", "detection", "strong")
    }


def test_an_exact_interval_holds_its_share(rates):
    assert rates.exact_interval(0, 20) == pytest.approx((0, 0.1684), abs=1e-4)
    assert rates.exact_interval(20, 20) == pytest.approx((0.8316, 1), abs=1e-4)
    assert rates.exact_interval(5, 100) == pytest.approx((0.0164, 0.1128), abs=1e-4)


def test_studies_without_an_answer_do_not_count(rates):
    assert rates.share([True, False, np.nan]) == {"kind": "share", "yes": 1, "n": 2}
    assert rates.mean([1.0, np.nan, 3.0])["n"] == 2
    assert rates.words(rates.share([np.nan])) == ""


@pytest.mark.slow
def test_the_primary_test_holds_its_level_and_finds_what_is_planted(rates, few_studies):
    for setting in ("nothing", "detection"):
        entry = few_studies[setting]["permuted 20"]
        low, high = rates.exact_interval(entry["yes"], entry["n"])
        assert low <= 0.05 <= high
        assert few_studies[setting]["supported 20"]["yes"] <= 0.1 * entry["n"]
    assert few_studies["strong"]["supported 20"]["yes"] > 0.5 * N_STUDIES
    assert few_studies["strong"]["effect"]["low"] > few_studies["nothing"]["effect"]["high"]


@pytest.mark.slow
def test_too_few_relabellings_support_nothing(few_studies):
    for entries in few_studies.values():
        assert entries["permuted 10"]["yes"] == entries["supported 10"]["yes"] == 0
        outcomes = ("supported", "not supported", "inconclusive")
        assert sum(entries[f"{outcome} 20"]["yes"] for outcome in outcomes) == N_STUDIES


@pytest.mark.slow
def test_what_detection_alone_earns_is_seen_through(few_studies):
    entries = few_studies["detection"]
    assert entries["above base rate"]["yes"] > 0.8 * N_STUDIES
    assert entries["supported 20"]["yes"] < 0.1 * N_STUDIES


@pytest.mark.slow
def test_the_same_seed_gives_the_same_tables(score_tables):
    assert score_tables.table("weak", 3) == score_tables.table("weak", 3)
    assert score_tables.table("weak", 3) != score_tables.table("weak", 3, seed=1)


@pytest.mark.slow
def test_a_deal_per_fold_narrows_the_null(score_tables):
    for of_deals in score_tables.dealt_anew(50).values():
        assert of_deals["anew"]["sd"]["value"] < of_deals["once"]["sd"]["value"]


@pytest.fixture(scope="module")
def one_world(calibration, patched, tmp_path_factory):
    """Return the module of micro worlds, made small, a planted world's table and its folder."""
    worlds, folder = calibration("micro_worlds"), tmp_path_factory.mktemp("worlds")
    patched.setattr(worlds, "B", 2)
    patched.setattr(worlds, "WORLDS", {"strong": worlds.WORLDS["strong"]})
    return worlds, worlds.tables(1, folder)["strong"], folder


@pytest.mark.slow
def test_models_of_a_micro_world_are_trained_and_kept(one_world):
    worlds, found, folder = one_world
    assert found["test accuracy"]["value"] > 0.75
    assert found["training accuracy, true labels"]["value"] > 0.75
    assert found["effect, attention_gradient"]["value"] != 0
    assert found["supported, attention_gradient"]["yes"] == 0, "two relabellings support nothing"
    again = worlds.tables(1, folder, more=lambda: pytest.fail("trained again"))
    assert again["strong"] == found


@pytest.mark.slow
def test_the_page_says_what_is_simulated_and_takes_every_number_from_the_run(
    calibration, rates, few_studies, one_world
):
    make_page, page_text = calibration("make_page"), calibration("page_text")
    parts = {
        "score_tables": few_studies
        | dict.fromkeys(("length", "depth", "weak", "medium"), few_studies["nothing"]),
        "dealt_anew": calibration("score_tables").dealt_anew(5),
        "micro_worlds": {"strong": one_world[1]},
        "accuracy": make_page.accuracy(2),
        "claims": make_page.claims(1),
    }
    text = page_text.page(parts)
    headings = re.findall("(?m)^## (.*)$", text)
    of_worlds = text.split(headings[3])[1].split("\n## ")[0]
    assert states(of_worlds, page_text.WORLDS), "which the page is short of"
    row = next(line for line in text.splitlines() if line.startswith("| permuted labels, B = 20 "))
    assert rates.words(few_studies["strong"]["permuted 20"]) in row
    without = page_text.page(parts | {"micro_worlds": None, "claims": None})
    assert len(re.findall("(?m)^## (.*)$", without)) == len(headings) - 2
