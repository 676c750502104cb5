"""What frozen layers make of the cells is computed once, and changes nothing."""

import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from stated import logged
from test_finetune import FROZEN, OPTIONS, OUTPUTS, tuned
from tiny_study import model_files, random_cells, tiny_config, write_model, write_study

from keygenes.core.files import read_json
from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table
from keygenes.models import finetune
from keygenes.models import trunk as module
from keygenes.models.batches import padded
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.head import cell_logits, set_pooling
from keygenes.models.trained import frozen_layers, train_only
from keygenes.models.trunk import affordable, cache_trunk, wanted_states

LAST = ["bert.encoder.layer.{last}.*", *FROZEN]
MIDDLE = ["bert.encoder.layer.1.*", *FROZEN]
KEEP = {"max_gb": 1, "dtype": "float32"}
LOOK = {"compute": Compute(200)}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return {**write_study(folder), **write_model(folder / "base", layers=3)}


def cached(study, folder, patterns, cache=KEEP, pooling=None):
    """Run `cache_trunk`; return the path of its list."""
    path = folder / "cache" / "states.json"
    cache_trunk(
        study["tokens"],
        model_files(study),
        path,
        patterns=patterns,
        pooling=pooling,
        cache=cache,
        **LOOK,
    )
    return path


def history(folder):
    return read_table(folder / "history.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("patterns", [FROZEN, LAST, MIDDLE], ids=["head", "last", "middle"])
def test_cached_training_is_uncached_training(study, tmp_path, patterns, pooling):
    options = {**OPTIONS, "pooling": pooling}  # with dropout where something trains
    tuned(study, tmp_path / "plain", patterns=patterns, options=options)
    tuned(study, tmp_path / "kept", patterns=patterns, options=options, cache=KEEP)
    plain, kept = history(tmp_path / "plain"), history(tmp_path / "kept")
    assert len(plain) == 3
    for column in ("train_loss", "valid_loss"):
        np.testing.assert_allclose(kept[column], plain[column], atol=1e-5, rtol=0)
    assert plain["train_loss"].nunique() == 3
    both = [
        np.stack(read_table(tmp_path / name / "predictions.parquet")["probabilities"])
        for name in ("plain", "kept")
    ]
    np.testing.assert_allclose(*both, atol=1e-4)
    assert not (tmp_path / "kept" / "states").exists()


@pytest.mark.slow
def test_half_precision_has_its_own_tolerance(study, tmp_path):
    half = {**KEEP, "dtype": "float16"}
    for patterns in (FROZEN, LAST):
        tuned(study, tmp_path / "plain", patterns=patterns)
        tuned(study, tmp_path / "half", patterns=patterns, cache=half)
        plain, kept = history(tmp_path / "plain"), history(tmp_path / "half")
        difference = np.abs(kept["valid_loss"] - plain["valid_loss"]).max()
        assert 0 < difference < 1e-3, "float16 keeps 3 digits"


@pytest.mark.slow
def test_training_in_full_keeps_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_states", lambda *a, **k: 1 / 0)
    assert tuned(study, tmp_path / "a", cache=KEEP)["config.json"]
    embeddings = ["*", "!bert.encoder.layer.0.*"]  # a frozen layer over trained embeddings
    assert tuned(study, tmp_path / "b", patterns=embeddings, cache=KEEP)["config.json"]


@pytest.mark.slow
def test_one_cache_serves_every_seed_to_the_same_bytes(study, tmp_path, monkeypatch):
    tokens = read_table(study["tokens"])["length"].sum()
    sizes = {"pooled_first": 60 * 16 * 4, "layer2": tokens * 16 * 4}
    for patterns, (name, size) in zip((FROZEN, LAST), sizes.items(), strict=True):
        states = cached(study, tmp_path / name, patterns)
        assert read_json(states)["bytes"] == states.with_name(f"{name}.bin").stat().st_size == size
        for seed in (1, 2):
            own = tuned(study, tmp_path / "own", patterns=patterns, seed=seed, cache=KEEP)
            with monkeypatch.context() as patch:
                patch.setattr(module, "write_states", lambda *a, **k: 1 / 0)
                shared = tuned(
                    study,
                    tmp_path / "shared",
                    patterns=patterns,
                    seed=seed,
                    cache=KEEP,
                    states=states,
                )
            assert own == shared


@pytest.mark.slow
@pytest.mark.parametrize("change", ["weights", "tokens", "dtype", "gone", "cut", "altered"])
def test_a_cache_of_another_run_is_not_used(study, tmp_path, caplog, change):
    states, cache, other = cached(study, tmp_path, FROZEN), KEEP, dict(study)
    if change == "weights":
        other.update(write_model(tmp_path / "base", seed=9, layers=3))
    elif change == "tokens":
        other["tokens"] = write_study(tmp_path / "other", seed=5)["tokens"]
    elif change == "dtype":
        cache = {**KEEP, "dtype": "float16"}
    elif change == "gone":
        states.with_name("pooled_first.bin").unlink()
    elif change == "cut":
        states.with_name("pooled_first.bin").write_bytes(b"half")
    else:
        values = bytearray(states.with_name("pooled_first.bin").read_bytes())
        values[len(values) // 2] ^= 1
        states.with_name("pooled_first.bin").write_bytes(values)
    with caplog.at_level(logging.INFO, "keygenes"):
        bytes_ = tuned(other, tmp_path / "a", patterns=FROZEN, cache=cache, states=states)
    assert logged(caplog, str(states)), "not those of this run"
    assert bytes_ == tuned(other, tmp_path / "b", patterns=FROZEN, cache=cache)


@pytest.mark.slow
def test_what_does_not_fit_is_computed_anew_and_said(study, tmp_path, caplog):
    small = {"max_gb": 5e-6, "dtype": "float32"}  # 5 kB: the pooled states, not a layer's
    assert read_json(cached(study, tmp_path / "head", FROZEN, cache=small))["bytes"] == 3840
    with caplog.at_level(logging.INFO, "keygenes"):
        states = cached(study, tmp_path, LAST, cache=small)
    assert read_json(states)["bytes"] is None
    assert logged(caplog, "layer2", "finetune.cache.max_gb", 5e-6)
    plain = tuned(study, tmp_path / "plain", patterns=LAST)
    again = tuned(study, tmp_path / "a", patterns=LAST, cache=small, states=states)
    alone = tuned(study, tmp_path / "b", patterns=LAST, cache=small)
    assert plain == again == alone


def test_the_size_is_said_before_the_file_is_made(study, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "budget_batches", lambda *a: 1 / 0)
    with caplog.at_level(logging.INFO, "keygenes"), pytest.raises(ZeroDivisionError):
        cached(study, tmp_path, LAST)
    assert logged(caplog, "layer2", "finetune.cache.max_gb")


def test_a_full_disk_is_no_error(study, tmp_path, caplog, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda path: usage)
        assert [affordable("a", size, tmp_path, 1) for size in (90, 1000)] == [True, False]

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "halving", full)
    states = cached(study, tmp_path, LAST)
    assert read_json(states)["bytes"] is None
    assert logged(caplog, "layer2.bin")
    assert [p.name for p in states.parent.iterdir()] == ["states.json"], "nothing half written"


@pytest.mark.slow
@pytest.mark.parametrize("patterns", [FROZEN, LAST])
def test_a_stopped_run_goes_on_to_the_same_bytes(study, tmp_path, monkeypatch, patterns):
    whole = tuned(study, tmp_path / "whole", patterns=patterns, cache=KEEP)
    loss, calls = finetune.loss_and_accuracy, []

    def stops(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return loss(*args)

    monkeypatch.setattr(finetune, "loss_and_accuracy", stops)
    with pytest.raises(KeyboardInterrupt):
        tuned(study, tmp_path / "a", patterns=patterns, cache=KEEP)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["resume.pt"], "no states stay behind"
    monkeypatch.undo()
    assert tuned(study, tmp_path / "a", patterns=patterns, cache=KEEP) == whole
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(OUTPUTS)


def classifier(layers=3):
    config = tiny_config(layers=layers)
    config.num_labels = 3
    specials = pd.DataFrame({"token": [0, 1], "ensembl_id": ["<pad>", "<mask>"]})
    set_pooling(config, "mean", specials)
    torch.manual_seed(0)
    return CellClassifier(config).eval()


def test_what_is_frozen_follows_from_the_parameters():
    model = classifier()
    expected = {
        ("*",): 0,
        ("*", "!bert.encoder.*"): 0,
        ("bert.embeddings.LayerNorm.bias", "classifier.*"): 0,
        ("*", "!bert.embeddings.*"): 0,
        ("bert.encoder.layer.1.*", "classifier.*"): 1,
        ("bert.encoder.layer.2.output.dense.bias",): 2,
        ("classifier.*",): 3,
    }
    for patterns, n in expected.items():
        train_only(model, patterns)
        assert frozen_layers(model) == n, patterns
    assert wanted_states(model) == ("pooled_mean", 3)
    train_only(model, ["bert.encoder.layer.1.*"])
    assert wanted_states(model) == ("layer1", 1)
    train_only(model, ["*", "!bert.embeddings.*"])
    assert wanted_states(model) is None


@pytest.mark.parametrize("longest", [12, 5], ids=["padded", "of one length"])
def test_going_on_from_a_layer_is_the_whole_forward_pass(longest):
    model = classifier()
    ids, mask = padded(random_cells(6, shortest=5, longest=longest))
    with torch.no_grad():
        expected = cell_logits(model, ids, mask)
        states = list(model.trunk.states(model.trunk.embeddings(ids), mask, 0, 3))
        assert len(states) == 4
        torch.testing.assert_close(states[3], model.trunk(ids, mask), atol=1e-6, rtol=0)
        for first, state in enumerate(states):
            logits = cell_logits(model, ids, mask, state, first)
            torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)
