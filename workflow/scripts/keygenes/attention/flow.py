"""Attention as seen from the position that the classifier reads: in the last layer, and rolled out.

Both are vectors over the genes of a cell. A layer's attention is walked through once and applied to
the vector: nothing of size [L, L] exists.
"""

import torch

from keygenes.attention.stream import attention_of, queries_and_keys


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


@torch.no_grad()
def readout_and_rollout(trunk, ids, mask, pooling="first", leaves_out=()):
    """Return the attention of what the classifier reads: of the last layer, and rolled out.

    With ``r = w``, the weights that the classifier reads the positions with, the readout is
    ``L mean_h A^T r`` of the last layer; the rollout (Abnar and Zuidema 2020) takes every layer
    from the last to the first, ``r <- (mean_h A^T r + r) / 2``, half for the residual stream.

    Parameters
    ----------
    trunk : trunk of a model (`models.families`)
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
    attention = attention_of(mask)
    layers = queries_and_keys(trunk, ids, attention)
    lengths = mask.sum(1, keepdim=True)
    share = weights_of_readout(ids, mask, pooling, leaves_out)
    for depth, scored in enumerate(reversed(layers)):
        paid = attention.passed_on(scored, share)
        if depth == 0:
            readout = lengths * paid
        share = (paid + share) / 2
    return readout, share
