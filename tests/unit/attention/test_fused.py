"""The way of a GPU: plain PyTorch, and the kernels, in Triton's interpreter or on a GPU."""

import copy
import math
import os

import numpy as np
import pytest
import torch
from tiny_study import random_cells, write_model

from keygenes.attention import agreement, flow, fused, stream, sums
from keygenes.attention.fused import (
    Scored,
    attended_and_lse,
    column_sums,
    pair_norms,
    products,
)
from keygenes.attention.norms import gram_factors, value_norms
from keygenes.models.batches import padded
from keygenes.models.encoder import load_trunk

# cells, heads, longest, d; the last of each batch is the shortest
SHAPES = {
    "short": (3, 2, 16, 16),
    "odd": (2, 3, 70, 24),
    "long": (2, 2, 683, 64),
    "longest": (2, 1, 2048, 64),
}
LONGEST = pytest.param("longest", marks=pytest.mark.slow)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # make test-kernels sets it
ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = torch.device("cuda" if ON_GPU else "cpu")


@pytest.fixture(params=["plain", "kernels"], autouse=True)
def way(request, monkeypatch):
    """Let a test run in plain PyTorch, and with the kernels where Triton interprets them."""
    kernels = None
    if request.param == "kernels":
        if not (INTERPRETED or ON_GPU):
            pytest.skip("the kernels run on a GPU, or interpreted (make test-kernels)")
        from keygenes.attention import kernels
    monkeypatch.setattr(fused, "kernels_for", lambda device: kernels)
    monkeypatch.setattr(fused, "BLOCK", 3000)  # several blocks of rows


def layer(name, seed=0, dtype=torch.float32):
    """Return queries, keys, values, lengths and mask of a padded batch."""
    n_cells, heads, longest, dims = SHAPES[name]
    rng = torch.Generator().manual_seed(seed)
    tensors = torch.randn(3, n_cells, longest, heads, dims, generator=rng).to(dtype)
    query, key, value = tensors.to(DEVICE).transpose(2, 3)
    lengths = torch.linspace(longest, longest // 3, n_cells).int().to(DEVICE)
    mask = torch.arange(longest, device=DEVICE) < lengths[:, None]
    return 2 * query, key, value, lengths, mask


def scored_of(query, key, value, lengths, mask):
    """Return `Scored` with what fused attention leaves behind."""
    return Scored(query, key, attended_and_lse(query, key, value, mask)[1], lengths)


def matrices(query, key, lengths):
    """Return the float64 attention [heads, n, n] of every cell alone."""
    scale = query.shape[-1] ** -0.5
    return [
        torch.softmax(q[:, :n].double() @ k[:, :n].double().transpose(1, 2) * scale, -1)
        for q, k, n in zip(query, key, lengths, strict=True)
    ]


def same(found, expected, tolerance=1e-5):
    """Hold found [..., L] against expected [..., n] relatively; and to 0 at padding."""
    n = expected.shape[-1]
    assert (found[..., n:] == 0).all()
    error = (found[..., :n].double() - expected).abs() / expected.abs().clamp_min(1e-3)
    assert error.max() < tolerance, error.max()


@pytest.mark.parametrize("name", ["short", "odd", "long", LONGEST])
def test_context_and_row_sums_are_those_of_each_cell_alone(name):
    query, key, value, lengths, mask = layer(name)
    context, lse = attended_and_lse(query, key, value, mask)
    for cell, a in enumerate(matrices(query, key, lengths)):
        n = lengths[cell]
        same(context[cell, :, :n].transpose(1, 2), (a @ value[cell, :, :n].double()).mT, 1e-3)
        scores = query[cell, :, :n].double() @ key[cell, :, :n].double().mT
        same(lse[cell, :, :n], (scores * query.shape[-1] ** -0.5).logsumexp(-1))
    whole, _ = attended_and_lse(query, key, value, torch.ones_like(mask))
    assert not torch.allclose(whole[-1], context[-1])


@pytest.mark.parametrize("name", ["short", "odd", "long", LONGEST])
def test_column_sums_and_what_follows_from_them(name):
    query, key, value, lengths, mask = layer(name)
    scored, scale = scored_of(query, key, value, lengths, mask), query.shape[-1] ** -0.5
    received, _, to_self = column_sums(scored, scale)
    _, again, rows, _ = fused.Fused(mask.long()).reduced(query, key, value)
    assert torch.equal(received, again)
    weights = torch.rand(mask.shape, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    paid, *_ = column_sums(scored, scale, weights)
    for cell, a in enumerate(matrices(query, key, lengths)):
        n, last = int(lengths[cell]), min(int(lengths[cell]) - 1, math.ceil(0.9 * lengths[cell]))
        same(received[cell], a.sum(1))
        same(to_self[cell], a.diagonal(dim1=1, dim2=2), 1e-4)
        same(paid[cell], (weights[cell, :n, None].double() * a).sum(1))
        expected = torch.special.entr(a).sum(-1).mean(-1), a.diagonal(dim1=1, dim2=2).mean(-1)
        expected += a[..., 0].mean(-1), a[..., last:].sum(-1).mean(-1)
        same(rows[:, cell].T, torch.stack(expected).T, 1e-4)


@pytest.mark.parametrize("name", ["short", "odd", "long"])
def test_norms_of_what_a_head_moves(name):
    _, _, value, lengths, mask = layer(name)
    heads, _, dims = value.shape[1:]
    weight = torch.randn(40, heads * dims, generator=torch.Generator().manual_seed(5)).to(DEVICE)
    found = fused.Fused(mask.long()).value_norms(value, weight)
    expected = value_norms(value.double(), weight.double())
    for cell, n in enumerate(lengths):
        same(found[cell], expected[cell, :, :n])


@pytest.mark.parametrize("name", ["short", "odd"])
def test_products_of_two_models(name):
    (query, key, value, lengths, mask), other = layer(name), layer(name, seed=1)
    scale = query.shape[-1] ** -0.5
    found = products(scored_of(query, key, value, lengths, mask), scored_of(*other), scale)
    pairs = zip(matrices(query, key, lengths), matrices(*other[:2], lengths), strict=True)
    for cell, (a, b) in enumerate(pairs):
        same(found[cell], (a * b).sum(1))


@pytest.mark.parametrize("name", ["short", "odd"])
def test_the_norm_of_all_heads_together(name):
    query, key, value, lengths, mask = layer(name)
    scored, scale = scored_of(query, key, value, lengths, mask), query.shape[-1] ** -0.5
    gram = torch.einsum("bhld,bgld->hgbl", value, value)
    factors = gram_factors(gram).permute(2, 0, 1, 3).contiguous()
    found = pair_norms(scored, factors, scale)
    for cell, a in enumerate(matrices(query, key, lengths)):
        vectors = torch.einsum("hij,hjd->ijd", a, value[cell, :, : lengths[cell]].double())
        same(found[cell], vectors.norm(dim=-1).sum(0), 1e-4)


@pytest.mark.skipif(not ON_GPU, reason="PyTorch attends to some keys of each cell on a GPU alone")
@pytest.mark.parametrize("name", ["short", "odd", "long", LONGEST])
def test_half_precision_leaves_padding_out(name):
    query, key, value, lengths, mask = layer(name, dtype=torch.bfloat16)
    context, lse = attended_and_lse(query, key, value, mask)
    received, *_ = column_sums(Scored(query, key, lse, lengths), query.shape[-1] ** -0.5)
    for cell, a in enumerate(matrices(query, key, lengths)):
        n = lengths[cell]
        expected = a @ value[cell, :, :n].double()
        assert (context[cell, :, :n] - expected).norm() < 1e-2 * expected.norm()
        same(received[cell], a.sum(1), 1e-4)  # of queries and keys that are in half precision


def test_sums_by_code_are_those_of_a_cpu():
    """Of some rows at a time, more than a program of the kernel takes, and of one."""
    rng = torch.Generator().manual_seed(6)
    codes = torch.randint(0, 40, (300,), generator=rng)
    values = torch.rand(2, 20, 300, generator=rng, dtype=torch.float64)
    expected = torch.zeros(2, 2, 20, 50, dtype=torch.float64)
    total, squares, of_one = (
        torch.zeros(2, *shape, 50, dtype=torch.float64, device=DEVICE)
        for shape in ((2, 20), (2, 20), ())
    )
    for batch in (slice(0, 170), slice(170, 300)):
        groups = sums.Groups(codes[batch].to(DEVICE))
        groups.add(total, values[..., batch].to(DEVICE), squares)
        groups.add(of_one, values[1, 5, batch].to(DEVICE))
        for i in range(300)[batch]:
            expected[0, ..., codes[i]] += values[..., i]
            expected[1, ..., codes[i]] += values[..., i] ** 2
    exact = (expected[0], expected[1], expected[0, 1, 5])
    for found, values in zip((total, squares, of_one), exact, strict=True):
        torch.testing.assert_close(found.sum(0).cpu(), values, rtol=1e-14, atol=0)
    assert total[1].abs().max() > 0  # what rounding loses is kept


CELLS = random_cells(5, seed=2)


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    folders = (tmp_path_factory.mktemp(name) for name in "ab")
    models = [write_model(f, i, layers=3, spread=0.6) for i, f in enumerate(folders)]
    return {
        name: load_trunk(m["weights"], m["config"]) for name, m in zip("ab", models, strict=True)
    }


def both_ways(monkeypatch, trunks, run):
    """Return what ``run(trunks, device)`` returns on a CPU, and as on a GPU."""
    with torch.inference_mode():
        first = run(trunks, torch.device("cpu"))
        for module in (stream, agreement, flow):
            monkeypatch.setattr(module, "attention_of", fused.Fused)
        return first, run({n: copy.deepcopy(t).to(DEVICE) for n, t in trunks.items()}, DEVICE)


def on_cpu(tensors):
    """Return a record or sequence of tensors on the CPU, records within as well."""
    if isinstance(tensors, torch.Tensor):
        return tensors.cpu()
    if isinstance(tensors, dict):
        return {name: on_cpu(tensor) for name, tensor in tensors.items()}
    return tensors if tensors is None else [on_cpu(tensor) for tensor in tensors]


@pytest.mark.parametrize("cells", [CELLS, CELLS[:1]], ids=["padded", "unpadded"])
def test_an_encoder_s_statistics_are_those_of_the_cpu(monkeypatch, trunks, cells):
    def run(trunks, device):
        ids, mask = (x.to(device) for x in padded(cells))
        return stream.attention_statistics(trunks["a"], ids, mask, pair_norms=True)

    ours, theirs = both_ways(monkeypatch, trunks, run)
    torch.testing.assert_close(on_cpu(theirs), on_cpu(ours), atol=2e-5, rtol=1e-4)
    assert ours[0].received.std() > 0.1


def test_models_agree_as_they_do_on_the_cpu(monkeypatch, trunks):
    ours, theirs = both_ways(
        monkeypatch,
        trunks,
        lambda trunks, _: list(agreement.compared_cells(trunks, [("a", "b")], CELLS, 60)),
    )
    for (a, cosines, received), (b, *others) in zip(ours, theirs, strict=True):
        assert a == b
        np.testing.assert_allclose(others[0]["a", "b"], cosines["a", "b"], rtol=1e-5)
        for name in "ab":
            np.testing.assert_allclose(others[1][name], received[name], rtol=1e-4)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_readout_and_rollout_are_those_of_the_cpu(monkeypatch, trunks, pooling):
    def run(trunks, device):
        ids, mask = (x.to(device) for x in padded(CELLS))
        return flow.readout_and_rollout(trunks["a"], ids, mask, pooling, (2,))

    ours, theirs = both_ways(monkeypatch, trunks, run)
    torch.testing.assert_close(on_cpu(theirs), on_cpu(ours), atol=1e-5, rtol=1e-4)
