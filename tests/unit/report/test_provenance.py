import json
import subprocess
from datetime import UTC, datetime

import pandas as pd
import pytest
from rocrate.rocrate import ROCrate
from study_configs import made_study

from keygenes.core.files import checksum
from keygenes.core.tables import set_stamp, write_table
from keygenes.report.facts import all_versions, provenance_facts
from keygenes.report.provenance import (
    commit_of,
    given_files,
    provenance,
    run_crate,
    seeds_of,
    software_behind,
)

CONFIG = {
    "study": "tiny",
    "folds": [1, 2, 3],
    "seeds": [1, 2],
    "tokens": {"seed": 3},
    "select": {"min_counts": 1},
}
CONFIG |= {"model": "pretrain", "pretrain": {"dataset": "x"}, "dataset": "a"}
ENTRIES = {
    "datasets": {
        "a": {"title": "all cells", "licence": "CC0", "combine": ["x"]},
        "x": {"title": "made cells", "simulate": {"seed": 7, "kind": "atlas"}},
    },
    **{"model": None, "vocabulary": None, "gene_classes": {}},
    "gene_sets": {
        "b": {"title": "known genes", "file": {"path": "genes.tsv"}},
        "planted": {"title": "planted genes", "file": {"truth_of": "x"}},
    },
}
STUDY = made_study(CONFIG, **ENTRIES)


@pytest.fixture
def stamped(tmp_path):
    """Return a function that writes a table with the versions that made it."""

    def write(name, **versions):
        path = tmp_path / "results" / f"{name}.parquet"
        set_stamp({"versions": versions})
        write_table(pd.DataFrame({"x": [1]}), path)
        set_stamp(None)
        return path

    return write


@pytest.fixture
def record(stamped, tmp_path):
    matrix, genes = tmp_path / "cells.h5ad", tmp_path / "genes.tsv"
    matrix.write_bytes(b"cells")
    genes.write_bytes(b"MDM2\n")
    spec = {"url": "https://example.org/cells", "md5": "0" * 32}
    return provenance(
        STUDY,
        CONFIG,
        given={"dataset 'a', file 'matrix'": str(matrix), "gene set 'b'": str(genes)},
        sources={"dataset": {str(matrix): {"name": "dataset", "spec": spec}}},
        code={"rules": "r", "scripts": {"evaluate": "e"}},
        checkout=tmp_path,
        snakemake="9.0",
        results=tmp_path / "results",
        tables=[stamped("one", torch="1.0"), stamped("two", torch="2.0", numpy="3.0")],
    )


def test_every_seed_of_a_config_is_found():
    assert seeds_of(CONFIG) == {"seeds": [1, 2], "tokens.seed": 3}


def test_versions_of_all_tables_show_an_update_in_between(stamped):
    tables = [stamped("one", torch="2.0"), stamped("two", torch="1.0", numpy="3.0")]
    found = software_behind(tables, "9.0")
    assert found == {"numpy": ["3.0"], "snakemake": ["9.0"], "torch": ["1.0", "2.0"]}


def test_the_page_has_the_versions_that_wrote_it_too():
    recorded = {"numpy": ["3.0"], "torch": ["1.0", "2.0"]}
    assert all_versions(recorded, {"altair": "6.0", "numpy": "3.1"}) == {
        **{"altair": "6.0", "numpy": "3.0, 3.1", "torch": "1.0, 2.0"},
    }


def test_inputs_and_results_have_their_checksums(record, tmp_path):
    matrix, genes = record["inputs"]
    assert matrix["sha256"] == checksum(tmp_path / "cells.h5ad")
    assert (matrix["bytes"], matrix["url"]) == (5, "https://example.org/cells")
    assert matrix["published"] == "md5:" + "0" * 32
    assert genes["url"] is genes["published"] is None
    assert record["results"]["two.parquet"]["sha256"] == checksum(tmp_path / "results/two.parquet")


def test_a_checkout_says_its_commit_and_changes(tmp_path):
    assert commit_of(tmp_path) == {"commit": None, "changed": None}

    def git(*args):
        person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", tmp_path, *person, *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    snakefile = tmp_path / "workflow/Snakefile"
    snakefile.parent.mkdir()
    snakefile.touch()
    git("init", "--quiet")
    assert commit_of(tmp_path)["commit"] is None  # a folder inside another checkout is not ours
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    assert commit_of(tmp_path) == {"commit": git("rev-parse", "HEAD").strip(), "changed": False}
    snakefile.write_text("# edited\n")
    assert commit_of(tmp_path)["changed"] is True


def test_the_commit_of_a_repository_around_it_is_not_its_own(tmp_path):
    inside = tmp_path / "external/keygenes"
    (inside / "workflow").mkdir(parents=True)
    (inside / "workflow/Snakefile").touch()
    for args in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *person, *args], check=True)
    assert commit_of(tmp_path / "external") == commit_of(inside)
    assert commit_of(inside) == {"commit": None, "changed": None}


def test_a_file_beside_the_workflow_is_recorded_as_it_is_named(repository, monkeypatch):
    monkeypatch.chdir(repository)
    path = "resources/gene_sets/p53_textbook.tsv"
    recorded, own = given_files({"a": str(repository / path), "b": path}, {})
    assert recorded["path"] == own["path"] == path
    assert recorded["sha256"] == checksum(repository / path)


def test_the_crate_is_read_back_with_all_inputs_and_results(record, tmp_path):
    ended = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    folder = tmp_path / "results"
    written = run_crate(record, ended)
    assert {"sha256": "http://schema.org/sha256"} in written["@context"]
    (folder / "ro-crate-metadata.json").write_text(json.dumps(written))
    crate = ROCrate(folder)
    assert crate.root_dataset["license"].endswith("CC0; not known")
    run = crate.dereference("#run")
    assert run["endTime"] == "2026-01-02T03:04:05+00:00"
    assert {file.id: file["sha256"] for file in run["result"]} == {
        path: found["sha256"] for path, found in record["results"].items()
    }
    inputs = [item for item in run["object"] if item.type == "MediaObject"]
    assert [item["sha256"] for item in inputs] == [i["sha256"] for i in record["inputs"]]
    packages = {item["name"]: item["version"] for item in run["instrument"]["softwareRequirements"]}
    assert packages == {"numpy": "3.0", "snakemake": "9.0", "torch": "1.0, 2.0"}
    assert "Simulated" not in crate.description
    assert (
        "Simulated data: all"
        in run_crate({**record, "simulated": "all"}, ended)["@graph"][0]["description"]
    )


def test_facts_of_the_page(record):
    facts = provenance_facts(record, STUDY)
    assert (facts["folds"], facts["seeds"]) == ("1, 2, 3", "1, 2")
    for said in ("all cells", "from x", "CC0"):
        assert said in facts["dataset 'a'"]
    sha256 = record["inputs"][0]["sha256"]
    assert facts["dataset 'a', file 'matrix'"] == f"https://example.org/cells (sha256 {sha256})"
    for said in ("made cells", "imulated", "atlas", "seed 7"):
        assert said in facts["dataset 'x'"]
    assert "pretrained" in facts["model"] and "'x'" in facts["model"]
    genes = record["inputs"][1]
    assert facts["gene set 'b'"] == (
        f"known genes. Local file {genes['path']} (sha256 {genes['sha256']})"
    )
    assert facts["gene set 'planted'"] == (
        "planted genes. Written by this study with the simulated dataset 'x'"
    )
    assert list(facts).index("dataset 'a', file 'matrix'") == list(facts).index("dataset 'a'") + 1
    assert "provenance.json" in facts["whole record"]
    assert "results/tiny/" in facts["whole record"]
    assert "2 inputs and 2 results" in facts["whole record"]
    assert "commit" not in facts["keygenes"]
    made = {"version": "1", "commit": "0123456789abcdef", "changed": True}
    assert provenance_facts({**record, "keygenes": made}, STUDY)["keygenes"] == (
        "1 (commit 0123456789ab and changes)"
    )
