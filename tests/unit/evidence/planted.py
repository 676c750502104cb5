"""A tiny classifier that was shown one gene to go by."""

import numpy as np
import torch
from tiny_study import random_cells, tiny_config

from keygenes.models.batches import padded
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.head import cell_logits

MASK, GENE = 1, 7


def classifier(seed=0, *, n_classes=2, pooling="first", **config):
    """Return a tiny classifier with random weights, in eval mode."""
    config = tiny_config(**config)
    config.num_labels = n_classes
    config.classifier_pooling, config.pooling_leaves_out = pooling, []
    torch.manual_seed(seed)
    return CellClassifier(config).eval().requires_grad_(False)


def planted_cells(n, seed=0, **where):
    """Return cells and labels: every second cell has `GENE`, anywhere but in front."""
    rng = np.random.default_rng([seed, 1])
    cells = random_cells(n, seed, **{"shortest": 8, "longest": 14, **where})
    labels = np.arange(n) % 2
    for cell, label in zip(cells, labels, strict=True):
        spare = np.setdiff1d(np.arange(2, 32), [*cell, GENE])
        cell[cell == GENE] = rng.choice(spare)
        if label:
            cell[rng.integers(1, len(cell))] = GENE
    return cells, labels


def planted_classifier(steps=150, **config):
    """Return a classifier that was trained to tell cells with `GENE` from those without."""
    model = classifier(spread=0.05, **config).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    cells, labels = planted_cells(256, seed=3)
    labels = torch.from_numpy(labels)
    for step in range(steps):
        batch = np.random.default_rng(step).permutation(len(cells))[:64]
        ids, mask = padded([cells[i] for i in batch])
        # a share of masked genes, as in pretraining: <mask> then stands for nothing
        ids[(torch.rand(ids.shape) < 0.1) & (ids != GENE) & mask.bool()] = MASK
        loss = torch.nn.functional.cross_entropy(cell_logits(model, ids, mask), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)
