"""Softmax attention, as every encoder here computes it; and which keys of a batch take part."""

from torch.nn.functional import scaled_dot_product_attention


def attended(query, key, value, padding=None, dropout=0.0):
    """Return the context of softmax attention: tensor [n_cells, heads, L, d].

    Parameters
    ----------
    query, key, value : tensors [n_cells, heads, L, d]
    padding : bool tensor [n_cells, 1, 1, L] or None
        From `without_padding`.
    dropout : float
    """
    return scaled_dot_product_attention(
        query, key, value, attn_mask=padding, dropout_p=dropout, scale=scaling_of(query)
    )


def scaling_of(query):
    """Return the factor on scores, ``1 / sqrt(d)``."""
    return query.shape[-1] ** -0.5


def without_padding(mask):
    """Return which keys may be attended to: bool [n_cells, 1, 1, L], or None: all of them.

    Parameters
    ----------
    mask : int64 tensor [n_cells, L], or None
        1 on genes, 0 on padding; None: there is none. On a GPU nobody looks whether there is any:
        the processor would have to wait for the answer.
    """
    if mask is None or (mask.device.type == "cpu" and mask.all()):
        return None
    return mask.bool()[:, None, None, :]
