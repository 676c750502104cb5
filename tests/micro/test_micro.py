"""A study of a minute, from simulated cells to the report: every kind of rule, end to end."""

import json

import pyarrow.parquet as pq
import pytest
import yaml
from running import (
    MICRO,
    dry_run,
    edited_config,
    finished_study,
    module_user,
    promised_bytes,
    run_snakemake,
)
from snakemake.utils import update_config

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


def contents(table):
    """Return the columns of a Parquet file, without the stamp of the rule that wrote it."""
    return pq.read_table(table).replace_schema_metadata(None)


@pytest.mark.slow
def test_a_study_in_another_folder_has_the_same_bytes(micro, results, tmp_path):
    configs = [micro / path for path in MICRO]
    args = ["-s", micro / "Snakefile", "-d", "there", "--configfile", *configs]
    run = run_snakemake(tmp_path, "--cores", 2, "--quiet", "rules", *args, timeout=3600)
    assert run.returncode == 0, run.text[-5000:]
    assert promised_bytes(tmp_path / "there/results/micro") == promised_bytes(results)
    assert {path.name for path in (tmp_path / "there").iterdir()} == {".snakemake", "results"}


@pytest.mark.slow
def test_a_study_of_a_module_has_the_same_numbers(micro, results, tmp_path):
    config = {}
    for path in MICRO:
        update_config(config, yaml.safe_load((micro / path).read_text(encoding="utf-8")))
    module_user(tmp_path, micro / "workflow/Snakefile", config)
    args = ["count", "keygenes_all", "--cores", 2, "--quiet", "rules"]
    run = run_snakemake(tmp_path, *args, timeout=3600)
    assert run.returncode == 0, run.text[-5000:]
    assert (tmp_path / "lines.txt").is_file()
    made = tmp_path / "results/micro"
    of_module, alone = promised_bytes(made), promised_bytes(results)
    assert of_module.keys() == alone.keys()
    assert (made / "version.txt").read_bytes() == (results / "version.txt").read_bytes()
    for name in alone:
        if name.endswith(".parquet"):
            assert contents(made / name).equals(contents(results / name)), name
            assert read_stamp(made / name)["rule"].startswith("keygenes_"), name
        elif name.endswith((".safetensors", ".tsv", ".svg", ".txt")):
            assert of_module[name] == alone[name], name
