import json
import shutil

import pytest
from messages import assert_sentence
from studies import schema
from two_studies import CLASSES, write_study

from keygenes import __version__
from keygenes.core.errors import InputError
from keygenes.core.studies import (
    check_recorded,
    common_tasks,
    compared_studies,
    finished,
    nothing_to_compare,
    other_target,
    shared_cells,
    tables_to_compare,
)

DEFAULTS = {"study": "default", "version": 2}
SCHEMA = schema("compare_studies")


@pytest.fixture(scope="module")
def finished_studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    tasks = {"level": CLASSES, "dose": {"0": [0], "25": [25]}}
    return [
        write_study(folder / "a", 1),
        write_study(folder / "b", 2, tasks=tasks),
    ]


@pytest.fixture
def folders(finished_studies, tmp_path):
    """Return two folders that a test may damage."""
    return [shutil.copytree(one, tmp_path / one.name) for one in finished_studies]


def compared(folders, **keys):
    config = {**DEFAULTS, "studies": [str(folder) for folder in folders], **keys}
    return compared_studies(config, DEFAULTS, SCHEMA)


def refused(folders, **keys):
    with pytest.raises(InputError) as error:
        compared(folders, **keys)
    return error


@pytest.mark.slow
def test_two_finished_studies_are_found_with_their_names_and_records(folders):
    studies, name = compared(folders)
    assert name == "a_vs_b"
    assert [study.name for study in studies] == ["a", "b"]
    assert [study.record["study"] for study in studies] == ["a", "b"]
    assert compared(folders, name="mine")[1] == "mine"


def test_a_name_without_a_slash_lies_under_results(folders, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    shutil.move(tmp_path / "a", tmp_path / "results/a")
    studies, _ = compared(["a", "./b/"])
    assert [study.folder for study in studies] == ["results/a", "./b"]


def test_studies_of_one_name_are_told_apart(folders, tmp_path):
    again = shutil.copytree(folders[0], tmp_path / "elsewhere/a")
    studies, name = compared([folders[0], again])
    assert [study.name for study in studies] == ["a (1)", "a (2)"] and name == "a_vs_a"


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"studies": ["results/a"]}, ("'studies'", "at least 2")),
        ({"studies": ["results/a", 5]}, ("'studies[1]'", "5")),
        ({"studies": "results/a"}, ("'studies'", "results/a")),
        ({"nmae": "x"}, ("'nmae'", "write 'name'")),
        ({"name": "x/y"}, ("'name'", "x/y")),
    ],
    ids=["one", "number", "text", "typo", "name"],
)
def test_keys_are_refused_in_a_sentence(folders, keys, parts):
    assert_sentence(refused(folders, **keys), "config key " + parts[0], *parts[1:])


def test_a_folder_that_no_comparison_can_be_named_for_needs_a_name(folders, tmp_path):
    odd = shutil.copytree(folders[0], tmp_path / "my {study}")
    assert_sentence(refused([odd, folders[1]]), "config key 'studies'", "my {study}_vs_b", "'name'")
    assert compared([odd, folders[1]], name="mine")[0][0].name == "my {study}"


def test_one_folder_twice_is_refused_whatever_its_spelling(folders):
    twice = [folders[0], f"{folders[1]}/../a/"]
    assert_sentence(refused(twice), "config key 'studies'", "twice")


@pytest.mark.parametrize(
    ("name", "where"),
    [("version.txt", "b"), ("provenance.json", "b"), ("", "config key 'studies'")],
    ids=["version", "record", "folder"],
)
def test_a_folder_without_a_finished_study_is_refused(folders, name, where):
    if name:
        (folders[1] / name).unlink()
    else:
        shutil.rmtree(folders[1])
    error = refused(folders)
    assert_sentence(error, where, name or "no folder")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"study": "b"}'])
def test_a_damaged_record_is_refused(folders, content):
    (folders[1] / "provenance.json").write_text(content)
    assert_sentence(refused(folders), str(folders[1] / "provenance.json"), "delete it")


def test_results_of_another_version_are_refused(folders):
    (folders[1] / "version.txt").write_text("0.0.9\n")
    assert_sentence(refused(folders), str(folders[1]), "0.0.9", __version__)


def test_a_record_of_another_version_is_refused(folders):
    record = json.loads((folders[0] / "provenance.json").read_text())
    record["keygenes"]["version"] = "0.0.8"
    (folders[0] / "provenance.json").write_text(json.dumps(record))
    assert_sentence(refused(folders), str(folders[0]), "0.0.8", __version__)


@pytest.mark.slow
def test_common_tasks_have_a_name_and_classes_in_common(folders, tmp_path):
    (a, b), _ = compared(folders)
    assert common_tasks(a, b) == (["level"], {"dose": "in b alone"})
    others = {"level": {"none": [0], "high": [25]}, "dose": {"0": [0], "25": [25]}}
    c = finished(str(write_study(tmp_path / "c", 3, tasks=others)), "c")
    tasks, left_out = common_tasks(b, c)
    assert tasks == ["dose"]
    assert left_out == {"level": "other classes: high, low in b, high, none in c"}
    with pytest.raises(InputError) as error:
        common_tasks(a, c)
    assert_sentence(error, "config key 'studies'", "level: other classes", "dose: in c alone")


def test_a_task_of_genes_is_left_out(folders):
    (a, b), _ = compared(folders)
    for study in (a, b):
        task = {"name": "common", "type": "gene", "gene_classes": "x"}
        study.record["config"]["tasks"].append(task)
    assert common_tasks(a, b)[1]["common"] == "classifies genes, not cells"


def test_a_missing_table_is_refused(folders):
    (a, _), _ = compared(folders)
    assert set(tables_to_compare(a, ["level"])) == {
        "cells/selection.parquet",
        "cells/labels.parquet",
        "evidence/level/genes.parquet",
    }
    table = folders[0] / "evidence/level/genes.parquet"
    table.unlink()
    with pytest.raises(InputError) as error:
        tables_to_compare(a, ["level"])
    assert_sentence(error, str(table), "no such file")


def test_a_study_with_a_primary_test_must_have_its_table(folders):
    (a, _), _ = compared(folders)
    a.record["config"]["evidence"]["primary"] = {"task": "level"}
    with pytest.raises(InputError) as error:
        tables_to_compare(a, ["level"])
    assert_sentence(error, str(folders[0] / "evidence/primary.parquet"))


def test_a_table_that_the_record_does_not_name_is_refused(folders):
    (a, b), _ = compared(folders)
    name = "evidence/level/genes.parquet"
    check_recorded(a, name, folders[0] / name)
    with pytest.raises(InputError) as error:
        check_recorded(a, name, folders[1] / name)
    assert_sentence(error, str(folders[1] / name), "provenance.json")


@pytest.mark.slow
def test_cells_that_both_studies_read_are_named(folders, tmp_path):
    (a, b), _ = compared(folders)
    assert shared_cells(a, b) == []
    c, d = (
        finished(str(write_study(tmp_path / name, seed, dataset="same")), name)
        for name, seed in (("c", 3), ("d", 4))
    )
    assert shared_cells(c, d) == ["dataset 'same'"]
    for study in (a, b):  # the same file, under two names
        name = study.record["config"]["dataset"]
        study.record["inputs"].append({"name": f"dataset '{name}', file 'matrix'", "sha256": "0"})
    assert shared_cells(a, b) == ["dataset 'cells_a'"]


def test_key_and_target_without_each_other_are_refused_in_a_sentence():
    assert_sentence(
        other_target("all"), "config key 'studies'", "'all', or none", "compare_studies"
    )
    assert_sentence(other_target("de_only"), "config key 'studies'", "'de_only'")
    assert_sentence(nothing_to_compare(), "config key 'studies'", "compare_studies")
