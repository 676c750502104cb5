import numpy as np
import pytest
import torch
from tiny_study import random_cells, tiny_config, write_model
from transformers import BertModel

from keygenes.attention.layers import (
    attention_layers,
    attention_received,
    inner_product,
    output_norms,
    transformed_norms,
)
from keygenes.models.batches import padded
from keygenes.models.encoder import load_trunk

CELLS = random_cells(5, seed=2)
BATCHES = {"padded": CELLS, "unpadded": [cell[:5] for cell in CELLS], "alone": CELLS[:1]}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    paths = write_model(tmp_path_factory.mktemp("model"), layers=3, spread=0.6)
    return load_trunk(paths["weights"], paths["config"])


@pytest.fixture(scope="module")
def reference(trunk):
    """Return the same encoder as Hugging Face computes it when asked for its attention."""
    config = tiny_config(layers=3)
    config._attn_implementation = "eager"
    model = BertModel(config).eval()
    model.load_state_dict(trunk.state_dict())
    return model


def eager(reference, cells):
    ids, mask = padded(cells)
    return reference(
        input_ids=ids, attention_mask=mask, output_attentions=True, output_hidden_states=True
    )


def layers_of(trunk, cells):
    return list(attention_layers(trunk, *padded(cells)))


def pieces(trunk, layer):
    """Return W_V [hidden, H, d], b_V [H, d] and W_O [H, d, hidden] of a layer."""
    attention = trunk.encoder.layer[layer].attention
    heads, d = attention.self.num_attention_heads, attention.self.attention_head_size
    value, dense = attention.self.value, attention.output.dense
    return (
        value.weight.T.reshape(-1, heads, d),
        value.bias.reshape(heads, d),
        dense.weight.T.reshape(heads, d, -1),
    )


def transformed(trunk, layer, hidden):
    """Return f^h(x) = (x W_V^h + b_V^h) W_O^h of hidden states [L, hidden]: [L, H, hidden]."""
    w_v, b_v, w_o = pieces(trunk, layer)
    values = torch.einsum("li,ihd->lhd", hidden, w_v) + b_v
    return torch.einsum("lhd,hdo->lho", values, w_o)


@pytest.mark.parametrize("batch", BATCHES)
def test_weights_are_those_of_hugging_face(trunk, reference, batch):
    cells = BATCHES[batch]
    expected = eager(reference, cells).attentions
    _, mask = padded(cells)
    ours = layers_of(trunk, cells)
    assert len(ours) == len(expected) == 3
    for layer, theirs in zip(ours, expected, strict=True):
        assert theirs.std() > 0.5 * theirs.mean(), "far from uniform, or nothing is shown"
        theirs = theirs * mask[:, None, :, None]
        torch.testing.assert_close(layer.weights, theirs, atol=5e-6, rtol=0)


@pytest.mark.parametrize("batch", BATCHES)
def test_the_walk_ends_at_the_hidden_states_of_hugging_face(trunk, reference, batch):
    cells = BATCHES[batch]
    _, mask = padded(cells)
    expected = eager(reference, cells)
    last = trunk.encoder.layer[-1]
    attended = last.attention.output(
        layers_of(trunk, cells)[-1].context, expected.hidden_states[-2]
    )
    final = last.output(last.intermediate(attended), attended)
    valid = mask.bool()
    torch.testing.assert_close(final[valid], expected.last_hidden_state[valid], atol=2e-5, rtol=0)


def test_rows_of_padding_and_weights_on_padding_are_zero(trunk):
    _, mask = padded(CELLS)
    valid = mask.bool()
    assert not valid.all()
    for layer in layers_of(trunk, CELLS):
        weights = layer.weights.transpose(1, 2)  # [n_cells, query, heads, key]
        assert (weights[~valid] == 0).all()
        assert (weights.permute(0, 3, 1, 2)[~valid] == 0).all()
        torch.testing.assert_close(weights[valid].sum(-1), torch.ones(int(valid.sum()), 2))


def test_attention_received_is_one_on_average_and_nothing_on_padding(trunk):
    _, mask = padded(CELLS)
    for layer in layers_of(trunk, CELLS):
        received = attention_received(layer.weights)
        for cell, length in enumerate(mask.sum(1)):
            mean = received[cell, :, :length].mean(-1)
            torch.testing.assert_close(mean, torch.ones(2))
            assert (received[cell, :, length:] == 0).all()
        assert received.std() > 0.1


def test_received_is_a_sum_over_queries_not_keys():
    weights = torch.tensor([[[[1.0, 0.0], [0.75, 0.25]]]])
    assert attention_received(weights).tolist() == [[[1.75, 0.25]]]


def test_padding_changes_nothing(trunk):
    together = layers_of(trunk, CELLS)
    for i, cell in enumerate(CELLS):
        n = len(cell)
        for layer, alone in zip(together, layers_of(trunk, [cell]), strict=True):
            torch.testing.assert_close(layer.weights[i, :, :n, :n], alone.weights[0])
            torch.testing.assert_close(layer.values[i, :, :n], alone.values[0])
            torch.testing.assert_close(layer.context[i, :n], alone.context[0])


def test_uniform_attention_gives_each_gene_one(tmp_path):
    paths = write_model(tmp_path)
    trunk = load_trunk(paths["weights"], paths["config"])
    for layer in trunk.encoder.layer:
        layer.attention.self.query.weight.zero_()
        layer.attention.self.query.bias.zero_()
    _, mask = padded(CELLS)
    for layer in layers_of(trunk, CELLS):
        received = attention_received(layer.weights)
        expected = mask[:, None].float().expand_as(received)
        torch.testing.assert_close(received, expected)


def test_values_and_norms_per_head_against_the_formula(trunk, reference):
    hidden = eager(reference, CELLS).hidden_states
    for index, layer in enumerate(layers_of(trunk, CELLS)):
        dense = trunk.encoder.layer[index].attention.output.dense.weight
        norms = transformed_norms(layer.values, dense)
        received = attention_received(layer.weights)
        assert norms.shape == received.shape == (5, 2, max(map(len, CELLS)))
        for cell, ids in enumerate(CELLS):
            n = len(ids)
            f = transformed(trunk, index, hidden[index][cell, :n])
            torch.testing.assert_close(norms[cell, :, :n], f.norm(dim=-1).T)
            # sum_i ||a_ij f(x_j)|| vector by vector
            a = layer.weights[cell, :, :n, :n]
            vectors = torch.einsum("hij,jho->hijo", a, f)
            expected = vectors.norm(dim=-1).sum(1)
            torch.testing.assert_close(received[cell, :, :n] * norms[cell, :, :n], expected)


def test_output_norms_against_the_formula(trunk, reference):
    hidden = eager(reference, CELLS).hidden_states
    for index, layer in enumerate(layers_of(trunk, CELLS)):
        dense = trunk.encoder.layer[index].attention.output.dense.weight
        norms = output_norms(layer.context, dense)
        for cell, ids in enumerate(CELLS):
            n = len(ids)
            f = transformed(trunk, index, hidden[index][cell, :n])
            a = layer.weights[cell, :, :n, :n]
            expected = torch.einsum("hij,jho->io", a, f).norm(dim=-1)
            torch.testing.assert_close(norms[cell, :n], expected)


def unit_length_trunk(tmp_path):
    """Return a one-layer, one-head encoder with W_V = W_O = I, b = 0 and ||x|| = 1."""
    paths = write_model(tmp_path, layers=1, heads=1)
    trunk = load_trunk(paths["weights"], paths["config"])
    attention = trunk.encoder.layer[0].attention
    for linear in (attention.self.value, attention.output.dense):
        linear.weight.copy_(torch.eye(16))
        linear.bias.zero_()
    norm = trunk.embeddings.LayerNorm  # its output has length sqrt(16) with weight 1
    norm.weight.fill_(0.25)
    norm.bias.zero_()
    return trunk


def test_with_vectors_of_length_one_norms_are_the_weights(tmp_path):
    trunk = unit_length_trunk(tmp_path)
    (layer,) = layers_of(trunk, CELLS)
    dense = trunk.encoder.layer[0].attention.output.dense.weight
    norms = transformed_norms(layer.values, dense)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    received = attention_received(layer.weights)
    torch.testing.assert_close(received * norms, received)
    assert received.std() > 0.1


def test_identical_vectors_have_an_output_as_long_as_one(tmp_path):
    trunk = unit_length_trunk(tmp_path)
    trunk.embeddings.word_embeddings.weight.copy_(
        trunk.embeddings.word_embeddings.weight[5].clone()
    )
    trunk.embeddings.position_embeddings.weight.zero_()
    (layer,) = layers_of(trunk, [CELLS[0]])
    dense = trunk.encoder.layer[0].attention.output.dense.weight
    norms = output_norms(layer.context, dense)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_the_bias_of_the_output_belongs_to_no_head(trunk):
    dense = trunk.encoder.layer[0].attention.output.dense
    before = layers_of(trunk, CELLS)[0]
    expected = output_norms(before.context, dense.weight)
    old = dense.bias.clone()
    dense.bias.fill_(100.0)
    after = layers_of(trunk, CELLS)[0]
    dense.bias.copy_(old)
    torch.testing.assert_close(output_norms(after.context, dense.weight), expected)


def test_inner_products_of_whole_matrices():
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.rand(3, 2, 7, 7, generator=rng) for _ in range(2))
    product = inner_product(a, b)
    assert product.dtype == torch.float64
    for cell, head in np.ndindex(3, 2):
        expected = np.vdot(a[cell, head].double().numpy(), b[cell, head].double().numpy())
        assert product[cell, head].item() == pytest.approx(expected, rel=1e-6)
