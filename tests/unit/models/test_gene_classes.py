import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from messages import assert_sentence
from tiny_study import N_GENES, model_files, write_model, write_study

from keygenes.core.errors import InputError
from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table, write_table
from keygenes.models import gene_classes as module
from keygenes.models.batches import padded
from keygenes.models.device import Hardware
from keygenes.models.encoder import load_trunk
from keygenes.models.gene_baselines import detection_and_rank
from keygenes.models.gene_classes import (
    IGNORED,
    Scorer,
    classify_genes,
    draw_cells,
    expressed_genes,
    gene_folds,
    summed_probabilities,
    token_classifier,
    token_values,
)

OPTIONS = {
    "train": ["*"],
    "folds": 3,
    "max_cells": None,
    "epochs": 3,
    "batch_size": 4,
    "learning_rate": 5e-3,
    "weight_decay": 0.001,
    "warmup_steps": 500,
    "warmup_fraction": 0.1,
    "max_grad_norm": 1.0,
    "attention_dropout": 0.0,
}
LISTED = np.arange(24)  # of the 30 genes, 12 per class


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a study in which genes of class 'late' stand at the end of every cell."""
    folder = tmp_path_factory.mktemp("study")
    paths = {**write_study(folder), **write_model(folder / "base", max_length=40, spread=0.1)}
    rng = np.random.default_rng(5)
    late = LISTED % 2 == 1
    cells = []
    for _ in range(60):
        genes = rng.permutation(N_GENES)[:20]
        place = rng.random(20) + np.isin(genes, LISTED[late]) - 1.0 * np.isin(genes, LISTED[~late])
        cells.append((genes[np.argsort(place)] + 2).astype(np.int32))
    names = [f"c{i}" for i in range(len(cells))]
    write_table(
        pd.DataFrame({"cell": names, "input_ids": cells, "length": 20}), paths["tokens"], "tokens"
    )
    vocabulary = read_table(paths["vocabulary"]).iloc[2:]
    genes = pd.DataFrame(
        {
            "ensembl_id": [*vocabulary["ensembl_id"].iloc[LISTED], "ENSG99999999999"],
            "symbol": [*vocabulary["symbol"].iloc[LISTED], ""],
            "class": pd.Categorical([*np.where(late, "late", "early"), "late"], ["early", "late"]),
            "token": pd.array([*(LISTED + 2), None], "Int64"),
            "n_cells": [*np.full(24, 40), 0],
        }
    )
    paths["genes"] = folder / "genes.parquet"
    write_table(genes, paths["genes"], "gene_classes")
    return {k: paths[k] for k in ("tokens", "genes", "vocabulary", "weights", "config")}


def classified(study, folder, *, encoder="pretrained", seed=1, **options):
    folder.mkdir(exist_ok=True)
    out = folder / "gene_predictions.parquet"
    classify_genes(
        study["tokens"],
        study["genes"],
        model_files(study),
        out,
        scorer=Scorer("place", encoder, seed),
        options={**OPTIONS, **options},
        compute=Compute(200),
    )
    return read_table(out)


def area(table):
    score = np.array([p[1] for p in table["probabilities"]])
    positive = (table["true"] == "late").to_numpy()
    return (score[positive][:, None] > score[~positive]).mean()


@pytest.fixture(scope="module")
def runs(study, tmp_path_factory):
    """Return {encoder: table} of one seed."""
    folder = tmp_path_factory.mktemp("runs")
    names = ("pretrained", "random_encoder", "shuffled_labels", "logistic")
    return {name: classified(study, folder / name, encoder=name) for name in names}


@pytest.mark.slow
def test_a_planted_class_is_found_and_permuted_labels_are_not(runs):
    assert area(runs["pretrained"]) > 0.9
    assert area(runs["random_encoder"]) > 0.9  # positions tell the classes: no pretraining needed
    assert area(runs["logistic"]) > 0.9
    assert area(runs["shuffled_labels"]) < 0.75


@pytest.mark.slow
def test_every_run_scores_the_same_genes_in_the_same_folds(runs):
    table = runs["pretrained"]
    assert len(table) == len(LISTED)  # the one outside the vocabulary is left out
    for other in runs.values():
        assert other["ensembl_id"].equals(table["ensembl_id"])
        assert other["n_cells"].equals(table["n_cells"])
        np.testing.assert_allclose([p.sum() for p in other["probabilities"]], 1, atol=1e-6)
    for name in ("random_encoder", "logistic"):
        assert runs[name][["fold", "true"]].equals(table[["fold", "true"]])
    shuffled = runs["shuffled_labels"]["true"]
    assert not shuffled.equals(table["true"])
    assert shuffled.value_counts().to_dict() == table["true"].value_counts().to_dict()
    folds = pd.crosstab(table["fold"], table["true"])
    assert folds.to_numpy().tolist() == [[4, 4]] * 3


def test_no_label_of_a_held_out_gene_reaches_training(study, tmp_path, monkeypatch):
    """What training sees of the labels is exactly the other folds' genes."""
    seen = []

    def spy(model, cells, labels, *settings):
        seen.append(labels)

    monkeypatch.setattr(module, "train_fold", spy)
    table = classified(study, tmp_path)
    token = table["ensembl_id"].str.removeprefix("ENSG").astype(int).to_numpy() + 2
    codes = table["true"].cat.codes.to_numpy()
    assert len(seen) == 3
    for k, labels in enumerate(seen):
        held_out = (table["fold"] == k + 1).to_numpy()
        assert (labels[token[held_out]] == IGNORED).all()
        assert (labels[token[~held_out]] == codes[~held_out]).all()
        others = np.setdiff1d(np.arange(len(labels)), token)
        assert (labels[others] == IGNORED).all()  # special and unlisted tokens


@pytest.mark.slow
def test_labels_of_held_out_genes_change_nothing_in_their_own_scores(study, tmp_path, monkeypatch):
    """Were a held-out label used anywhere, flipping it would move its gene's score."""
    genes = read_table(study["genes"])
    before = classified(study, tmp_path / "a", epochs=1)
    first = before["fold"] == 1
    flipped = genes.copy()
    swap = {"early": "late", "late": "early"}
    chosen = genes["ensembl_id"].isin(before.loc[first, "ensembl_id"])
    flipped.loc[chosen, "class"] = genes.loc[chosen, "class"].map(swap)
    write_table(flipped, tmp_path / "flipped.parquet", "gene_classes")
    fixed = before["fold"].to_numpy() - 1
    monkeypatch.setattr(module, "gene_folds", lambda *args: fixed)
    after = classified({**study, "genes": tmp_path / "flipped.parquet"}, tmp_path / "b", epochs=1)
    same = [
        np.array_equal(a, b)
        for a, b in zip(before["probabilities"], after["probabilities"], strict=True)
    ]
    assert np.array_equal(same, first)


def test_the_score_is_the_mean_over_the_cells_that_express_the_gene(study):
    names = ["early", "late"]
    model = token_classifier(
        *(study["weights"], study["config"], names), attention_dropout=None, seed=1, random=False
    ).eval()
    cells = list(read_table(study["tokens"])["input_ids"])[:7]
    rows = token_values(32, np.array([4, 9]), np.arange(2))
    hardware = Hardware(torch.device("cpu"), "float32", 45)
    sums, counts = summed_probabilities(model, cells, rows, 2, hardware)
    for row, token in enumerate((4, 9)):
        found = []
        for cell in cells:
            if token in cell:
                with torch.inference_mode():
                    logits = model(*padded([cell]))[0]
                found.append(logits.softmax(1)[list(cell).index(token)].numpy())
        assert counts[row] == len(found) > 0
        np.testing.assert_allclose(sums[row] / counts[row], np.mean(found, 0), atol=1e-5)


@pytest.mark.slow
def test_equal_runs_give_equal_bytes_and_another_seed_another_result(study, tmp_path):
    first = classified(study, tmp_path / "a", epochs=1)
    torch.rand(3)  # whatever was drawn before
    classified(study, tmp_path / "b", epochs=1)
    paths = [tmp_path / name / "gene_predictions.parquet" for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["gene_predictions.parquet"]
    other = classified(study, tmp_path / "c", epochs=1, seed=2)
    assert not np.allclose(np.stack(first["probabilities"]), np.stack(other["probabilities"]))


@pytest.mark.slow
def test_a_stopped_run_goes_on_after_its_last_fold(study, tmp_path, monkeypatch):
    whole = classified(study, tmp_path / "whole", epochs=1)
    trained, real = [], module.train_fold

    def kept(model, cells, labels, options, training, hardware):
        trained.append(training.label)
        real(model, cells, labels, options, training, hardware)

    def stops(*args):
        if len(trained) == 2:
            raise KeyboardInterrupt
        kept(*args)

    monkeypatch.setattr(module, "train_fold", stops)
    with pytest.raises(KeyboardInterrupt):
        classified(study, tmp_path / "stopped", epochs=1)
    shutil.copytree(tmp_path / "stopped", tmp_path / "changed")
    monkeypatch.setattr(module, "train_fold", kept)
    after = classified(study, tmp_path / "stopped", epochs=1)
    assert [label[-1] for label in trained] == ["1", "2", "3"]
    pd.testing.assert_frame_equal(after, whole)
    assert [p.name for p in (tmp_path / "stopped").iterdir()] == ["gene_predictions.parquet"]
    classified(study, tmp_path / "changed", epochs=1, learning_rate=1e-3)  # another run: all folds
    assert [label[-1] for label in trained] == [*"123", *"123"]


def test_patterns_decide_what_trains(study, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(
        module,
        "train_fold",
        lambda model, *a, **s: trained.append(
            sum(p.numel() for p in model.parameters() if p.requires_grad)
        ),
    )
    classified(study, tmp_path, train=["classifier.*"])
    assert trained == [2 * 16 + 2] * 3  # two classes on a width of 16
    with pytest.raises(InputError) as error:
        classified(study, tmp_path, train=["bert.pooler.*"])
    assert_sentence(error, "config key 'gene_classification.train'", "'bert.pooler.*'")


def test_the_encoder_is_loaded_whole_and_only_random_where_asked(study):
    trunk = load_trunk(study["weights"], study["config"]).state_dict()
    settings = {"attention_dropout": 0.3, "seed": 4}
    paths = (study["weights"], study["config"], ["a", "b", "c"])
    model = token_classifier(*paths, random=False, **settings)
    for name, tensor in model.trunk.state_dict().items():
        assert torch.equal(tensor, trunk[name])
    assert model.config.attention_probs_dropout_prob == 0.3
    assert model.classifier.out_features == 3
    random = token_classifier(*paths, random=True, **settings)
    again = token_classifier(*paths, random=True, **settings)
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(random.trunk.state_dict()[name], trunk[name])
    assert torch.equal(random.trunk.state_dict()[name], again.trunk.state_dict()[name])
    assert torch.equal(random.classifier.weight, model.classifier.weight)


def test_cells_without_a_listed_gene_are_left_out_and_the_draw_is_seeded():
    ids = np.array([5, 6, 7, 8, 5, 9, 9])
    offsets = np.array([0, 2, 4, 6, 7])
    assert draw_cells(ids, offsets, np.array([5, 8]), None, 1).tolist() == [0, 1, 2]
    many = np.arange(0, 1001)
    first = draw_cells(np.full(1000, 5), many, np.array([5]), 20, 1)
    assert len(first) == 20
    assert (np.diff(first) > 0).all()
    assert draw_cells(np.full(1000, 5), many, np.array([5]), 20, 1).tolist() == first.tolist()
    assert draw_cells(np.full(1000, 5), many, np.array([5]), 20, 2).tolist() != first.tolist()


def test_each_gene_is_held_out_once_and_classes_are_spread_over_the_folds():
    labels = np.repeat([0, 1], [30, 10])
    fold = gene_folds(labels, 5, 1)
    assert [np.bincount(labels[fold == k]).tolist() for k in range(5)] == [[6, 2]] * 5
    assert np.array_equal(fold, gene_folds(labels, 5, 1))
    assert not np.array_equal(fold, gene_folds(labels, 5, 2))


def test_detection_and_rank_of_genes_count_no_special_token():
    special = np.array([True, True, True, False, False, False])  # <pad>, <mask>, <cls>
    cells = [np.array([2, 4, 3]), np.array([2, 3]), np.array([2, 5, 4, 3])]
    found = detection_and_rank(cells, np.array([3, 4]), special, 6)
    np.testing.assert_allclose(found, [[1, 2], [2 / 3, 1.5]])


def test_a_class_smaller_than_the_folds_is_refused(study, tmp_path):
    with pytest.raises(InputError) as error:
        classified(study, tmp_path, folds=13)
    where = "config key 'gene_classification.folds'"
    assert_sentence(error, where, "13 folds, but 12 genes of class 'early'", "60 cells")
    genes = read_table(study["genes"])
    with pytest.raises(InputError) as error:  # not in these cells, though listed
        expressed_genes(genes, [np.array([2, 3, 4])], 2)
    assert_sentence(error, where, "1 genes of class 'late' in the 1 cells")


def test_a_model_with_another_vocabulary_is_refused(study, tmp_path):
    other = write_model(tmp_path / "other", n_tokens=50, max_length=40)
    with pytest.raises(InputError) as error:
        classified({**study, **other}, tmp_path)
    assert_sentence(error, str(other["config"]), "a model of 50 tokens", "the 32 tokens")
