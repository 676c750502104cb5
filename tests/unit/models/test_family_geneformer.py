"""Our encoder is transformers' BERT: the same weights of a seed, names and numbers."""

import numpy as np
import pytest
import torch
import transformers
from tiny_study import random_cells, tiny_config

from keygenes.core.parts import names
from keygenes.models.batches import padded
from keygenes.models.encoder import small_config
from keygenes.models.families import geneformer
from keygenes.models.head import cell_logits
from keygenes.models.trained import train_only

IDS, MASK = padded(random_cells(4, seed=3))
OURS = {
    m.architecture: m
    for m in (geneformer.MaskedModel, geneformer.CellClassifier, geneformer.GeneClassifier)
}


def config_of(**changes):
    config = tiny_config(layers=3)
    config.num_labels = 3
    for key, value in changes.items():
        setattr(config, key, value)
    return config


def both(architecture, **changes):
    """Return our model and transformers', each newly drawn from the same seed."""
    models = []
    for build in (OURS[architecture], getattr(transformers, architecture)):
        torch.manual_seed(11)
        models.append(build(config_of(**changes)))
    return models


def ours_of(model, ids, mask):
    if isinstance(model, geneformer.CellClassifier):
        return cell_logits(model, ids, mask)
    if isinstance(model, geneformer.MaskedModel):
        return model.gene_logits(model.trunk(ids, mask))
    return model(ids, mask)


@pytest.mark.parametrize("architecture", OURS)
def test_a_seed_draws_the_same_weights_by_the_same_names(architecture):
    ours, theirs = (model.state_dict() for model in both(architecture, pad_token_id=1))
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("architecture", OURS)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("n", [4, 1], ids=["padded", "unpadded"])
def test_outputs_and_gradients_are_the_same(architecture, training, n):
    ids, mask = IDS[:n, : MASK[:n].sum(1).max()], MASK[:n, : MASK[:n].sum(1).max()]
    outputs, gradients = [], []
    for model in both(architecture, classifier_dropout=0.3):
        model.train(training)
        torch.manual_seed(2)  # dropout
        if isinstance(model, geneformer.Model):
            output = ours_of(model, ids, mask)
        else:
            output = model(input_ids=ids, attention_mask=mask).logits
        weights = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
        (output * weights).sum().backward()
        outputs.append(output.detach())
        gradients.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
    assert torch.equal(*outputs)
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", geneformer.ACTIVATIONS)
def test_every_activation_is_what_transformers_means_by_its_name(activation):
    ours, theirs = (m.eval() for m in both("BertForSequenceClassification", hidden_act=activation))
    with torch.no_grad():
        found = cell_logits(ours, IDS, MASK)
        expected = theirs(input_ids=IDS, attention_mask=MASK).logits
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert expected.std() > 0.01


def test_attention_dropout_goes_with_the_projections_that_train():
    """Queries, keys and values that are frozen see no dropout between them."""
    (model, _) = both("BertForSequenceClassification", attention_probs_dropout_prob=0.9)
    layer, hidden = model.trunk.layers[0].train(), torch.randn(2, 9, 16)
    for module in layer.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        assert not torch.equal(layer(hidden), layer(hidden))
        layer.attention.self.eval()
        assert torch.equal(layer(hidden), layer(hidden))


def test_padding_may_reach_beyond_the_last_position():
    """On a GPU lengths are rounded up, also where the model has fewer positions."""
    (model, _) = both("BertForSequenceClassification")
    beyond = [torch.nn.functional.pad(x, (0, 64 - x.shape[1])) for x in (IDS, MASK)]
    assert model.config.max_position_embeddings < 64
    with torch.no_grad():
        found = cell_logits(model.eval(), *beyond)
        np.testing.assert_allclose(found, cell_logits(model, IDS, MASK), atol=1e-5)


def test_parts_that_regimes_name_are_parts_of_the_model():
    config = small_config(vocabulary_size=40, max_length=24, layers=2, heads=2, hidden=8)
    model = geneformer.CellClassifier(config)
    parameters = {name for name, _ in model.named_parameters()}
    for part in [*names()["parts"], "layer.1", "layer.2", "layer.last"]:
        assert train_only(model, [part]), part
    known = names()["known"]
    layers = {known["layer"].replace("{i}", str(i)) for i in range(2)}
    assert {*known["embeddings"], *known["head"], *layers} <= parameters
    assert set(train_only(model, ["embeddings"])) == set(known["embeddings"])
