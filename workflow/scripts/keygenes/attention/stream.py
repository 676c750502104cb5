"""Exact attention that is reduced while it is computed, and never stored.

Softmax attention is computed in blocks of query rows, small enough to stay in the cache. Each
block gives its part of the context, as any attention function does, and of the statistics, and is
then overwritten. Nothing of size [L, L] exists at any time.

Each walk through a model takes the queries, keys and values of a layer, and hands it the context
that it has computed from them (`keygenes.models.bert.Layer`).
"""

import math
from typing import NamedTuple

import torch

from keygenes.models.bert import attended, scaling_of, without_padding

# exp() of a larger score would overflow float32 once a row of a few thousand is summed.
LARGEST_UNSHIFTED = 60.0
# Scores held at a time, in elements: on a CPU what fits its cache beside the operands.
BLOCK = {"cpu": 1 << 19, "cuda": 1 << 26}


class LayerStatistics(NamedTuple):
    """What one layer's attention in a batch of cells is reduced to.

    Padding is left out everywhere: rows and columns of padded positions count for nothing.

    Attributes
    ----------
    received : float32 tensor [n_cells, heads, L]
        ``c_j = sum_i alpha_ij``; 0 at padding. Its mean over a cell's positions is 1.
    rows : dict of float32 tensors [n_cells, heads]
        Means over the queries of a cell: ``entropy`` (nats), and the share of attention that goes
        ``to_self``, ``to_first`` (position 0) and ``to_last_decile`` (the last tenth of positions).
    value_norm : float32 tensor [n_cells, heads, L]
        ``||f(x_j)||`` per head, ``f(x) = (x W_V + b_V) W_O`` (Kobayashi et al. 2020). As column
        sums, ``sum_i ||alpha_ij f(x_j)|| = c_j ||f(x_j)||``.
    pair_norm : float32 tensor [n_cells, L], or None
        ``sum_i ||sum_h alpha^h_ij f^h(x_j)||``, heads summed before the norm.
    output_norm : float32 tensor [n_cells, L]
        ``||sum_j sum_h alpha^h_ij f^h(x_j)||`` per query; 0 at padding.
    """

    received: torch.Tensor
    rows: dict
    value_norm: torch.Tensor
    pair_norm: torch.Tensor | None
    output_norm: torch.Tensor


ROW_STATISTICS = ("entropy", "to_self", "to_first", "to_last_decile")


def query_blocks(query, key, scaling):
    """Yield blocks of unnormalised attention of one cell, each in the same memory.

    Parameters
    ----------
    query : tensor [heads, n_queries, d]
    key : tensor [heads, L, d]
    scaling : float

    Yields
    ------
    start, stop : int
        Query rows of the block.
    scores : tensor [heads, stop - start, L]
        Scaled scores, less the row's maximum where exp() could overflow.
    exponentials : tensor [heads, stop - start, L]
        Their exp(); attention is this over `total`.
    total : tensor [heads, stop - start]
        Row sums.
    """
    heads, n_queries, _ = query.shape
    length = key.shape[1]
    keys = (key * scaling).transpose(1, 2)
    # |q k| <= ||q|| ||k||: with small vectors, the usual case, no maximum need be searched for
    shift = bool(query.norm(dim=-1).amax() * keys.norm(dim=1).amax() > LARGEST_UNSHIFTED)
    block = BLOCK.get(query.device.type, BLOCK["cpu"])
    rows = min(n_queries, max(16, block // (heads * length)))
    memory = query.new_empty(2, heads * rows * length)
    for start in range(0, n_queries, rows):
        stop = min(start + rows, n_queries)
        shape = (heads, stop - start, length)
        scores, exponentials = (m[: math.prod(shape)].view(shape) for m in memory)
        torch.bmm(query[:, start:stop], keys, out=scores)
        if shift:
            scores -= scores.amax(-1, keepdim=True)
        torch.exp(scores, out=exponentials)
        yield start, stop, scores, exponentials, exponentials.sum(-1)


def value_gram(values, output_weight):
    """Return <f^h(x_j), f^g(x_j)> for all pairs of heads: tensor [n_cells, heads, heads, L].

    Parameters
    ----------
    values : tensor [n_cells, heads, L, d]
    output_weight : tensor [hidden, heads * d]
        Weight of the attention's output layer; its bias belongs to no head and is left out.
    """
    heads, d = values.shape[1], values.shape[3]
    per_head = output_weight.view(-1, heads, d)
    products = torch.einsum("ohd,oge->hgde", per_head, per_head)  # (v W)(u W)^T = v (W W^T) u^T
    return torch.einsum("bhld,hgde,bgle->bhgl", values, products, values)


def value_norms(values, output_weight):
    """Return ||f(x_j)|| per head: tensor [n_cells, heads, L]; arguments as of `value_gram`."""
    heads, d = values.shape[1], values.shape[3]
    per_head = output_weight.view(-1, heads, d)
    products = torch.einsum("ohd,ohe->hde", per_head, per_head)
    return ((values @ products) * values).sum(-1).clamp_min(0).sqrt()


def gram_factors(gram):
    """Return R with ``R^T R = gram``, upper triangular: tensor [heads, heads, L] both.

    Built without a decomposition of each position's matrix: heads are few, positions many. Where
    heads depend on each other a diagonal entry is 0, and so is its row.
    """
    heads = gram.shape[0]
    factors = gram.new_zeros(gram.shape)
    left = gram.double().clone()
    for h in range(heads):
        pivot = left[h, h].clamp_min(0)
        # what rounding leaves of a dependent head is no direction of its own
        root = torch.where(pivot > 1e-9 * gram[h, h].double(), pivot.sqrt(), 0.0)
        row = torch.where(root > 0, left[h] / root, 0.0)
        factors[h, h:] = row[h:].to(gram.dtype)
        left = left - row[:, None] * row[None, :]
    return factors


def add_pair_norms(sums, weights, factors):
    """Add sum_i ||sum_h alpha^h_ij f^h(x_j)|| over some rows to `sums`, in place.

    Parameters
    ----------
    sums : tensor [L]
    weights : tensor [heads, n_rows, L]
        Attention.
    factors : tensor [heads, heads, L]
        From `gram_factors`.
    """
    if weights.device.type == "cpu":
        from keygenes.attention import pair_norms  # compiling takes a second: only if asked for

        pair_norms.add_pair_norms(sums.numpy(), weights.numpy(), factors.numpy())
        return
    squares = torch.zeros_like(weights[0])
    for r in range(len(weights)):
        part = weights[r] * factors[r, r]
        for h in range(r + 1, len(weights)):
            part.addcmul_(weights[h], factors[r, h])
        squares.addcmul_(part, part)
    sums += squares.sqrt_().sum(0)


def reduced_attention(query, key, value, scaling, factors=None):
    """Return the context of one cell and the statistics of its attention.

    Parameters
    ----------
    query, key, value : tensors [heads, L, d]
        Of the valid positions.
    scaling : float
    factors : tensor [heads, heads, L], optional
        From `gram_factors`; asks for the pair norm.

    Returns
    -------
    context : tensor [heads, L, d]
    received : tensor [heads, L]
    rows : tensor [4, heads]
        Means over queries, in the order of `ROW_STATISTICS`.
    pair_norm : tensor [L] or None
    """
    heads, length, _ = query.shape
    context = torch.empty_like(query)
    received = query.new_zeros(heads, 1, length)
    rows = query.new_zeros(len(ROW_STATISTICS), heads)
    pair_norm = None if factors is None else query.new_zeros(length)
    last = min(length - 1, math.ceil(0.9 * length))
    for start, stop, scores, exponentials, total in query_blocks(query, key, scaling):
        inverse = 1 / total
        torch.mul(torch.bmm(exponentials, value), inverse[..., None], out=context[:, start:stop])
        received.baddbmm_(inverse[:, None], exponentials)
        # -sum p log p, with p = e / total and log e = score
        scaled = torch.linalg.vecdot(exponentials, scores) * inverse
        rows[0] += (total.log() - scaled).sum(-1)
        own = torch.diagonal(exponentials[:, :, start:stop], dim1=1, dim2=2)
        for i, share in enumerate(
            (own, exponentials[..., 0], exponentials[..., last:].sum(-1)), start=1
        ):
            rows[i] += (share * inverse).sum(-1)
        if factors is not None:
            exponentials *= inverse[..., None]
            add_pair_norms(pair_norm, exponentials, factors)
    return context, received[:, 0], rows / length, pair_norm


def attention_statistics(trunk, ids, mask, *, pair_norms=False):
    """Return the `LayerStatistics` of every layer for a batch of cells.

    Parameters
    ----------
    trunk : models.bert.Trunk
        In eval mode.
    ids, mask : int64 tensors [n_cells, L]
        Padded right; the mask is 1 on genes and 0 on padding.
    pair_norms : bool
        Whether to compute `LayerStatistics.pair_norm` too.

    Returns
    -------
    list of LayerStatistics
    """
    lengths, layers = mask.sum(1).tolist(), []
    hidden = trunk.embeddings(ids)
    for layer in trunk.layers:
        query, key, value = layer.heads(hidden)
        weight, bias = layer.joint.weight, layer.joint.bias
        gram = value_gram(value, weight) if pair_norms else None
        context, received, rows, pairs = batch_attention(query, key, value, lengths, gram)
        mixed = layer.mixed(context)
        layers.append(
            LayerStatistics(
                received,
                dict(zip(ROW_STATISTICS, rows, strict=True)),
                value_norms(value, weight) * mask[:, None],
                pairs,
                (mixed - bias).norm(dim=-1) * mask,
            )
        )
        hidden = layer.after(hidden, mixed)
    return layers


def batch_attention(query, key, value, lengths, gram=None):
    """Return what `reduced_attention` returns, for cells side by side; 0 at padding.

    Parameters
    ----------
    query, key, value : tensors [n_cells, heads, L, d]
    lengths : list of int
    gram : tensor [n_cells, heads, heads, L], optional
        From `value_gram`; asks for the pair norm.
    """
    n_cells, heads, longest, _ = query.shape
    context = torch.zeros_like(query)
    received = query.new_zeros(n_cells, heads, longest)
    rows = query.new_empty(len(ROW_STATISTICS), n_cells, heads)
    pair_norm = None if gram is None else query.new_zeros(n_cells, longest)
    for cell, n in enumerate(lengths):
        factors = None if gram is None else gram_factors(gram[cell, ..., :n])
        context[cell, :, :n], received[cell, :, :n], rows[:, cell], pairs = reduced_attention(
            *(x[cell, :, :n] for x in (query, key, value)), scaling_of(query), factors
        )
        if gram is not None:
            pair_norm[cell, :n] = pairs
    return context, received, rows, pair_norm


def queries_and_keys(trunk, ids, mask):
    """Return each layer's queries and keys: list of (query, key), tensors [n_cells, heads, L, d].

    They are all that attention is computed from, and L x d where attention is L x L. Arguments as
    of `attention_statistics`.
    """
    padding, layers = without_padding(mask), []
    hidden = trunk.embeddings(ids)
    for layer in trunk.layers:
        query, key, value = layer.heads(hidden)
        layers.append((query, key))
        hidden = layer.after(hidden, layer.mixed(attended(query, key, value, padding)))
    return layers


def attention_products(layers, pairs, scaling):
    """Return <A, B> of one layer's attention of one cell for pairs of models, and its column sums.

    Parameters
    ----------
    layers : dict {name: (query, key)}
        Tensors [heads, L, d] of the valid positions, from each model.
    pairs : list of (name, name)
        A model may be paired with itself.
    scaling : float

    Returns
    -------
    products : dict {pair: float64 tensor [heads]}
        Summed over the full L x L attention: rows in float32, their sums in float64.
    received : dict {name: float32 tensor [heads, L]}
        ``c_j = sum_i alpha_ij``.
    """
    sums = dict.fromkeys(pairs, 0.0)
    received = {n: key.new_zeros(len(key), 1, key.shape[1]) for n, (_, key) in layers.items()}
    walks = [query_blocks(query, key, scaling) for query, key in layers.values()]
    for blocks in zip(*walks, strict=True):
        for column_sums, block in zip(received.values(), blocks, strict=True):
            column_sums.baddbmm_((1 / block[4])[:, None], block[3])
        for name_a, name_b in pairs:
            a, b = (blocks[list(layers).index(name)] for name in (name_a, name_b))
            rows = torch.linalg.vecdot(a[3], b[3]) / (a[4] * b[4])
            sums[name_a, name_b] = sums[name_a, name_b] + rows.double().sum(-1)
    return sums, {name: column_sums[:, 0] for name, column_sums in received.items()}
