"""Checkpoints of Geneformer's shapes, from its published configs, in both file formats."""

import pytest
import torch
from messages import assert_sentence
from tiny_study import tiny_config
from transformers import BertForMaskedLM, BertForSequenceClassification, BertModel

from keygenes.core.config import read_yaml
from keygenes.core.errors import InputError
from keygenes.core.regimes import trained_patterns
from keygenes.models.encoder import (
    check_fit,
    load_classifier,
    load_trunk,
    pretrained_classifier,
    read_config,
    save_model,
)
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.head import cell_logits, pooled_states
from keygenes.models.trained import count_trainable, train_only

# entry of the registry -> tokens, positions, layers kept in the test (the 104 M models differ in
# nothing but their weights, and further layers of 316 M would only take time)
MODELS = {
    "geneformer_v1_10m": (25_426, 2048, None),
    "geneformer_v2_104m": (20_275, 4096, None),
    "geneformer_v2_104m_clcancer": (20_275, 4096, 2),
    "geneformer_v2_316m": (20_275, 4096, 2),
}
CLASSES = ["0", "1.25", "2.5", "12.5", "25"]


def published_config(repository, mirror_root, name):
    """Return the config.json that the registry names for a model."""
    spec = read_yaml(repository / "config/models.yaml")["models"][name]["files"]["config"]
    path = mirror_root / spec["mirror_path"]
    if not path.is_file():
        pytest.skip(f"no {spec['mirror_path']} in the mirror")
    return read_config(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_comes_back_to_the_same_logits_from_both_formats(
    repository, mirror_root, tmp_path, name
):
    n_tokens, positions, layers = MODELS[name]
    config = published_config(repository, mirror_root, name)
    check_fit(config, vocabulary_size=n_tokens, max_length=positions, where=name)
    config.num_hidden_layers = layers or config.num_hidden_layers
    torch.manual_seed(0)
    base = BertForMaskedLM(config).eval()
    base.save_pretrained(tmp_path)
    torch.save(base.state_dict(), tmp_path / "pytorch_model.bin")

    ids = torch.randint(4, n_tokens, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.inference_mode():
        expected = base.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        logits = []
        for file in ("model.safetensors", "pytorch_model.bin"):
            trunk = load_trunk(tmp_path / file, tmp_path / "config.json")
            assert torch.equal(trunk(ids, mask), expected)
            del trunk
            model, loading = pretrained_classifier(
                tmp_path / file, read_config(tmp_path / "config.json"), CLASSES, seed=1
            )
            logits.append(cell_logits(model.eval(), ids, mask))
            assert torch.equal(
                model.trunk.layers[-1].output.dense.weight,
                base.bert.encoder.layer[-1].output.dense.weight,
            )
            assert loading["missing"] == [
                *("bert.pooler.dense.bias", "bert.pooler.dense.weight"),
                *("classifier.bias", "classifier.weight"),
            ]
            assert {k.split(".")[0] for k in loading["unexpected"]} == {"cls"}
    assert torch.equal(*logits)
    # a fine-tuned classifier comes back too, and as transformers would load it
    del base
    save_model(model, tmp_path / "model.safetensors", tmp_path / "config.json")
    back, loading = load_classifier(tmp_path / "model.safetensors", tmp_path / "config.json")
    hub = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        assert torch.equal(cell_logits(back, ids, mask), logits[0])
        assert torch.equal(hub(input_ids=ids, attention_mask=mask).logits, logits[0])
    assert loading["missing"] == loading["unexpected"] == []


@pytest.mark.parametrize("name", MODELS)
def test_published_models_refuse_the_other_version_s_tokens(repository, mirror_root, name):
    n_tokens, positions, _ = MODELS[name]
    config = published_config(repository, mirror_root, name)
    other = {25_426: 20_275, 20_275: 25_426}[n_tokens]
    with pytest.raises(InputError) as error:
        check_fit(config, vocabulary_size=other, max_length=positions, where=name)
    assert_sentence(error, name, f"{n_tokens} tokens", f"the {other} tokens")
    with pytest.raises(InputError) as error:
        check_fit(config, vocabulary_size=n_tokens, max_length=positions + 1, where=name)
    assert_sentence(error, name, f"{positions} positions")


def test_a_bare_encoder_and_an_old_checkpoint_with_a_pooler_load(tmp_path):
    torch.manual_seed(0)
    bare = BertModel(tiny_config(), add_pooling_layer=True).eval()
    bare.config.to_json_file(tmp_path / "config.json")
    torch.save(bare.state_dict(), tmp_path / "pytorch_model.bin")
    model, loading = pretrained_classifier(
        tmp_path / "pytorch_model.bin", read_config(tmp_path / "config.json"), ["a", "b"], seed=1
    )
    # a pooler in the file is used, as from_pretrained would
    assert torch.equal(model.trunk.pooler.dense.weight, bare.pooler.dense.weight)
    assert loading["missing"] == ["classifier.bias", "classifier.weight"]
    assert loading["unexpected"] == []


def test_freezing_layers_s_way_is_a_list_of_patterns():
    model = CellClassifier(tiny_config(layers=3))
    names = train_only(model, trained_patterns({"name": "a", "freeze_layers": 2}))
    assert not any(n.startswith(("bert.encoder.layer.0.", "bert.encoder.layer.1.")) for n in names)
    assert "bert.embeddings.word_embeddings.weight" in names
    assert "bert.encoder.layer.2.output.dense.weight" in names
    assert count_trainable(model) == sum(
        p.numel() for n, p in model.named_parameters() if n in set(names)
    )
    again = train_only(model, ["!bert.*", "bert.pooler.*", "classifier.*", "!classifier.bias"])
    assert again == ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight"]


def test_more_frozen_layers_than_there_are():
    model = CellClassifier(tiny_config(layers=2))
    with pytest.raises(InputError) as error:
        train_only(model, trained_patterns({"name": "a", "freeze_layers": 3}))
    assert_sentence(error, "config key 'regimes'", "'!bert.encoder.layer.2.*'", "2 layers")


def test_pooling_takes_position_0_or_the_mean_of_the_genes():
    hidden = torch.arange(2 * 5 * 3, dtype=torch.float32).reshape(2, 5, 3)
    ids = torch.tensor([[2, 9, 8, 7, 3], [2, 9, 3, 0, 0]])
    mask = (ids > 0).long()
    config = tiny_config()
    assert torch.equal(pooled_states(hidden, ids, mask, config), hidden[:, 0])
    config.classifier_pooling, config.pooling_leaves_out = "mean", [2, 3]
    expected = torch.stack([hidden[0, 1:4].mean(0), hidden[1, 1]])
    torch.testing.assert_close(pooled_states(hidden, ids, mask, config), expected)
    config.pooling_leaves_out = []
    expected = torch.stack([hidden[0].mean(0), hidden[1, :3].mean(0)])
    torch.testing.assert_close(pooled_states(hidden, ids, mask, config), expected)
