"""Statistics of attention where a GPU computes it: fused, for a whole batch, without its matrix.

PyTorch's fused attention leaves the log-sum-exp of each row behind, and with it attention is
``a_ij = exp(s_ij - lse_i)`` wherever it is computed again. All statistics are sums over queries of
that: a kernel of our own makes them where Triton is at hand (`keygenes.attention.kernels`); where
it is not, blocks of rows in plain PyTorch do the same, slower.
"""

import functools
import logging
from typing import NamedTuple

import torch

from keygenes.attention.norms import gram_factors, head_products, value_norms
from keygenes.models.softmax import scaling_of

log = logging.getLogger("keygenes")

HALVES = (torch.float16, torch.bfloat16)
BLOCK = 1 << 26  # scores held at a time where no kernel is at hand


class Scored(NamedTuple):
    """What the attention of some cells is computed from.

    Attributes
    ----------
    query, key : tensors [n_cells, heads, L, d]
        Padded right.
    lse : float32 tensor [n_cells, heads, L]
        Log of the row sums of ``exp(scaled scores)`` over the valid keys, contiguous; anything at
        padding.
    lengths : int32 tensor [n_cells]
    """

    query: torch.Tensor
    key: torch.Tensor
    lse: torch.Tensor
    lengths: torch.Tensor


@functools.cache
def kernels_for(device_type):
    """Return `keygenes.attention.kernels` where they run, else None, and say so once."""
    if device_type == "cuda":
        try:
            from keygenes.attention import kernels  # Triton comes with CUDA builds of torch alone

            return kernels
        except ImportError:
            log.warning("Triton is not installed: attention is summed in plain PyTorch, slower")
    return None


def attended_and_lse(query, key, value, mask):
    """Return the context of fused attention and the log-sum-exp of its rows.

    Parameters
    ----------
    query, key, value : tensors [n_cells, heads, L, d]
    mask : bool tensor [n_cells, L]
        Which positions are valid.

    Returns
    -------
    context : tensor [n_cells, heads, L, d]
    lse : float32 tensor [n_cells, heads, L]
        Contiguous.
    """
    scale = scaling_of(query)
    if query.dtype in HALVES and query.device.type != "cpu":
        return attended_in_halves(query, key, value, mask.sum(1).int(), scale)
    bias = bias_of(mask, query)
    if query.device.type == "cpu":
        context, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=bias, scale=scale
        )
    else:
        context, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, True, 0.0, False, scale=scale
        )
    return context, lse[..., : query.shape[2]].contiguous()


def bias_of(mask, query):
    """Return what is added to scores: 0, or -inf at padding, [n_cells, heads, L, L] in one row."""
    n_cells, heads, longest, _ = query.shape
    room = -longest % 16  # kernels read rows in pieces of 16
    bias = query.new_zeros(n_cells, 1, 1, longest + room)[..., :longest]
    bias.masked_fill_(~mask[:, None, None], float("-inf"))
    return bias.expand(n_cells, heads, longest, longest)


def attended_in_halves(query, key, value, lengths, scale):
    """Return what `attended_and_lse` does, of half precision: each cell has a number of keys.

    Rows of padding attend to them as well; nobody reads what they get.
    """
    n_cells, heads, longest, _ = query.shape
    ends = torch.arange(0, (n_cells + 1) * longest, longest, device=query.device).int()
    rows = [x.transpose(1, 2).flatten(0, 1) for x in (query, key, value)]
    context, lse, *_ = torch.ops.aten._flash_attention_forward(
        *(*rows, ends, ends, longest, longest, 0.0, False, False), scale=scale, seqused_k=lengths
    )
    lse = lse.unflatten(1, (n_cells, longest)).transpose(0, 1).contiguous()
    return context.unflatten(0, (n_cells, longest)).transpose(1, 2), lse


def blocks_of_rows(scored, scaling):
    """Yield the first row and log attention [n_cells, heads, n_rows, L] of blocks of rows.

    It is -inf at padding.
    """
    query, key, lse, lengths = scored
    n_cells, heads, longest, _ = query.shape
    valid = torch.arange(longest, device=query.device) < lengths[:, None]
    lse = lse.masked_fill(~valid[:, None], float("inf"))
    rows = max(1, BLOCK // (n_cells * heads * longest))
    for start in range(0, longest, rows):
        block = slice(start, start + rows)
        # of half precision too: products are kept whole, as kernels keep them
        scores = (query[:, :, block].float() @ key.float().transpose(2, 3)) * scaling
        scores -= lse[:, :, block, None]
        yield start, scores.masked_fill_(~valid[:, None, None], float("-inf"))


def column_sums(scored, scaling, weights=None):
    """Return attention received, each key's part of the entropies, and what it pays itself.

    Parameters
    ----------
    scored : Scored
    scaling : float
    weights : float32 tensor [n_cells, L], optional
        Of the queries, contiguous; without them each counts once.

    Returns
    -------
    received : float32 tensor [n_cells, heads, L]
        ``sum_i w_i a_ij``; 0 at padding.
    entropy : float32 tensor [n_cells, heads, L]
        ``-sum_i w_i a_ij log a_ij``, in nats; their sum over j is that of the rows' entropies.
    to_self : float32 tensor [n_cells, heads, L]
        ``a_jj``, without weights; 0 at padding.
    """
    if kernels := kernels_for(scored.query.device.type):
        return kernels.column_sums(scored, scaling, weights)
    received, entropy, to_self = (torch.zeros_like(scored.lse) for _ in range(3))
    for start, log_a in blocks_of_rows(scored, scaling):
        a = log_a.exp()
        stop = start + a.shape[2]
        to_self[..., start:stop] = a[..., start:stop].diagonal(dim1=2, dim2=3)
        if weights is not None:
            a *= weights[:, None, start:stop, None]
        received += a.sum(2)
        entropy -= torch.where(a > 0, a * log_a, 0.0).sum(2)
    return received, entropy, to_self


def products(scored, other, scaling):
    """Return ``sum_i a_ij b_ij`` of two models' attention: float32 tensor [n_cells, heads, L]."""
    if kernels := kernels_for(scored.query.device.type):
        return kernels.products(scored, other, scaling)
    found = torch.zeros_like(scored.lse)
    blocks = zip(blocks_of_rows(scored, scaling), blocks_of_rows(other, scaling), strict=True)
    for (_, log_a), (_, log_b) in blocks:
        found += (log_a + log_b).exp().sum(2)
    return found


def pair_norms(scored, factors, scaling):
    """Return ``sum_i ||sum_h a^h_ij f^h(x_j)||``: float32 tensor [n_cells, L].

    Parameters
    ----------
    scored : Scored
    factors : float32 tensor [n_cells, heads, heads, L]
        Upper triangular R with ``R^T R`` the Gram matrix of the f^h(x_j), contiguous.
    scaling : float
    """
    if kernels := kernels_for(scored.query.device.type):
        return kernels.pair_norms(scored, factors, scaling)
    norms = factors.new_zeros(factors.shape[0], factors.shape[3])
    for _, log_a in blocks_of_rows(scored, scaling):
        a, squares = log_a.exp(), 0.0
        for r in range(factors.shape[1]):
            part = torch.einsum("bhil,bhl->bil", a[:, r:], factors[:, r, r:])
            squares = squares + part * part
        norms += squares.sqrt().sum(1)
    return norms


class Fused:
    """Attention of a batch of cells on a GPU, all at once; methods as of `stream.InBlocks`.

    Parameters
    ----------
    mask : int64 tensor [n_cells, L]
        1 on genes, 0 on padding, which is to the right.
    """

    def __init__(self, mask):
        self.valid = mask.bool()
        self.lengths = mask.sum(1).int()
        last = torch.minimum(self.lengths - 1, (0.9 * self.lengths.double()).ceil().int())
        self.in_last = torch.arange(mask.shape[1], device=mask.device) >= last[:, None, None]

    def scored(self, query, key, value):
        """Return the context of attention, and what `compared` takes."""
        context, lse = attended_and_lse(query, key, value, self.valid)
        return context, Scored(query, key, lse, self.lengths)

    def reduced(self, query, key, value, gram=None):
        """Return context, column sums, means over queries and, where asked for, pair norms."""
        context, scored = self.scored(query, key, value)
        scaling = scaling_of(query)
        received, entropy, to_self = column_sums(scored, scaling)
        rows = entropy.sum(-1), to_self.sum(-1), received[..., 0], (received * self.in_last).sum(-1)
        rows = torch.stack(rows) / self.lengths[:, None]
        if gram is None:
            return context, received, rows, None
        factors = gram_factors(gram.permute(1, 2, 0, 3)).permute(2, 0, 1, 3).contiguous()
        return context, received, rows, pair_norms(scored, factors, scaling)

    def value_norms(self, value, output_weight):
        """Return the norms of what each head moves: [n_cells, heads, L], 0 at padding."""
        if kernels := kernels_for(value.device.type):
            products = head_products(output_weight, value.shape[1])
            return kernels.value_norms(value, products, self.lengths)
        return value_norms(value.float(), output_weight) * self.valid[:, None]

    def compared(self, layers, pairs):
        """Return <A, B> for pairs of models, and each model's column sums."""
        scaling = scaling_of(next(iter(layers.values())).query)
        found = {(a, b): products(layers[a], layers[b], scaling).double().sum(-1) for a, b in pairs}
        return found, {name: column_sums(scored, scaling)[0] for name, scored in layers.items()}

    def passed_on(self, scored, weights):
        """Return the attention that weighted queries pay: [n_cells, L]."""
        received, *_ = column_sums(scored, scaling_of(scored.query), weights.contiguous())
        return received.mean(1)
