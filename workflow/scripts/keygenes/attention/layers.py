"""The forward pass of a BERT encoder, one layer at a time, with its attention in hand.

Two models walked side by side can be compared layer by layer without keeping any matrix: at most
one layer's attention [n_cells, heads, L, L] per model lives at a time.
"""

import math
from typing import NamedTuple

import torch


class LayerAttention(NamedTuple):
    """Attention of one layer for a batch of cells.

    Attributes
    ----------
    weights : float32 tensor [n_cells, heads, L, L]
        Row i: how position i distributes its attention; rows of valid positions sum to 1,
        padded keys get exactly 0, rows of padded positions are set to 0.
    values : float32 tensor [n_cells, heads, L, d]
        ``x W_V + b_V`` per head.
    context : float32 tensor [n_cells, L, heads * d]
        ``sum_j alpha_ij v_j``, heads concatenated: what W_O is applied to.
    """

    weights: torch.Tensor
    values: torch.Tensor
    context: torch.Tensor


def attention_layers(trunk, input_ids, attention_mask):
    """Yield `LayerAttention` layer by layer (Vaswani et al. 2017, eq. 1).

    Parameters
    ----------
    trunk : transformers.BertModel
        In eval mode, so that no weight is dropped.
    input_ids, attention_mask : int64 tensors [n_cells, L]
        The mask is 1 on genes and 0 on padding.
    """
    valid = attention_mask.bool()
    padded_keys = ~valid[:, None, None, :]
    hidden = trunk.embeddings(input_ids=input_ids)
    for layer in trunk.encoder.layer:
        attention = layer.attention.self
        heads, d = attention.num_attention_heads, attention.attention_head_size

        def per_head(x, heads=heads, d=d):
            return x.view(*x.shape[:2], heads, d).transpose(1, 2)

        query = per_head(attention.query(hidden))
        key = per_head(attention.key(hidden))
        values = per_head(attention.value(hidden))
        scores = (query @ key.transpose(-1, -2)).div_(math.sqrt(d))
        weights = scores.masked_fill_(padded_keys, -torch.inf).softmax(-1)
        context = (weights @ values).transpose(1, 2).flatten(2)
        if not valid.all():
            weights = weights * valid[:, None, :, None]
        yield LayerAttention(weights, values, context)
        attended = layer.attention.output(context, hidden)
        hidden = layer.output(layer.intermediate(attended), attended)


def attention_received(weights):
    """Return c_j = sum_i alpha_ij: the attention each position receives [n_cells, heads, L].

    Its mean over a cell's genes is 1, so it reads as multiples of uniform attention.
    """
    return weights.sum(2)


def transformed_norms(values, output_weight):
    """Return ||f(x_j)|| per head, f^h(x) = (x W_V^h + b_V^h) W_O^h (Kobayashi et al. 2020).

    Parameters
    ----------
    values : tensor [n_cells, heads, L, d]
    output_weight : tensor [hidden, heads * d]
        Weight of the attention's output layer; its bias belongs to no head and is left out.

    Returns
    -------
    tensor [n_cells, heads, L]
    """
    heads, d = values.shape[1], values.shape[3]
    per_head = output_weight.view(-1, heads, d)
    gram = torch.einsum("ohd,ohe->hde", per_head, per_head)  # ||v W||^2 = v (W W^T) v^T
    return torch.einsum("bhld,hde,bhle->bhl", values, gram, values).clamp_min(0).sqrt()


def output_norms(context, output_weight):
    """Return ||sum_h sum_j alpha_ij f^h(x_j)|| per query position [n_cells, L]."""
    return (context @ output_weight.T).norm(dim=-1)


def inner_product(weights_a, weights_b):
    """Return <A, B> over the full valid L x L attention of each cell and head [n_cells, heads].

    Rows of padding are 0 in both and add nothing. Rows are summed in float32, their sums in
    float64; the cosine is <A, B> / sqrt(<A, A> <B, B>).
    """
    return torch.linalg.vecdot(weights_a, weights_b).double().sum(-1)
