"""A head that trains until it converges reaches what a logistic probe of its states does."""

import numpy as np
import pytest
from messages import assert_sentence
from test_finetune import FROZEN, OPTIONS, OUTPUTS, tuned
from tiny_study import model_files, task_fold, write_model, write_study

from keygenes.core.errors import InputError
from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table
from keygenes.models import train as module
from keygenes.models.probe import fit_probe

CONVERGE = {"learning_rate": 1e-3, "max_epochs": 1000, "patience": 20}
THESIS = {**OPTIONS, "epochs": 5, "learning_rate": 5e-5, "batch_size": 12, "pooling": "mean"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a study whose class shows in one gene of a cell, read off the mean of its states."""
    folder = tmp_path_factory.mktemp("study")
    model = write_model(folder / "base", hidden=32, spread=0.02)  # BERT's own spread
    return {**write_study(folder, n_cells=300), **model}


def predictions(folder):
    return read_table(folder / "predictions.parquet").astype({"true": str, "predicted": str})


def accuracy(folder, split="test"):
    table = predictions(folder).query("split == @split")
    return (table["true"] == table["predicted"]).mean()


def probed(study, folder):
    folder.mkdir()
    names = {"weights": "model.safetensors", "config": "config.json"}
    names["predictions"] = "predictions.parquet"
    fit_probe(
        task_fold(study),
        model_files(study),
        None,
        {key: folder / name for key, name in names.items()},
        features="hidden_state",
        pooling="mean",
        compute=Compute(2000),
    )


def converged(study, folder, *, converge=CONVERGE, **more):
    options = {**THESIS, "keep_epoch": "last", "converge": converge}
    return tuned(study, folder, patterns=FROZEN, options=options, **more)


@pytest.fixture(scope="module")
def head(study, tmp_path_factory):
    """Return the folder of a head that has converged."""
    folder = tmp_path_factory.mktemp("head")
    converged(study, folder)
    return folder


@pytest.mark.slow
def test_it_reaches_the_probe_where_five_epochs_hardly_learn(study, head, tmp_path):
    probed(study, tmp_path / "probe")
    tuned(study, tmp_path / "five", patterns=FROZEN, options=THESIS)
    assert predictions(tmp_path / "five")["predicted"].value_counts(normalize=True).max() > 0.85
    assert accuracy(tmp_path / "five") < 0.6
    assert accuracy(tmp_path / "probe") > 0.8
    assert accuracy(head) >= accuracy(tmp_path / "probe") - 0.05


@pytest.mark.slow
def test_the_best_epoch_stays_and_training_ends_after_the_patience(head):
    history = read_table(head / "history.parquet")
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    best = history.loc[history["best"], "epoch"].item()
    assert best == history.loc[history["valid_loss"].idxmin(), "epoch"]
    assert len(history) == best + CONVERGE["patience"]
    assert history.loc[best - 1, "valid_accuracy"] == pytest.approx(accuracy(head, "valid"))
    assert sorted(path.name for path in head.iterdir()) == sorted(OUTPUTS)


@pytest.mark.slow
def test_it_repeats_and_needs_neither_checkpoint_nor_cache(study, tmp_path, monkeypatch):
    few = {**CONVERGE, "max_epochs": 3}
    one = converged(study, tmp_path / "a", converge=few)
    assert len(read_table(tmp_path / "a/history.parquet")) == 3
    monkeypatch.setattr(module, "written", lambda path: 1 / 0)
    kept = {"max_gb": 1, "dtype": "float32"}
    assert converged(study, tmp_path / "b", converge=few, cache=kept) == one


@pytest.mark.slow
def test_two_seeds_end_in_the_same_place(study, head, tmp_path):
    converged(study, tmp_path, seed=2)
    one, two = (np.stack(predictions(folder)["probabilities"]) for folder in (head, tmp_path))
    assert not np.array_equal(one, two)
    assert np.corrcoef(one[:, 0], two[:, 0])[0, 1] > 0.95


def test_a_regime_that_trains_more_is_refused(study, tmp_path):
    options = {**OPTIONS, "converge": CONVERGE}
    patterns = ["bert.encoder.layer.{last}.*", *FROZEN]
    with pytest.raises(InputError) as error:
        tuned(study, tmp_path, patterns=patterns, options=options, name="last_layer")
    assert_sentence(error, "config key 'regimes.last_layer.converge'", "more than the head")
