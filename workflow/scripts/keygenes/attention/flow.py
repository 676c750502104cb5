"""Attention as seen from the position that the classifier reads: in the last layer, and rolled out.

Both are vectors over the genes of a cell. A layer's attention is walked through in blocks of
queries, once, and applied to the vector: nothing of size [L, L] exists.
"""

import torch

from keygenes.attention.stream import queries_and_keys, query_blocks


def weights_of_readout(ids, mask, pooling="first", leaves_out=()):
    """Return how much the classifier reads of each position: float32 [n_cells, L], rows sum to 1.

    Parameters
    ----------
    ids, mask : int64 tensors [n_cells, L]
    pooling : {'first', 'cls', 'mean'}
        Position 0, or the mean over the positions of tokens that are not in `leaves_out`.
    leaves_out : sequence of int
        Special tokens.
    """
    if pooling != "mean":
        weights = torch.zeros(ids.shape, device=ids.device)
        weights[:, 0] = 1
        return weights
    special = torch.tensor(list(leaves_out), device=ids.device, dtype=ids.dtype)
    read = (mask.bool() & ~torch.isin(ids, special)).float()
    return read / read.sum(1, keepdim=True)


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


@torch.no_grad()
def readout_and_rollout(trunk, ids, mask, pooling="first", leaves_out=()):
    """Return the attention of what the classifier reads: of the last layer, and rolled out.

    With ``r = w``, the weights that the classifier reads the positions with, the readout is
    ``L mean_h A^T r`` of the last layer; the rollout (Abnar and Zuidema 2020) takes every layer
    from the last to the first, ``r <- (mean_h A^T r + r) / 2``, half for the residual stream.

    Parameters
    ----------
    trunk : models.bert.Trunk
        In eval mode.
    ids, mask : int64 tensors [n_cells, L]
        Padded right.
    pooling, leaves_out
        As of `weights_of_readout`; a model's config has them as `classifier_pooling` and
        `pooling_leaves_out`.

    Returns
    -------
    readout : float32 tensor [n_cells, L]
        As multiples of uniform attention: its mean over a cell's positions is 1. 0 at padding.
    rollout : float32 tensor [n_cells, L]
        Shares: sums to 1 over a cell's positions. 0 at padding.
    """
    layers = queries_and_keys(trunk, ids, mask)
    scaling = (trunk.config.hidden_size // trunk.config.num_attention_heads) ** -0.5
    rollout = weights_of_readout(ids, mask, pooling, leaves_out)
    readout = torch.zeros_like(rollout)
    for cell, length in enumerate(mask.sum(1).tolist()):
        share = rollout[cell, :length]
        for depth, (query, key) in enumerate(reversed(layers)):
            paid = passed_on(query[cell, :, :length], key[cell, :, :length], scaling, share)
            if depth == 0:
                readout[cell, :length] = length * paid
            share = (paid + share) / 2
        rollout[cell, :length] = share
    return readout, rollout
