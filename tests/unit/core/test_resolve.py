import copy

import pytest
import yaml
from messages import assert_sentence
from running import whole_config
from studies import put, registries, schema

from keygenes.core import config as settings
from keygenes.core.errors import InputError
from keygenes.core.resolve import read_registry, resolve


def resolved(config):
    return resolved_with(config)


def test_later_registries_win_entry_by_entry(here, tmp_path):
    own = {"datasets": {"mine": {"title": "mine", "layout": "h5ad"}}}
    own["datasets"]["sciplex2_kaggle"] = {"title": "other", "layout": "h5ad"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    merged = read_registry(["config/datasets.yaml", tmp_path / "own.yaml"], schema("datasets"))[
        "datasets"
    ]
    assert merged["sciplex2_kaggle"] == {"title": "other", "layout": "h5ad"}
    assert {"mine", "sciplex2_scperturb"} <= set(merged)


def test_a_wrong_registry_names_its_file(here, tmp_path):
    entry = {"title": "mine", "layout": "h5ad", "files": {"matrix": {"url": "https://a/b"}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}}))
    with pytest.raises(InputError) as error:
        read_registry([tmp_path / "own.yaml"], schema("datasets"))
    where = f"{tmp_path / 'own.yaml'}, key 'datasets.mine.files.matrix.path'"
    assert_sentence(error, where, "found nothing", "add the key")


def test_every_input_of_the_study_is_found_or_to_be_downloaded(study):
    found = resolved(study)
    assert found["dataset"]["layout"] == "scperturb"
    matrix = "resources/scperturb/SrivatsanTrapnell2020_sciplex2.h5ad"
    assert found["dataset_files"] == {"sciplex2_scperturb": {"matrix": matrix}}
    assert set(found["vocabulary_files"]) == {"tokens", "medians", "names"}
    assert found["model_files"]["weights"].endswith("Geneformer-V1-10M/model.safetensors")
    # a local file without checksum is used where it lies
    assert found["gene_set_files"]["p53_textbook"] == "resources/gene_sets/p53_textbook.tsv"
    assert found["gene_set_files"]["hallmark_p53"] == "resources/msigdb/h.all.v7.0.symbols.gmt"
    assert {kind: len(paths) for kind, paths in found["downloads"].items()} == {
        **{"dataset": 1, "model": 5, "gene_set": 1}
    }
    source = found["downloads"]["dataset"][matrix]
    assert source["name"] == "dataset 'sciplex2_scperturb', file 'matrix'"
    assert source["spec"]["md5"] == "12a48293a166a859f994551653a2ad8c"


def test_the_demo_downloads_nothing(here):
    found = resolved(whole_config("config/demo_thesis.yaml"))
    assert found["downloads"] == {"dataset": {}, "model": {}, "gene_set": {}}
    assert found["dataset_files"] == {"simulated_sciplex": {}, "simulated_atlas": {}}
    assert found["model"] is None
    assert found["vocabulary"] is None


UNRESOLVED = {
    "dataset": ("dataset", "sciplex2_scpertub", ["'dataset'", "config/datasets.yaml", "perturb'"]),
    "far dataset": ("dataset", "zzz", ["'dataset'", "'zzz'", "expected one of", "add an entry"]),
    "model": ("model", "geneformer_v1", ["'model'", "'geneformer_v1'", "config/models.yaml"]),
    "gene set": ("evidence.gene_sets", ["p53"], ["'evidence.gene_sets'", "'p53'", "hallmark_p53"]),
    "vocabulary of another": (
        *("tokens.vocabulary", "geneformer_v2"),
        ["'tokens.vocabulary'", "found 'geneformer_v2'", "expected 'geneformer_v1'"],
    ),
}


@pytest.mark.parametrize("case", UNRESOLVED)
def test_a_name_that_is_in_no_registry(study, case):
    key, value, parts = UNRESOLVED[case]
    put(study, key, value)
    with pytest.raises(InputError) as error:
        resolved(study)
    assert_sentence(error, f"config key {parts[0]}", *parts)


def test_the_dataset_to_pretrain_on_must_exist_too(here):
    demo = whole_config("config/demo_thesis.yaml")
    put(demo, "pretrain.dataset", "atlas")
    with pytest.raises(InputError) as error:
        resolved(demo)
    assert_sentence(error, "config key 'pretrain.dataset'", "'atlas'")


def resolved_with(study, **entries):
    datasets, models, gene_sets = copy.deepcopy(registries(study))
    datasets["datasets"].update(entries.get("datasets", {}))
    models["models"].update(entries.get("models", {}))
    classes = entries.get("gene_classes", {})
    return resolve(study, datasets["datasets"], models, gene_sets["gene_sets"], classes)


def test_a_local_file_that_is_absent_and_one_with_a_checksum(study, tmp_path):
    study["dataset"] = "mine"
    entry = {"title": "mine", "layout": "h5ad", "files": {"matrix": {"path": "absent.h5ad"}}}
    with pytest.raises(InputError) as error:
        resolved_with(study, datasets={"mine": entry})
    assert_sentence(error, "dataset 'mine', file 'matrix', key 'path'", "absent.h5ad")

    (tmp_path / "mine.h5ad").write_bytes(b"x")
    spec = {"path": str(tmp_path / "mine.h5ad")}
    entry["files"]["matrix"] = spec
    found = resolved_with(study, datasets={"mine": entry})
    assert found["dataset_files"]["mine"]["matrix"] == spec["path"]
    assert found["downloads"]["dataset"] == {}

    spec["sha256"] = "0" * 64  # to be verified: it goes through a download of its own
    found = resolved_with(study, datasets={"mine": entry})
    assert found["dataset_files"]["mine"]["matrix"] == "resources/mine.h5ad"
    assert list(found["downloads"]["dataset"]) == ["resources/mine.h5ad"]


def test_a_dataset_without_files(study):
    study["dataset"] = "mine"
    with pytest.raises(InputError) as error:
        resolved_with(study, datasets={"mine": {"title": "mine", "layout": "h5ad"}})
    assert_sentence(error, "dataset 'mine'", "found no 'files'")


def test_a_model_folder_of_ones_own(study, tmp_path):
    study["model"] = "mine"
    models = {"mine": {"vocabulary": "geneformer_v1", "folder": str(tmp_path)}}
    with pytest.raises(InputError) as error:
        resolved_with(study, models=models)
    assert_sentence(error, "model 'mine', key 'folder'", str(tmp_path), "config.json")
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).touch()
    found = resolved_with(study, models=models)["model_files"]
    assert found["weights"] == str(tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").touch()  # preferred where both lie
    found = resolved_with(study, models=models)["model_files"]
    assert found["weights"] == str(tmp_path / "model.safetensors")
    assert found["config"] == str(tmp_path / "config.json")


def test_a_pretrained_model_needs_its_own_vocabulary(study):
    put(study, "tokens.vocabulary", "dataset")
    with pytest.raises(InputError) as error:
        resolved(study)
    assert_sentence(error, "config key 'tokens.vocabulary'", "found 'dataset'")


def test_a_classifier_brought_along(study, tmp_path):
    study["regimes"].append({"name": "theirs", "finetuned": "mine"})
    settings.check(study, schema("config"), "config key")
    settings.check_relations(study)
    entry = {"vocabulary": "geneformer_v1", "finetuned": str(tmp_path), "classes": ["low", "high"]}
    with pytest.raises(InputError) as error:
        resolved_with(study, models={"mine": entry})
    assert_sentence(error, "model 'mine', key 'finetuned'", str(tmp_path), "config.json")
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).touch()
    found = resolved_with(study, models={"mine": entry})
    assert found["finetuned"] == {
        "theirs": {
            "config": str(tmp_path / "config.json"),
            "weights": str(tmp_path / "pytorch_model.bin"),
            "classes": ["low", "high"],
            "entry": entry,
        }
    }
    assert found["model_files"]["weights"].endswith("Geneformer-V1-10M/model.safetensors")
    put(study, "model", "mine")  # alone, its own encoder is the model to compare with
    found = resolved_with(study, models={"mine": entry})
    assert found["model_files"]["weights"] == str(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError) as error:
        resolved_with(study, models={"mine": {**entry, "vocabulary": "geneformer_v2"}})
    assert_sentence(error, "'tokens.vocabulary'", "'geneformer_v2', which model 'mine'")
    study["regimes"][-1]["finetuned"] = "geneformer_v1_10m"
    with pytest.raises(InputError) as error:
        resolved_with(study, models={"mine": entry})
    assert_sentence(error, "model 'geneformer_v1_10m'", "no key 'finetuned'")


GENE_TASK = {"name": "dosage", "type": "gene", "gene_classes": "mine"}


GENE_CLASSES = {"a": {"x": ["Yes"]}, "b": {"x": ["No"]}}


def test_a_gene_list_is_found_or_to_be_downloaded(study, tmp_path):
    study["tasks"].append(GENE_TASK)
    settings.check(study, schema("config"), "config key")
    settings.check_relations(study)
    (tmp_path / "genes.csv").touch()
    local = {"title": "mine", "file": {"path": str(tmp_path / "genes.csv")}}
    found = resolved_with(study, gene_classes={"mine": local})
    assert found["gene_class_files"] == {"mine": str(tmp_path / "genes.csv")}
    far = {"title": "mine", "file": {"mirror_path": "lists/genes.csv", "url": "https://a/b"}}
    found = resolved_with(study, gene_classes={"mine": far})
    assert found["gene_class_files"] == {"mine": "resources/lists/genes.csv"}
    assert "resources/lists/genes.csv" in found["downloads"]["gene_set"]
    with pytest.raises(InputError) as error:
        resolved_with(study, gene_classes={"mien": local})
    assert_sentence(error, "config key 'tasks.dosage.gene_classes'", "'mine'", "write 'mien'")


@pytest.mark.parametrize(
    ("classes", "parts"),
    [
        (GENE_CLASSES, None),
        ({"a": {"x": ["Yes"]}}, ["gene_classes.mine.classes'", "at least 2 entries"]),
        ({**GENE_CLASSES, "c": {}}, ["gene_classes.mine.classes.c'", "at least 1"]),
        (
            {**GENE_CLASSES, "c": {"x": [True]}},
            ["gene_classes.mine.classes.c.x[0]'", "found True", "YAML reads Yes and No"],
        ),
        (None, ["gene_classes.mine.classes'", "found nothing"]),
    ],
)
def test_a_registry_may_hold_lists_of_genes_with_classes(here, tmp_path, classes, parts):
    entry = {"title": "mine", "file": {"path": "genes.csv"}, "classes": classes}
    entry = {key: value for key, value in entry.items() if value is not None}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"gene_classes": {"mine": entry}}))
    if not parts:
        read = read_registry([tmp_path / "own.yaml"], schema("gene_sets"))
        assert read["gene_classes"]["mine"] == entry
        return
    with pytest.raises(InputError) as error:
        read_registry([tmp_path / "own.yaml"], schema("gene_sets"))
    assert_sentence(error, f"{tmp_path / 'own.yaml'}, key '", *parts)


def test_a_combined_dataset_is_read_as_its_members(study, tmp_path):
    (tmp_path / "a.h5ad").touch()
    member = {"title": "a", "layout": "h5ad", "files": {"matrix": {"path": f"{tmp_path}/a.h5ad"}}}
    both = {"title": "both", "combine": ["a", "b"]}
    datasets = {"a": member, "b": member, "both": both}
    study["dataset"] = "both"
    found = resolved_with(study, datasets=datasets)
    assert found["dataset"] == both
    assert found["combined"] == {"both": ["a", "b"]}
    assert set(found["dataset_files"]) == {"a", "b"}
    for wrong, parts in (
        (["a", "c"], ["config key 'datasets.both.combine'", "'c'"]),
        (["a", "both"], ["dataset 'both', key 'combine'", "'both', which combines"]),
    ):
        with pytest.raises(InputError) as error:
            resolved_with(study, datasets={**datasets, "both": {**both, "combine": wrong}})
        assert_sentence(error, *parts)


def test_a_dataset_is_read_from_a_layout_or_combined(here, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"datasets": {"x": {"title": "x", "combine": ["a", "b"]}}}))
    read_registry([path], schema("datasets"))
    path.write_text(yaml.safe_dump({"datasets": {"x": {"title": "x"}}}))
    with pytest.raises(InputError) as error:
        read_registry([path], schema("datasets"))
    assert_sentence(error, f"{path}, key 'datasets.x.layout'", "found nothing")


def test_a_folder_is_a_file_of_the_layouts_that_have_one(study, tmp_path):
    study["dataset"] = "mine"
    (tmp_path / "cells").mkdir()
    spec = {"path": f"{tmp_path}/cells/"}
    entry = {"title": "mine", "layout": "zarr", "files": {"matrix": spec}}
    for layout in ("zarr", "10x_mtx"):
        found = resolved_with(study, datasets={"mine": {**entry, "layout": layout}})
        assert found["dataset_files"]["mine"]["matrix"] == str(tmp_path / "cells")
        assert found["downloads"]["dataset"] == {}
    with pytest.raises(InputError) as error:
        resolved_with(study, datasets={"mine": {**entry, "layout": "h5ad"}})
    assert_sentence(error, "dataset 'mine', file 'matrix', key 'path'", "a folder", "layout: zarr")
    spec["md5"] = "0" * 32
    with pytest.raises(InputError) as error:
        resolved_with(study, datasets={"mine": entry})
    assert_sentence(error, "dataset 'mine', file 'matrix', key 'md5'", "remove it")


def test_names_of_genes_come_from_the_study_s_vocabulary(study):
    found = resolved(study)
    assert found["name_files"] == {"names": [found["vocabulary_files"]["names"]], "mapping": []}


@pytest.mark.parametrize(
    ("columns", "alone"),
    [
        ({"ensembl_id": None, "symbol": "name"}, True),
        ({"ensembl_id": None}, True),
        ({"symbol": "index"}, True),
        ({"symbol": "name"}, False),
        ({"ensembl_id": "index", "symbol": "index"}, False),
        ({}, False),
    ],
)
def test_cells_with_symbols_alone_need_a_dictionary_with_aliases(study, tmp_path, columns, alone):
    (tmp_path / "mine.h5ad").write_bytes(b"x")
    files = {"matrix": {"path": str(tmp_path / "mine.h5ad")}}
    entry = {"title": "mine", "layout": "h5ad", "columns": columns, "files": files}
    settings.check({"datasets": {"mine": entry}}, schema("datasets"), "key")
    study["dataset"] = "mine"
    found = resolved_with(study, datasets={"mine": entry})
    names = found["name_files"]
    assert names["names"][0] == found["vocabulary_files"]["names"]
    assert len(names["names"]) == 1 + alone and len(names["mapping"]) == alone
    asked = [path for path in found["downloads"]["model"] if "gc104M" in path]
    assert sorted(asked) == sorted(names["names"][1:] + names["mapping"])


def test_without_any_vocabulary_there_is_no_dictionary(here):
    config = whole_config("config/demo_thesis.yaml")
    assert resolved(config)["name_files"] == {"names": [], "mapping": []}
