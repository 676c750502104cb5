import math

import pytest
import torch
from hub import hub_trunk, stored
from tiny_study import random_cells, write_model

from keygenes.attention import stream
from keygenes.attention.norms import gram_factors, value_gram, value_norms
from keygenes.attention.stream import (
    ROW_STATISTICS,
    add_pair_norms,
    attention_of,
    attention_products,
    attention_statistics,
    queries_and_keys,
    query_blocks,
    reduced_attention,
)
from keygenes.models.batches import padded
from keygenes.models.encoder import load_trunk
from keygenes.models.softmax import scaling_of

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
    return hub_trunk(trunk)


def statistics_of(trunk, cells, **options):
    return attention_statistics(trunk, *padded(cells), **options)


def transformed(trunk, layer, hidden):
    """Return f^h(x) = (x W_V^h + b_V^h) W_O^h of hidden states [L, hidden]: [L, H, hidden]."""
    heads, attention = trunk.config.num_attention_heads, trunk.layers[layer].attention
    d = hidden.shape[1] // heads
    value, dense = attention.self.value, attention.output.dense
    w_v, b_v = value.weight.double().T.reshape(-1, heads, d), value.bias.double().reshape(heads, d)
    w_o = dense.weight.double().T.reshape(heads, d, -1)
    return torch.einsum("lhd,hdo->lho", torch.einsum("li,ihd->lhd", hidden, w_v) + b_v, w_o)


def close(ours, theirs, atol=2e-5):
    torch.testing.assert_close(ours.double(), theirs, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("batch", BATCHES)
def test_the_model_s_output_is_what_it_was(trunk, reference, batch):
    cells = BATCHES[batch]
    ids, mask = padded(cells)
    recorded = []
    hook = trunk.layers[-1].output.LayerNorm.register_forward_hook(
        lambda m, i, output: recorded.append(output)
    )
    attention_statistics(trunk, ids, mask)
    hook.remove()
    for output in (recorded[0], trunk(ids, mask)):
        for i, cell in enumerate(cells):
            close(output[i, : len(cell)], stored(reference, cell)[1][-1])


@pytest.mark.slow
@pytest.mark.parametrize("batch", BATCHES)
def test_every_statistic_is_that_of_the_whole_matrix_of_each_cell_alone(trunk, reference, batch):
    cells = BATCHES[batch]
    layers = statistics_of(trunk, cells, pair_norms=True)
    assert len(layers) == 3
    for i, cell in enumerate(cells):
        attention, hidden = stored(reference, cell)
        n, last = len(cell), min(len(cell) - 1, math.ceil(0.9 * len(cell)))
        for index, (a, ours) in enumerate(zip(attention, layers, strict=True)):
            assert a.std() > 0.3 * a.mean(), "far from uniform, or nothing is shown"
            f = transformed(trunk, index, hidden[index])
            vectors = torch.einsum("hij,jho->hijo", a, f)
            close(ours.received[i, :, :n], a.sum(1))
            close(ours.value_norm[i, :, :n], f.norm(dim=-1).T)
            weighted = ours.received * ours.value_norm
            close(weighted[i, :, :n], vectors.norm(dim=-1).sum(1))
            close(ours.pair_norm[i, :n], vectors.sum(0).norm(dim=-1).sum(0))
            close(ours.output_norm[i, :n], vectors.sum((0, 2)).norm(dim=-1))
            rows = {
                "entropy": -(a * a.clamp_min(1e-300).log()).sum(-1).mean(-1),
                "to_self": a.diagonal(dim1=1, dim2=2).mean(-1),
                "to_first": a[..., 0].mean(-1),
                "to_last_decile": a[..., last:].sum(-1).mean(-1),
            }
            assert set(rows) == set(ROW_STATISTICS) == set(ours.rows)
            for name, expected in rows.items():
                close(ours.rows[name][i], expected)


@pytest.mark.slow
def test_nothing_falls_on_padding(trunk):
    _, mask = padded(CELLS)
    padding = ~mask.bool()
    assert padding.any()
    for layer in statistics_of(trunk, CELLS, pair_norms=True):
        for name in ("received", "value_norm"):
            assert (getattr(layer, name).transpose(1, 2)[padding] == 0).all()
        for name in ("pair_norm", "output_norm"):
            assert (getattr(layer, name)[padding] == 0).all()
        for cell, length in enumerate(mask.sum(1)):
            mean = layer.received[cell, :, :length].mean(-1)
            torch.testing.assert_close(mean, torch.ones(2))
    assert statistics_of(trunk, CELLS)[0].pair_norm is None


def random_layer(length, strength, heads=4, d=64, seed=0):
    """Return queries, keys, values [heads, L, d]; scores have a spread of `strength`."""
    rng = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(heads, length, d, generator=rng) for _ in range(3))
    return query * strength, key, value


def softmax(query, key, scaling):
    return torch.softmax(query.double() @ key.double().transpose(1, 2) * scaling, -1)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.3, 3.0, 30.0], ids="scores of {}".format)
@pytest.mark.parametrize("length", [16, 683, 2048])
def test_float32_accumulation_against_float64(length, strength):
    query, key, value = random_layer(length, strength)
    a = softmax(query, key, 1 / 8)
    output = torch.randn(256, 256, generator=torch.Generator().manual_seed(1)) / 16
    gram = value_gram(value[None], output)[0]
    context, received, rows, pair_norm = reduced_attention(
        query, key, value, 1 / 8, gram_factors(gram)
    )

    def relative(ours, theirs):
        return ((ours.double() - theirs).abs() / theirs.abs()).max().item()

    # scores of 100 carry float32's rounding into the exponent: 100 x 6e-8, whoever computes them
    loose = 20 if strength > 10 else 1
    assert relative(received, a.sum(1)) < 1e-5 * loose
    close(context, a @ value.double(), atol=1e-5 * loose)
    entropy = -(a * a.clamp_min(1e-300).log()).sum(-1).mean(-1)
    assert relative(rows[0], entropy) < 1e-4
    w_o = output.double().T.reshape(4, 64, 256)
    f = torch.einsum("hld,hdo->hlo", value.double(), w_o)
    assert relative(value_norms(value[None], output)[0], f.norm(dim=-1)) < 1e-4
    some = torch.arange(0, length, max(1, length // 16))  # [h, i, j, o] of all is too much
    vectors = torch.einsum("hij,hjo->ijo", a[:, :, some], f[:, some])
    assert relative(pair_norm[some], vectors.norm(dim=-1).sum(0)) < 1e-4 * loose

    other = random_layer(length, strength, seed=5)[:2]
    b = softmax(*other, 1 / 8)
    asked = [("a", "b"), ("a", "a"), ("b", "b")]
    found, sums = attention_products({"a": (query, key), "b": other}, asked, 1 / 8)
    assert relative(sums["a"], a.sum(1)) < 1e-5 * loose
    assert relative(sums["b"], b.sum(1)) < 1e-5 * loose
    cosine = found["a", "b"] / (found["a", "a"] * found["b", "b"]).sqrt()
    expected = (a * b).sum((1, 2)) / ((a * a).sum((1, 2)) * (b * b).sum((1, 2))).sqrt()
    assert relative(cosine, expected) < 1e-4


@pytest.mark.parametrize("block", [1, 4 * 40 * 17, 1 << 30])
def test_the_size_of_the_blocks_does_not_matter(monkeypatch, block):
    query, key, value = random_layer(40, 1.0)
    expected = reduced_attention(query, key, value, 1 / 8)
    monkeypatch.setattr(stream, "BLOCK", block)
    spans = [(start, stop) for start, stop, *_ in query_blocks(query, key, 1 / 8)]
    assert spans[0][0] == 0
    assert spans[-1][1] == 40
    assert [stop for _, stop in spans[:-1]] == [start for start, _ in spans[1:]]
    for ours, theirs in zip(reduced_attention(query, key, value, 1 / 8), expected, strict=True):
        assert ours is theirs is None or torch.allclose(ours, theirs, atol=1e-5)


def test_scores_too_large_for_exp_are_shifted():
    query, key, value = random_layer(30, 1.0)
    query, key = query * 40, key * 10
    context, received, rows, _ = reduced_attention(query, key, value, 1 / 8)
    a = softmax(query, key, 1 / 8)
    assert (query @ key.transpose(1, 2) / 8).max() > 90, "exp() of it is infinite"
    close(received, a.sum(1), atol=1e-3)
    assert torch.isfinite(context).all()
    assert torch.isfinite(rows).all()


def test_uniform_attention_gives_each_gene_one(tmp_path):
    paths = write_model(tmp_path)
    trunk = load_trunk(paths["weights"], paths["config"])
    for layer in trunk.layers:
        layer.attention.self.query.weight.zero_()
        layer.attention.self.query.bias.zero_()
    _, mask = padded(CELLS)
    lengths = mask.sum(1)
    for layer in statistics_of(trunk, CELLS):
        torch.testing.assert_close(layer.received, mask[:, None].float().expand_as(layer.received))
        torch.testing.assert_close(layer.rows["entropy"][:, 0], lengths.float().log())
        torch.testing.assert_close(layer.rows["to_self"][:, 0], 1 / lengths.float())


def unit_length_trunk(tmp_path):
    """Return a one-layer, one-head encoder with W_V = W_O = I, b = 0 and ||x|| = 1."""
    paths = write_model(tmp_path, layers=1, heads=1)
    trunk = load_trunk(paths["weights"], paths["config"])
    attention = trunk.layers[0].attention
    for linear in (attention.self.value, attention.output.dense):
        linear.weight.copy_(torch.eye(16))
        linear.bias.zero_()
    norm = trunk.embeddings.LayerNorm  # its output has length sqrt(16) with weight 1
    norm.weight.fill_(0.25)
    norm.bias.zero_()
    return trunk


def test_with_vectors_of_length_one_norms_are_the_weights(tmp_path):
    _, mask = padded(CELLS)
    (layer,) = statistics_of(unit_length_trunk(tmp_path), CELLS, pair_norms=True)
    torch.testing.assert_close(layer.value_norm, mask[:, None].float())
    torch.testing.assert_close(layer.pair_norm, layer.received[:, 0])
    assert layer.received.std() > 0.1


def test_identical_vectors_have_an_output_as_long_as_one(tmp_path):
    trunk = unit_length_trunk(tmp_path)
    trunk.embeddings.word_embeddings.weight.copy_(
        trunk.embeddings.word_embeddings.weight[5].clone()
    )
    trunk.embeddings.position_embeddings.weight.zero_()
    (layer,) = statistics_of(trunk, CELLS[:1])
    torch.testing.assert_close(layer.output_norm, torch.ones_like(layer.output_norm))


def test_the_bias_of_the_output_belongs_to_no_head(trunk):
    dense = trunk.layers[0].attention.output.dense
    expected = statistics_of(trunk, CELLS)[0].output_norm
    old = dense.bias.clone()
    dense.bias.fill_(100.0)
    after = statistics_of(trunk, CELLS)[0].output_norm
    dense.bias.copy_(old)
    torch.testing.assert_close(after, expected, atol=1e-3, rtol=1e-3)


def test_factors_of_a_gram_matrix_and_of_one_whose_heads_depend_on_each_other():
    rng = torch.Generator().manual_seed(0)
    vectors = torch.randn(4, 6, 9, generator=rng)  # heads, genes, dimensions
    vectors[2] = 2 * vectors[0]
    vectors[:, 3] = 0
    gram = torch.einsum("hjd,gjd->hgj", vectors, vectors)
    factors = gram_factors(gram)
    torch.testing.assert_close(
        torch.einsum("rhj,rgj->hgj", factors, factors), gram, atol=1e-4, rtol=1e-4
    )
    weights = torch.rand(4, 5, 6, generator=rng)
    expected = torch.einsum("hij,hjd->ijd", weights, vectors).norm(dim=-1).sum(0)
    sums = torch.ones(6)
    add_pair_norms(sums, weights, factors)
    torch.testing.assert_close(sums, 1 + expected, atol=1e-3, rtol=1e-3)


def test_queries_and_keys_are_all_that_a_comparison_needs(trunk, reference):
    ids, mask = padded(CELLS)
    layers = queries_and_keys(trunk, ids, attention_of(mask))
    scaling = scaling_of(layers[0][0])
    for i, cell in enumerate(CELLS):
        attention, _ = stored(reference, cell)
        for a, (query, key) in zip(attention, layers, strict=True):
            n = len(cell)
            found, _ = attention_products(
                {"a": (query[i, :, :n], key[i, :, :n])}, [("a", "a")], scaling
            )
            close(found["a", "a"], (a * a).sum((1, 2)))


def test_matrices_without_overlap_have_product_zero():
    """Model 'a' looks only at the gene itself, 'b' only at its neighbour."""
    far = 100 * torch.eye(6)[None]
    models = {"a": (far, far), "b": (far, far.roll(1, 1))}
    found, _ = attention_products(models, [("a", "b"), ("a", "a"), ("b", "b")], 1.0)
    assert found["a", "b"].item() == 0
    assert found["a", "a"].item() == found["b", "b"].item() == 6
