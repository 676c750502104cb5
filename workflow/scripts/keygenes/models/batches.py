"""Cells in batches: padding, and orders that waste little of it."""

import numpy as np
import torch


def padded(cells, device="cpu"):
    """Return input ids and mask of some cells, padded right with token 0 to the longest.

    Parameters
    ----------
    cells : list of int arrays

    Returns
    -------
    input_ids, attention_mask : int64 tensors [n_cells, longest]
    """
    longest = max(len(cell) for cell in cells)
    ids = np.zeros((len(cells), longest), np.int64)
    mask = np.zeros((len(cells), longest), np.int64)
    for row, cell in enumerate(cells):
        ids[row, : len(cell)] = cell
        mask[row, : len(cell)] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def length_grouped_batches(lengths, batch_size, rng):
    """Return shuffled batches of indices whose cells have similar lengths.

    Cells are permuted, cut into groups of 50 batches, and sorted by length within each group
    (the order Hugging Face's trainer uses): random enough to learn from, with little padding.

    Parameters
    ----------
    lengths : int array [n_cells]
    batch_size : int
        Cells per batch; the last may be smaller, none is dropped.
    rng : numpy.random.Generator
    """
    order = rng.permutation(len(lengths))
    group = 50 * batch_size
    batches = []
    for start in range(0, len(order), group):
        members = order[start : start + group]
        members = members[np.argsort(-lengths[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def budget_batches(lengths, batch_tokens):
    """Return batches of indices, longest cells first, each of at most `batch_tokens` with padding.

    A cell longer than the budget forms a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        n = max(1, int(batch_tokens // max(1, lengths[order[start]])))
        batches.append(order[start : start + n])
        start += n
    return batches


def parts_of(batch, lengths, batch_tokens):
    """Return a batch of indices in parts of at most `batch_tokens` each (None: whole)."""
    if batch_tokens is None or not len(batch):
        return [batch] if len(batch) else []
    return [batch[part] for part in budget_batches(lengths[batch], batch_tokens)]


def padding_waste(lengths, batches):
    """Return the share of the positions of batches that is padding."""
    positions = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / max(1, positions)
