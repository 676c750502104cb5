"""Exact attention that is reduced while it is computed, and never stored.

On a CPU softmax attention is computed in blocks of query rows, small enough to stay in the cache.
Each block gives its part of the context, as any attention function does, and of the statistics, and
is then overwritten. On a GPU fused attention and kernels do it (`keygenes.attention.fused`).
Nothing of size [L, L] exists at any time.

Each walk through a model takes the queries, keys and values of a layer, and hands it the context
that it has computed from them (`keygenes.models.families`).
"""

import math
from typing import NamedTuple

import torch

from keygenes.attention import fused
from keygenes.attention.norms import gram_factors, value_gram, value_norms
from keygenes.models.softmax import attended, scaling_of, without_padding

# exp() of a larger score would overflow float32 once a row of a few thousand is summed.
LARGEST_UNSHIFTED = 60.0
# Scores held at a time, in elements: what fits the cache of a CPU beside the operands.
BLOCK = 1 << 19


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
    rows: dict[str, torch.Tensor]
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
    rows = min(n_queries, max(16, BLOCK // (heads * length)))
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
    from keygenes.attention import pair_norms  # compiling takes a second: only if asked for

    pair_norms.add_pair_norms(sums.numpy(), weights.numpy(), factors.numpy())


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
    trunk : trunk of a model (`models.families`)
        In eval mode.
    ids, mask : int64 tensors [n_cells, L]
        Padded right; the mask is 1 on genes and 0 on padding.
    pair_norms : bool
        Whether to compute `LayerStatistics.pair_norm` too.

    Returns
    -------
    list of LayerStatistics
    """
    layers = []
    attention = attention_of(mask)
    hidden = trunk.embeddings(ids)
    for layer in trunk.layers:
        query, key, value = layer.heads(hidden)
        weight, bias = layer.joint.weight, layer.joint.bias
        with torch.autocast(ids.device.type, enabled=False):  # norms keep float32
            norms = attention.value_norms(value, weight)
            gram = value_gram(value.float(), weight) if pair_norms else None
        context, received, rows, pairs = attention.reduced(query, key, value, gram)
        del query, key, value, gram  # or they take memory while the layer goes on
        mixed = layer.mixed(context)
        del context
        layers.append(
            LayerStatistics(
                received,
                dict(zip(ROW_STATISTICS, rows, strict=True)),
                norms,
                pairs,
                (mixed - bias).norm(dim=-1) * mask,
            )
        )
        hidden = layer.after(hidden, mixed)
    return layers


def attention_of(mask):
    """Return how attention of a batch is computed and looked at: `InBlocks` or `fused.Fused`.

    Parameters
    ----------
    mask : int64 tensor [n_cells, L]
    """
    return (InBlocks if mask.device.type == "cpu" else fused.Fused)(mask)


class InBlocks:
    """Attention of a batch of cells on a CPU, one cell after the other, in blocks of rows.

    `fused.Fused` has the same methods.

    Parameters
    ----------
    mask : int64 tensor [n_cells, L]
        1 on genes, 0 on padding, which is to the right.
    """

    def __init__(self, mask):
        self.mask, self.padding = mask, without_padding(mask)
        self.lengths = mask.sum(1).tolist()

    def scored(self, query, key, value):
        """Return the context of attention [n_cells, heads, L, d], and what `compared` takes."""
        return attended(query, key, value, self.padding), (query, key)

    def reduced(self, query, key, value, gram=None):
        """Return what `reduced_attention` returns, for cells side by side; 0 at padding.

        Parameters
        ----------
        query, key, value : tensors [n_cells, heads, L, d]
        gram : tensor [n_cells, heads, heads, L], optional
            From `norms.value_gram`; asks for the pair norm.
        """
        n_cells, heads, longest, _ = query.shape
        context = torch.zeros_like(query)
        received = query.new_zeros(n_cells, heads, longest)
        rows = query.new_empty(len(ROW_STATISTICS), n_cells, heads)
        pair_norm = None if gram is None else query.new_zeros(n_cells, longest)
        for cell, n in enumerate(self.lengths):
            factors = None if gram is None else gram_factors(gram[cell, ..., :n])
            context[cell, :, :n], received[cell, :, :n], rows[:, cell], pairs = reduced_attention(
                *(x[cell, :, :n] for x in (query, key, value)), scaling_of(query), factors
            )
            if gram is not None:
                pair_norm[cell, :n] = pairs
        return context, received, rows, pair_norm

    def value_norms(self, value, output_weight):
        """Return the norms of what each head moves: [n_cells, heads, L], 0 at padding.

        Arguments are those of `norms.value_norms`.
        """
        return value_norms(value, output_weight) * self.mask[:, None]

    def compared(self, layers, pairs):
        """Return <A, B> of a layer's attention for pairs of models, and its column sums.

        Parameters
        ----------
        layers : dict {name: what `scored` returned}
        pairs : list of (name, name)
            A model may be paired with itself.

        Returns
        -------
        products : dict {pair: float64 tensor [n_cells, heads]}
            Summed over the full attention of each cell.
        received : dict {name: float32 tensor [n_cells, heads, L]}
            ``c_j = sum_i alpha_ij``; 0 at padding.
        """
        query = next(iter(layers.values()))[0]
        products = {pair: query.new_zeros(query.shape[:2], dtype=torch.float64) for pair in pairs}
        received = {name: query.new_zeros(query.shape[:3]) for name in layers}
        for cell, n in enumerate(self.lengths):
            valid = {name: [x[cell, :, :n] for x in layer] for name, layer in layers.items()}
            of_pairs, of_models = attention_products(valid, pairs, scaling_of(query))
            for pair, product in of_pairs.items():
                products[pair][cell] = product
            for name, sums in of_models.items():
                received[name][cell, :, :n] = sums
        return products, received

    def passed_on(self, scored, weights):
        """Return the attention that weighted queries pay, ``mean_h A^T w``: [n_cells, L].

        Parameters
        ----------
        scored : what `scored` returned
        weights : tensor [n_cells, L]
            Of the queries; those of weight 0 are not computed.
        """
        paid = torch.zeros_like(weights)
        for cell, n in enumerate(self.lengths):
            query, key = (x[cell, :, :n] for x in scored)
            paid[cell, :n] = passed_on(query, key, scaling_of(query), weights[cell, :n])
        return paid


def queries_and_keys(trunk, ids, attention):
    """Return, of each layer, what attention is computed from: L x d where attention is L x L.

    Parameters
    ----------
    trunk : trunk of a model (`models.families`)
    ids : int64 tensor [n_cells, L]
    attention : InBlocks or fused.Fused
        From `attention_of`; its `scored` says what is returned.
    """
    layers = []
    hidden = trunk.embeddings(ids)
    for layer in trunk.layers:
        context, scored = attention.scored(*layer.heads(hidden))
        layers.append(scored)
        hidden = layer.after(hidden, layer.mixed(context))
    return layers


def passed_on(query, key, scaling, weights):
    """Return the attention that weighted queries pay, ``mean_h A^T w``: tensor [L].

    Parameters
    ----------
    query, key : tensors [heads, L, d]
        Of one cell's valid positions.
    scaling : float
    weights : tensor [L]
        Of the queries; those of weight 0 are not computed.
    """
    used = weights.nonzero()[:, 0]
    query, weights = query[:, used], weights[used]
    paid = key.new_zeros(key.shape[0], 1, key.shape[1])
    for start, stop, _, exponentials, total in query_blocks(query, key, scaling):
        paid.baddbmm_((weights[start:stop] / total)[:, None], exponentials)
    return paid[:, 0].mean(0)


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
