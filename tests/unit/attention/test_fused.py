"""The way of a GPU: plain PyTorch, and the kernels, in Triton's interpreter or on a GPU."""

import copy
import math
import os

import numpy as np
import pytest
import torch
from tiny_study import random_cells, write_model

from keygenes.attention import agreement, flow, fused, stream
from keygenes.attention.fused import (
    Scored,
    attended_and_lse,
    column_sums,
    pair_norms,
    products,
    row_statistics,
)
from keygenes.attention.norms import gram_factors
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
    received, entropy = column_sums(scored, scale)
    rows = row_statistics(scored, received, entropy, scale)
    weights = torch.rand(mask.shape, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    paid, _ = column_sums(scored, scale, weights)
    for cell, a in enumerate(matrices(query, key, lengths)):
        n, last = int(lengths[cell]), min(int(lengths[cell]) - 1, math.ceil(0.9 * lengths[cell]))
        same(received[cell], a.sum(1))
        same(paid[cell], (weights[cell, :n, None].double() * a).sum(1))
        expected = torch.special.entr(a).sum(-1).mean(-1), a.diagonal(dim1=1, dim2=2).mean(-1)
        expected += a[..., 0].mean(-1), a[..., last:].sum(-1).mean(-1)
        same(rows[:, cell].T, torch.stack(expected).T, 1e-4)


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


def test_half_precision_is_packed_and_comes_back_in_place(monkeypatch):
    """PyTorch packs on a GPU alone: here a loop over the cells stands in for its kernel."""

    def packed(query, key, value, ends, _, longest, __, *, scale, return_aux):
        parts = []
        for start, stop in zip(ends[:-1], ends[1:], strict=True):
            rows = [x[start:stop].transpose(0, 1)[None] for x in (query, key, value)]
            whole = torch.ones(1, stop - start, dtype=torch.bool, device=DEVICE)
            out, lse = attended_and_lse(*rows, whole)
            parts.append((out[0].transpose(0, 1), lse[0]))
        assert return_aux.lse and longest == max(ends.diff())
        return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts], 1)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", packed)
    query, key, value, lengths, mask = layer("odd")
    context, lse = fused.packed_attention(query, key, value, mask, query.shape[-1] ** -0.5)
    expected, total = attended_and_lse(query, key, value, mask)
    valid = mask[:, None, :, None]
    torch.testing.assert_close(context, torch.where(valid, expected, 0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(lse, torch.where(mask[:, None], total, 0.0), atol=1e-5, rtol=0)


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
    for (a, cosines, received), (b, others, sums) in zip(ours, theirs, strict=True):
        assert a == b
        np.testing.assert_allclose(others["a", "b"], cosines["a", "b"], rtol=1e-5)
        for name in "ab":
            np.testing.assert_allclose(sums[name], received[name], rtol=1e-4)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_readout_and_rollout_are_those_of_the_cpu(monkeypatch, trunks, pooling):
    def run(trunks, device):
        ids, mask = (x.to(device) for x in padded(CELLS))
        return flow.readout_and_rollout(trunks["a"], ids, mask, pooling, (2,))

    ours, theirs = both_ways(monkeypatch, trunks, run)
    torch.testing.assert_close(on_cpu(theirs), on_cpu(ours), atol=1e-5, rtol=1e-4)
