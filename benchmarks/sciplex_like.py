"""What scripts of this folder train, and how: cells as long as those of sci-Plex 2, and regimes."""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

from keygenes.models.encoder import small_config  # noqa: E402
from keygenes.models.families.geneformer import CellClassifier  # noqa: E402
from keygenes.models.train import (
    Course,  # noqa: E402
    Training,  # noqa: E402
    train,  # noqa: E402
)

N_TOKENS = 25_426  # of Geneformer V1
LONGEST = 2048
HEAD = ["bert.pooler.*", "classifier.*"]
REGIMES = {"frozen": HEAD, "last_layer": ["bert.encoder.layer.{last}.*", *HEAD], "full": ["*"]}
V1 = {"layers": 6, "heads": 4, "hidden": 256, "max_length": LONGEST}
BATCH = 12  # cells per step


def classifier(device="cpu", **shape):
    """Return a classifier of five classes with random weights, of V1's shape where none is said."""
    config = small_config(vocabulary_size=N_TOKENS, **{**V1, **shape})
    config.num_labels, config.classifier_pooling, config.pooling_leaves_out = 5, "first", []
    torch.manual_seed(0)
    return CellClassifier(config).to(device)


def fit(model, cells, loss, validate, hardware, *, epochs, **options):
    """Train a model on cells with the settings of a study, through the loop that rules run."""
    train(
        model,
        np.array([len(cell) for cell in cells]),
        loss,
        validate,
        Course(epochs, BATCH, 5e-5, 0.001, 1.0, lambda n: 0, keep="last"),
        Training("training", 1, **{"run": [], **options}),
        hardware,
    )


def cells_like_sciplex(n, length):
    """Return `n` cells with a median of `length` tokens: list of int32 arrays."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(length), 0.35, n), 16, LONGEST).astype(int)
    return [rng.permutation(np.arange(2, N_TOKENS))[:k].astype(np.int32) for k in lengths]
