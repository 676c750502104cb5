"""Model folders made to harm: refused in a sentence at once, or read for what they describe."""

import io
import json
import os
import struct
import time
import zipfile

import pytest
import safetensors.torch
import torch
from messages import assert_sentence
from tiny_study import write_model

from keygenes.core.errors import InputError
from keygenes.models.encoder import (
    load_trunk,
    pretrained_classifier,
    read_config,
    read_weights,
    save_model,
)
from keygenes.models.train import load_checkpoint

NORM = "bert.embeddings.LayerNorm.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def config_with(model, folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(model["config"].read_text()), **keys}))
    return path


def refused(path, read, *parts):
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        read()
    assert_sentence(error, str(path), *parts)
    assert time.monotonic() - started < 10


OF_OTHERS = {  # what transformers would import, fetch or convert by
    "auto_map": {"AutoConfig": "someone/model--code.Config", "AutoModel": "code.Model"},
    "trust_remote_code": True,
    "attn_implementation": "someone/kernel",
    "_attn_implementation": "kernels-community/flash-attn",
    "experts_implementation": "someone/kernel",
    "_name_or_path": "/etc/passwd",
    "tokenizer_class": "../../tokenizer",
    "custom_pipelines": {"x": {"impl": "code.Pipeline"}},
    "architectures": ["someone--Code"],
    "dtype": "float16",
    "output_attentions": True,
    "chunk_size_feed_forward": 7,
}


@pytest.mark.slow
@pytest.mark.parametrize("key", OF_OTHERS)
def test_what_describes_no_encoder_is_left_aside(model, tmp_path, key):
    path = config_with(model, tmp_path, **{key: OF_OTHERS[key]})
    plain, found = (load_trunk(model["weights"], p) for p in (model["config"], path))
    assert found.config.to_dict() == plain.config.to_dict()
    ids = torch.tensor([[3, 9, 4, 12, 6]])
    assert torch.equal(found(ids), plain(ids))


def test_what_is_left_aside_is_not_passed_on(model, tmp_path):
    config = read_config(config_with(model, tmp_path, **OF_OTHERS))
    classifier, _ = pretrained_classifier(model["weights"], config, ["a", "b"], seed=0)
    save_model(classifier, tmp_path / "model.safetensors", tmp_path / "ours.json")
    ours = json.loads((tmp_path / "ours.json").read_text())
    assert ours.pop("architectures") == ["BertForSequenceClassification"]
    assert ours.pop("dtype", "float32") == "float32"
    assert not set(ours) & set(OF_OTHERS)


IMPOSSIBLE = {
    "an exabyte of words": {"vocab_size": 10**16},
    "a text as a size": {"vocab_size": "32"},
    "true as a size": {"num_hidden_layers": True},
    "a million layers": {"num_hidden_layers": 10**6},
    "no layers": {"num_hidden_layers": 0},
    "fewer than no dimensions": {"hidden_size": -16},
    "no heads": {"num_attention_heads": 0},
    "a billion classes": {"num_labels": 10**9},
    "classes that are no list": {"id2label": 7},
    "a dropout that is no number": {"hidden_dropout_prob": float("nan")},
    "a dropout above one": {"classifier_dropout": 1.5},
    "an epsilon that is no number": {"layer_norm_eps": float("nan")},
    "no epsilon": {"layer_norm_eps": 0},
    "an infinite spread": {"initializer_range": float("inf")},
    "padding outside the vocabulary": {"pad_token_id": 10**6},
    "a decoder": {"is_decoder": True},
    "cross attention": {"add_cross_attention": True},
    "a quantised model": {"quantization_config": {"quant_method": "someone"}},
    "pruned heads": {"pruned_heads": {"0": [0]}},
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_model_that_cannot_be_is_not_built(model, tmp_path, case):
    path = config_with(model, tmp_path, **IMPOSSIBLE[case])
    refused(path, lambda: read_config(path), "does not describe a model")


@pytest.mark.parametrize("content", ["[" * 100_000, "7", "null", '{"a": 1, "a": NaN, '])
def test_json_that_is_no_model(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    refused(path, lambda: read_config(path))


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def changed(tensors, norm=None, **more):
    return {**tensors, **({NORM: norm} if norm is not None else {}), **more}


CHECKPOINTS = {
    "a list": lambda tensors, norm: [norm],
    "a dictionary in it": lambda tensors, norm: {"state_dict": tensors},
    "names that are numbers": lambda tensors, norm: {1: norm},
    "whole numbers": lambda tensors, norm: changed(tensors, norm.to(torch.int32)),
    "true and false": lambda tensors, norm: changed(tensors, norm > 0),
    "complex numbers": lambda tensors, norm: changed(tensors, norm.to(torch.complex64)),
    "a sparse tensor": lambda tensors, norm: changed(tensors, norm.to_sparse()),
    "a tensor without values": lambda tensors, norm: changed(tensors, norm.to("meta")),
    "four bytes shown as 4 TB": lambda tensors, norm: changed(
        tensors, torch.zeros(1).expand(10**12)
    ),
    "an unknown tensor of 4 TB": lambda tensors, norm: changed(
        tensors, **{"bert.x": torch.zeros(1).expand(10**12)}
    ),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_checkpoint_that_is_no_bag_of_weights(model, tmp_path, case, zipped):
    tensors = read_weights(model["weights"])
    path = tmp_path / "pytorch_model.bin"
    content = CHECKPOINTS[case](tensors, tensors[NORM])
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path, lambda: load_trunk(path, model["config"]))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_foreign_object_in_a_checkpoint_or_a_state_to_resume_is_not_run(model, tmp_path, zipped):
    path = tmp_path / "pytorch_model.bin"
    content = {**read_weights(model["weights"]), "digest": "d", "x": Trap(tmp_path / "ran")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(path, lambda: read_weights(path), "tensors only")
    assert load_checkpoint(path, "d") is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("state", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_a_state_to_resume_of_another_make_is_none(tmp_path, state):
    torch.save(state, tmp_path / "resume.pt")
    assert load_checkpoint(tmp_path / "resume.pt", "d") is None


def packed_weights(copies):
    """Return a checkpoint whose numbers, all zero, are deflated to a thousandth."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"bert.x": torch.zeros(10)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w") as target:
        for entry in source.infolist():
            zeros = entry.filename.endswith("data/0")
            data = bytes(1 << 20) * copies if zeros else source.read(entry)
            target.writestr(entry.filename, data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def test_a_checkpoint_that_unpacks_to_more_than_it_is(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(packed_weights(64))
    assert path.stat().st_size < 100_000
    refused(path, lambda: read_weights(path), "ValueError")


def with_header(header, data=bytes(64)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, start, stop, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


TWICE = b'{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},"a":7}'
HEADERS = {
    "tensors that overlap": with_header({"a": entry([8], 0, 32), "b": entry([8], 16, 48)}),
    "a tensor behind the end": with_header({"a": entry([10**6], 0, 4 * 10**6)}),
    "a tensor before the start": with_header({"a": entry([16], -64, 0)}),
    "a shape that overflows": with_header({"a": entry([2**62, 4], 0, 64)}),
    "a shape of another size": with_header({"a": entry([3], 0, 64)}),
    "a hole": with_header({"a": entry([8], 32, 64)}),
    "an unknown type": with_header({"a": entry([16], 0, 64, "PY")}),
    "one name twice": with_header(TWICE),
    "a header of exabytes": struct.pack("<Q", 2**63) + b"{}",
    "a header of 99 MB that is not there": struct.pack("<Q", 99 * 10**6) + b"{}",
    "a header that is no JSON": with_header(b"\xff" * 40),
    "nested deeply": with_header(b'{"a":' + b"[" * 100_000),
    "an empty file": b"",
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_safetensors_header_that_lies(tmp_path, case):
    path = tmp_path / "model.safetensors"
    path.write_bytes(HEADERS[case])
    refused(path, lambda: read_weights(path), "does not load as weights")


def test_safetensors_of_another_number_type(model, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = read_weights(model["weights"])
    safetensors.torch.save_file(changed(tensors, tensors[NORM].to(torch.int64)), path)
    refused(path, lambda: load_trunk(path, model["config"]), f"another type, e.g. {NORM}")


def test_half_precision_is_read(model, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({k: v.half() for k, v in read_weights(model["weights"]).items()}, path)
    assert load_trunk(path, model["config"]).embeddings.LayerNorm.weight.dtype == torch.float32
