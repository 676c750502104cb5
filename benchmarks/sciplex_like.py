"""What scripts of this folder train: cells as long as those of sci-Plex 2, and three regimes."""

import numpy as np

N_TOKENS = 25_426  # of Geneformer V1
LONGEST = 2048
HEAD = ["bert.pooler.*", "classifier.*"]
REGIMES = {"frozen": HEAD, "last_layer": ["bert.encoder.layer.{last}.*", *HEAD], "full": ["*"]}


def cells_like_sciplex(n, length):
    """Return `n` cells with a median of `length` tokens: list of int32 arrays."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(length), 0.35, n), 16, LONGEST).astype(int)
    return [rng.permutation(np.arange(2, N_TOKENS))[:k].astype(np.int32) for k in lengths]
