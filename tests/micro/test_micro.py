"""A study of a minute, from simulated cells to the report: every kind of rule, end to end."""

import json

import pyarrow.parquet as pq
import pytest
from running import MICRO, dry_run, edited_config, finished_study, run_snakemake

from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_stamp, read_table

OWN_COLUMNS = {"key_genes", "attended_vs_expressed"}  # the study's gene sets are among them
CONFIGS = ("--configfile", *MICRO)


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """Return a checkout in which the micro study is finished."""
    return finished_study(tmp_path_factory.mktemp("micro") / "main", *MICRO)


@pytest.fixture(scope="module")
def results(micro):
    return micro / "results/micro"


def test_every_table_is_stamped_and_those_with_a_schema_have_it(results):
    paths = sorted(results.rglob("*.parquet"))
    for folder in ("models/level", "evidence/level", "evidence", "expression"):
        for path in (results / folder).glob("*.parquet"):
            if path.stem not in OWN_COLUMNS:
                assert pq.read_schema(path).equals(TABLES[path.stem]), path
    for path in paths:
        assert len(read_stamp(path)["params_sha256"]) == 64, path


def test_relabelled_models_are_scored_beside_the_true_one(results):
    scores = read_table(results / "evidence/level/relabelled_scores.parquet")
    assert set(scores.loc[scores["track"] == "attention_received", "relabelling"]) == {0, 1, 2}
    (row,) = read_table(results / "evidence/primary.parquet").itertuples()
    assert (row.outcome, row.n_permuted) == ("inconclusive", 2)
    assert row.smallest_p == pytest.approx(1 / 3)


def test_what_the_primary_test_found_was_known_before(results):
    checks = read_table(results / "cells/checks.parquet").set_index("check")
    assert checks.loc["primary test", "outcome"] == "look"
    assert checks.loc["primary test", "n"] == 2


def test_the_report_lies_there_whole(results):
    report = results / "report"
    assert {"index.html", "assets", "data", "figures", "tables"} <= {
        path.name for path in report.iterdir()
    }
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert record["study"] == "micro"
    assert "evidence/primary.parquet" in record["results"]
    for name, found in record["results"].items():
        assert (results / name).stat().st_size == found["bytes"], name


def test_nothing_is_left_to_do_and_an_edit_concerns_its_readers_alone(micro, tmp_path):
    assert dry_run(micro, *CONFIGS) == []
    edited = edited_config(
        tmp_path / "edited.yaml", {"evidence.marker": "CDKN1A"}, micro / MICRO[0]
    )
    rules = {rule for rule, _ in dry_run(micro, "--configfile", edited, *MICRO[1:])}
    assert rules == {"plot_attention", "record_provenance", "write_report", "write_scored_cells"}


def test_a_wrong_key_ends_the_run_in_one_sentence(micro, tmp_path):
    edited = edited_config(tmp_path / "edited.yaml", {"seeds": []}, micro / MICRO[0])
    run = run_snakemake(micro, "-n", "--configfile", edited, *MICRO[1:])
    assert run.returncode != 0
    assert "config key 'seeds'" in run.text and "Traceback" not in run.text
