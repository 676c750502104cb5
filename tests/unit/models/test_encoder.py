import json
import pickle

import pytest
import torch
from messages import assert_sentence
from tiny_study import tiny_config, write_model
from transformers import BertForMaskedLM, BertForSequenceClassification
from v1_model import v1_config, v1_model

from keygenes.core.errors import InputError
from keygenes.models.encoder import (
    check_fit,
    load_classifier,
    load_trunk,
    new_masked_model,
    pretrained_classifier,
    read_config,
    read_weights,
    save_model,
    small_config,
)
from keygenes.models.head import cell_logits
from keygenes.models.trained import count_trainable

IDS = torch.tensor([[3, 9, 4, 12, 6], [5, 2, 7, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def test_a_small_config_is_the_shape_of_v1():
    config = small_config(vocabulary_size=25_426, max_length=2048, layers=6, heads=4, hidden=256)
    config.num_labels = 5
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (v1_model(config), v1_model())]
    assert shapes[0] == shapes[1]
    assert (config.hidden_act, config.hidden_dropout_prob) == ("relu", 0.02)


def test_the_published_config_is_the_one_counted_here(mirror_root):
    path = next(mirror_root.glob("ctheodoris/Geneformer/*/Geneformer-V1-10M/config.json"))
    config = read_config(path)
    assert config.hidden_dropout_prob == 0.02
    for key in ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"):
        assert getattr(config, key) == getattr(v1_config(), key)
    config.num_labels = 5
    assert count_trainable(v1_model(config)) == 10_264_069
    check_fit(config, vocabulary_size=25_426, max_length=2048, where="V1")


@pytest.mark.parametrize(
    ("vocabulary_size", "max_length", "parts"),
    [
        (20_275, 2048, ["a model of 25426 tokens", "the 20275 tokens of 'tokens.vocabulary'"]),
        (25_426, 4096, ["a model of 2048 positions", "'tokens.max_length' = 4096"]),
    ],
)
def test_a_model_that_cannot_read_the_tokens(vocabulary_size, max_length, parts):
    with pytest.raises(InputError) as error:
        check_fit(
            v1_config(),
            vocabulary_size=vocabulary_size,
            max_length=max_length,
            where="a/config.json",
        )
    assert_sentence(error, "a/config.json", *parts)


def test_a_model_may_have_more_positions_than_needed():
    check_fit(v1_config(), vocabulary_size=25_426, max_length=384, where="")


NO_CONFIG = [
    b"",
    b"[1, 2]",
    b"\x89PNG\xff\xfe",
    b'{"hidden_size": ',
    b'{"hidden_size": "big"}',
    b'{"hidden_size": 16, "num_attention_heads": 3}',
    b'{"hidden_act": "swoosh"}',
    None,
]


@pytest.mark.parametrize("content", NO_CONFIG)
def test_a_file_that_is_no_configuration(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_config(path)
    assert_sentence(error, str(path))


def test_a_model_of_another_family_is_named(tmp_path):
    document = json.loads(write_model(tmp_path)["config"].read_text())
    path = tmp_path / "other.json"
    for model_type in ("gpt2", ["bert"], None):
        path.write_text(json.dumps({**document, "model_type": model_type}))
        with pytest.raises(InputError) as error:
            read_config(path)
        assert_sentence(error, str(path), str(model_type))
    del document["model_type"]  # old files do not say
    path.write_text(json.dumps(document))
    assert read_config(path).hidden_size == 16


def logits_of(model):
    with torch.no_grad():
        return cell_logits(model.eval(), IDS, MASK)


def test_a_classifier_comes_back_with_the_same_logits(tmp_path):
    paths = write_model(tmp_path / "base")
    model, _ = pretrained_classifier(
        paths["weights"], read_config(paths["config"]), ["low", "mid", "high"], seed=1
    )
    save_model(model, tmp_path / "model.safetensors", tmp_path / "config.json")
    back, loading = load_classifier(tmp_path / "model.safetensors", tmp_path / "config.json")
    assert (loading["missing"], loading["unexpected"]) == ([], [])
    assert torch.equal(logits_of(back), logits_of(model))
    assert back.config.id2label == {0: "low", 1: "mid", 2: "high"}
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["architectures"] == ["BertForSequenceClassification"]
    # as anyone would load it who does not have this package
    hub = BertForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(hub(input_ids=IDS, attention_mask=MASK).logits, logits_of(model))


def test_the_encoder_is_the_pretrained_one_whatever_the_file_format(tmp_path):
    base = new_masked_model(tiny_config(), seed=3).eval()
    save_model(base, tmp_path / "model.safetensors", tmp_path / "config.json")
    old_names = {**base.state_dict(), "bert.embeddings.position_ids": torch.arange(24)[None]}
    torch.save(old_names, tmp_path / "pytorch_model.bin")
    with torch.no_grad():
        expected = base.trunk(IDS, MASK)
    classifiers = []
    for name in ("model.safetensors", "pytorch_model.bin"):
        trunk = load_trunk(tmp_path / name, tmp_path / "config.json")
        assert not trunk.training
        with torch.no_grad():
            hidden = trunk(IDS, MASK)
        assert torch.equal(hidden, expected)
        config = read_config(tmp_path / "config.json")
        classifiers.append(pretrained_classifier(tmp_path / name, config, ["a", "b"], seed=1)[0])
    assert torch.equal(logits_of(classifiers[0]), logits_of(classifiers[1]))


def test_a_classifier_s_own_encoder_is_loaded_too(tmp_path):
    paths = write_model(tmp_path)
    model, _ = pretrained_classifier(paths["weights"], read_config(paths["config"]), ["a", "b"], 1)
    save_model(model, tmp_path / "c.safetensors", tmp_path / "c.json")
    trunk = load_trunk(tmp_path / "c.safetensors", tmp_path / "c.json")
    expected = model.trunk.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in trunk.state_dict().items())


def test_tied_weights_are_stored_once_and_the_same_bytes_come_twice(tmp_path):
    for name in "ab":
        write_model(tmp_path / name, seed=5)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    stored = read_weights(tmp_path / "a" / "model.safetensors")
    assert "bert.embeddings.word_embeddings.weight" in stored
    assert "cls.predictions.decoder.weight" not in stored
    assert list(BertForMaskedLM.from_pretrained(tmp_path / "a").state_dict()) == list(
        new_masked_model(tiny_config(), 5).state_dict()
    )


def test_the_head_is_decided_by_the_seed_and_the_encoder_is_not(tmp_path):
    paths = write_model(tmp_path)

    def model(seed):
        torch.rand(seed)  # whatever was drawn before
        config = read_config(paths["config"])
        return pretrained_classifier(paths["weights"], config, ["a", "b"], seed)[0].state_dict()

    first, again, other = model(1), model(1), model(2)
    new = {k for k in first if k.startswith(("bert.pooler", "classifier"))}
    assert len(new) == 4
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert {k for k in first if not torch.equal(first[k], other[k])} == {
        *("bert.pooler.dense.weight", "classifier.weight")  # biases start at 0
    }


class Runs:
    def __reduce__(self):
        return (print, ("this code must not run",))


@pytest.mark.parametrize("kind", ["pickle with code", "torch file with code", "text", "absent"])
def test_weights_that_are_none_are_refused_and_no_code_runs(tmp_path, capsys, kind):
    path = tmp_path / "pytorch_model.bin"
    if kind == "pickle with code":
        path.write_bytes(pickle.dumps({"a": Runs()}, protocol=2))
    elif kind == "torch file with code":
        torch.save({"a": torch.zeros(1), "b": Runs()}, path)
    elif kind == "text":
        path = tmp_path / "model.safetensors"
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError) as error:
        read_weights(path)
    assert_sentence(error, str(path), "does not load as weights")
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"hidden_size": 32}, ["tensors of another shape, e.g. bert.embeddings"]),
        ({"num_hidden_layers": 3}, ["16 tensors missing, e.g. bert.encoder.layer.2"]),
        ({"num_hidden_layers": 1}, ["16 tensors unknown, e.g. bert.encoder.layer.1"]),
    ],
)
def test_weights_of_another_model_than_the_config_s(tmp_path, change, parts):
    paths = write_model(tmp_path)
    config = json.loads(paths["config"].read_text())
    paths["config"].write_text(json.dumps({**config, **change}))
    for load in (
        lambda: load_trunk(paths["weights"], paths["config"]),
        lambda: pretrained_classifier(
            paths["weights"], read_config(paths["config"]), ["a", "b"], 1
        ),
    ):
        with pytest.raises(InputError) as error:
            load()
        assert_sentence(error, str(paths["weights"]), *parts)


def test_a_masked_model_is_no_classifier(tmp_path):
    paths = write_model(tmp_path)
    with pytest.raises(InputError) as error:
        load_classifier(paths["weights"], paths["config"])
    assert_sentence(error, str(paths["weights"]), "missing", "unknown")


def test_the_mini_model_of_the_mirror_loads(mirror_root):
    folder = mirror_root / "mini"
    if not folder.is_dir():
        pytest.skip(f"no model at {folder}")
    trunk = load_trunk(folder / "model.safetensors", folder / "config.json")
    assert trunk.config.num_hidden_layers == 6
    assert sum(p.numel() for p in trunk.parameters()) > 1_000_000
