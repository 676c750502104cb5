import contextlib
import io
import re

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from stated import names_in, numbers_in, states
from tiny_study import tiny_config, write_study
from transformers import AutoModelForSequenceClassification

from keygenes.core.files import read_json, write_json
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import predictions_table, task_cells
from keygenes.models.device import Hardware
from keygenes.models.encoder import save_model
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.finetune import class_logits
from keygenes.models.head import set_pooling
from keygenes.report.gene_export import simulated_note
from keygenes.report.methods_cells import drawn_words
from keygenes.report.methods_models import converging, kept_epoch, schedule, what_trains
from keygenes.report.model_card import (
    CONTROLS,
    front_matter,
    hub_repository,
    training,
    write_model_cards,
)
from keygenes.report.wording import number

BASE = {
    "title": "a model of others",
    "licence": "Apache-2.0",
    "files": {
        "weights": {"url": "https://huggingface.co/owner/name/resolve/0123/model.safetensors"},
        "config": {"url": "https://huggingface.co/owner/name/resolve/0123/config.json"},
    },
}
OPTIONS = {"epochs": 2, "batch_size": 12, "learning_rate": 5e-5, "weight_decay": 0.001}
OPTIONS |= {"warmup_steps": 500, "warmup_fraction": 0.1, "max_grad_norm": 1.0}
OPTIONS |= {"attention_dropout": None, "pooling": None, "keep_epoch": "last", "converge": None}
FULL = {"entry": {"name": "full", "train": ["*"]}, "patterns": ["*"], "options": OPTIONS}
FULL |= {"finetuned": None, "encoding": None}


def metrics_table():
    rows = []
    for regime, design, value in (
        *(("full", "grouped", 0.75), ("majority", "grouped", 0.5)),
        *(("majority", "random", 0.6), ("by_cell", "random", 0.9)),
    ):
        for fold in (1, None):
            seed = fold if regime != "majority" else None
            row = {"regime": regime, "design": design, "fold": fold, "seed": seed, "split": "test"}
            row |= {
                "covers": "wells",
                "value": value,
                "ci_low": value - 0.1,
                "ci_high": value + 0.1,
                "unit": "well",
            }
            rows.append({**row, "metric": "accuracy", "n_cells": 12 if fold else 60, "n_units": 3})
            rows.append({**row, "metric": "macro_f1", "value": 0.01})
    frame = pd.DataFrame(rows).reindex(columns=TABLES["metrics"].names)
    return frame.astype({"fold": "Int64", "seed": "Int64", "n_cells": "Int64", "n_units": "Int64"})


@pytest.fixture
def folder_of(tmp_path):
    """Return a function that writes a study with one classifier and its card; it returns both."""

    def write(*, pooling=None, specials=("<pad>", "<mask>"), base=BASE, simulated=False, **how):
        pretrained = None if base else tmp_path / "results/tiny/models/pretrained"
        root = tmp_path / "results/tiny"
        study = write_study(root, specials=specials)
        vocabulary = read_table(study["vocabulary"])
        vocabulary["median"] = np.random.default_rng(1).random(len(vocabulary))
        write_table(vocabulary, study["vocabulary"], "vocabulary")
        torch.manual_seed(3)
        config = tiny_config(n_tokens=len(vocabulary))
        config.num_labels = 2
        config.id2label, config.label2id = {0: "low", 1: "high"}, {"low": 0, "high": 1}
        set_pooling(config, pooling, vocabulary)
        model = CellClassifier(config).eval()
        folder = root / "models/level/full/fold1.seed1"
        folder.mkdir(parents=True)
        save_model(model, folder / "model.safetensors", folder / "config.json")
        paths = [study[name] for name in ("tokens", "labels", "splits")]
        frame, cells, classes = task_cells(*paths, "level", 1)
        hardware = Hardware(torch.device("cpu"), "float32", 200)
        p = class_logits(model, cells, hardware).double().softmax(1).numpy()
        write_table(
            predictions_table(frame, p, classes), folder / "predictions.parquet", "predictions"
        )
        write_json({"parameters": {"trained": 4290, "all": 262082}}, folder / "loading.json")
        write_table(metrics_table(), root / "metrics.parquet", "metrics")
        names = {"config": "config.json", "loading": "loading.json", "card": "README.md"}
        names |= {"predictions": "predictions.parquet", "vocabulary": "vocabulary.tsv"}
        regimes = {"full": {**FULL, "tokens": study["tokens"], **how}}
        write_model_cards(
            models=[
                {"task": "level", "regime": "full", "run": "fold1.seed1"}
                | {key: folder / name for key, name in names.items()}
            ],
            metrics={"level": root / "metrics.parquet"},
            splits=study["splits"],
            vocabulary=study["vocabulary"],
            study="tiny",
            regimes=regimes,
            base=base,
            pretrained=pretrained,
            dataset={"title": "some cells", "licence": "CC0"},
            max_length=24,
            simulated=simulated,
        )
        return folder, (folder / "README.md").read_text(encoding="utf-8")

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "specials"),
    [
        (None, ("<pad>", "<mask>")),
        ("mean", ("<pad>", "<mask>")),
        ("mean", ("<pad>", "<mask>", "<cls>", "<eos>")),
        ("cls", ("<pad>", "<mask>", "<cls>", "<eos>")),
    ],
)
def test_its_code_gives_the_studys_own_predictions(folder_of, pooling, specials):
    folder, card = folder_of(pooling=pooling, specials=specials)
    (code,) = re.findall(r"```python\n(.+?)```", card, re.DOTALL)
    scope = {}
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec(code, scope)
    found = scope["probabilities"]
    own = read_table(folder / "predictions.parquet").set_index("cell")["probabilities"]
    assert len(found) == 8
    assert list(found.columns) == ["low", "high"]
    np.testing.assert_allclose(found.to_numpy(), np.stack(own.reindex(found.index)), atol=1e-5)
    assert np.ptp(found["low"]) > 1e-3, "cells differ, or the test says nothing"


def test_transformers_loads_the_folder_as_it_stands(folder_of):
    folder, _ = folder_of()
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder, output_loading_info=True
    )
    assert model.config.id2label == {0: "low", 1: "high"}
    assert model.config.label2id == {"low": 0, "high": 1}
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_the_vocabulary_beside_it_is_exact(folder_of):
    folder, card = folder_of()
    given = read_table(folder.parents[3] / "vocabulary.parquet")
    found = pd.read_csv(folder / "vocabulary.tsv", sep="\t", float_precision="round_trip")
    assert list(found.columns) == ["token", "ensembl_id", "median"]
    assert found["median"].tolist() == given["median"].tolist()
    assert found["ensembl_id"].tolist() == given["ensembl_id"].tolist()
    assert states(card.split("```")[-1], 24), "genes that a cell has room for"


def rows_of(card):
    """Return the rows of all tables of a card: {first cell: text of the others}."""
    lines = [line.strip("|").split("|", 1) for line in card.splitlines() if line.startswith("| ")]
    return {name.strip(): text.strip(" |") for name, text in lines}


def section_of(card, title):
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_it_says_how_good_the_model_is_beside_the_commonest_class(folder_of):
    _, card = folder_of()
    found = list(rows_of(section_of(card, "Test accuracy")).items())[1:]
    assert [numbers_in(text) for _, text in found] == [
        *([0.75, 0.65, 0.85, 12, 3], [0.5, 0.4, 0.6, 12, 3]),
        *([0.75, 0.65, 0.85, 60, 3], [0.5, 0.4, 0.6, 60, 3]),
    ]
    assert "fold1.seed1" in found[0][0] and "`full`" in found[2][0]
    assert all(names_in(text, ["wells"]) for _, text in found)
    assert names_in(section_of(card, "Data"), ["wells"]), "held out whole"
    assert "\n> " not in card, "nothing to warn of"
    assert "- 1: `high`" in card


def test_it_says_what_was_used_in_training_and_nothing_else(folder_of):
    folder, card = folder_of()
    rows = rows_of(card)
    for what, how in training(OPTIONS, read_json(folder / "config.json")):
        assert rows[what] == how
    assert numbers_in(rows["parameters"]) == [262082, 4290]
    assert what_trains(FULL["entry"]) in card and "`*`" in card
    assert "null" not in card and "None" not in card
    assert card.endswith(".\n")


def test_options_of_a_training_are_told_as_they_were():
    def told(**changed):
        return dict(training({**OPTIONS, **changed}, {"attention_probs_dropout_prob": 0.1}))

    plain = told()
    assert [numbers_in(plain[what]) for what in ("epochs", "batch", "attention dropout")] == [
        *([2], [12], [0.1]),
    ]
    assert kept_epoch(OPTIONS) in plain["epochs"]
    assert number(5e-5) in plain["learning rate"] and schedule(OPTIONS) in plain["learning rate"]
    assert told(attention_dropout=0.1) != plain, "whose own it is"
    assert kept_epoch({"keep_epoch": "best"}) in told(keep_epoch="best")["epochs"]
    how = {"converge": {"learning_rate": 1e-3, "max_epochs": 1000, "patience": 20}}
    assert told(**how)["epochs"] == converging(how)
    assert states(converging(how), 20, 1000)


def head_of(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_its_head_names_what_it_was_made_from(folder_of):
    _, card = folder_of()
    head = head_of(card)
    assert head["library_name"] == "transformers"
    assert head["base_model"] == "owner/name"
    assert head["license"] == "apache-2.0"
    assert "simulated-data" not in head["tags"]
    assert BASE["title"] in card


@pytest.mark.slow
@pytest.mark.parametrize("said", ["no cell is real", True])
def test_simulated_data_are_said_aloud(folder_of, said):
    folder, card = folder_of(simulated=said, base={})
    head = head_of(card)
    assert "simulated-data" in head["tags"]
    assert not {"base_model", "license"} & set(head)
    first = card.split("\n# ")[1].split("\n\n")[1]
    assert first.startswith("> ") and simulated_note(said) in first
    (path,) = re.findall(r"`([^`]*pretrained/?)`", card)
    assert (folder / path).resolve() == folder.parents[2] / "pretrained"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "permuted"),
        ("encoder", "random"),
        ("tokens", "equal_length"),
        ("split", "random"),
    ],
)
def test_a_control_says_that_it_is_one(folder_of, key, value):
    _, card = folder_of(entry={**FULL["entry"], key: value})
    assert [of for of, said in CONTROLS.items() if said in card] == [key]
    assert ("base_model" in head_of(card)) == (key != "encoder")
    assert (not names_in(section_of(card, "Data"), ["wells"])) == (key == "split")


def test_a_model_of_others_is_not_claimed_to_be_trained_here(folder_of):
    entry, theirs = {"name": "full", "finetuned": "mine"}, {"title": "theirs", "finetuned": "/a"}
    _, card = folder_of(entry=entry, patterns=None, options={}, finetuned=theirs)
    assert "theirs" in card and BASE["title"] not in card
    assert not rows_of(section_of(card, "Training"))
    assert numbers_in(rows_of(card)["parameters"]) == [262082]
    assert "base_model" not in head_of(card)
    assert "/a" not in card


def test_it_names_the_variant_that_it_reads(folder_of):
    encoding = {"length": {"subsample": 50}}
    assert states(drawn_words(encoding), 50)
    assert drawn_words(encoding) in folder_of(encoding=encoding)[1].split("```")[-1]


def test_licences_that_the_hub_does_not_list_keep_their_name():
    head = yaml.safe_load(front_matter({"licence": "see the page"}, False))
    assert (head["license"], head["license_name"]) == ("other", "see the page")
    assert yaml.safe_load(front_matter({"licence": "CC BY 4.0"}, False))["license"] == "cc-by-4.0"


def test_a_repository_is_named_where_there_is_one():
    assert hub_repository(BASE) == "owner/name"
    assert hub_repository({"folder": "/some/where"}) is None
    two = {"a": {"url": "https://huggingface.co/a/b/resolve/1/f"}, "b": BASE["files"]["config"]}
    assert hub_repository({"files": two}) is None
