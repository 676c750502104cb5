"""Norms of what attention moves: ``f(x) = (x W_V + b_V) W_O`` per head (Kobayashi et al. 2020)."""

import torch


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


def head_products(output_weight, heads):
    """Return ``W_O W_O^T`` of each head: tensor [heads, d, d]; ``||v W_O||^2 = v W_O W_O^T v``."""
    per_head = output_weight.unflatten(1, (heads, -1))
    return torch.einsum("ohd,ohe->hde", per_head, per_head)


def value_norms(values, output_weight):
    """Return ||f(x_j)|| per head: tensor [n_cells, heads, L]; arguments as of `value_gram`."""
    products = head_products(output_weight, values.shape[1])
    return ((values @ products) * values).sum(-1).clamp_min(0).sqrt()


def gram_factors(gram):
    """Return R with ``R^T R = gram``, upper triangular: tensor [heads, heads, ..., L] both.

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
