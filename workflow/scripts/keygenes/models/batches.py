"""Cells in batches: padding, and orders that waste little of it."""

import numpy as np
import torch

# On a GPU lengths are rounded up to this: kernels are planned anew for every shape they meet.
LENGTHS_ON_GPU = 64


def padded(cells, device="cpu"):
    """Return input ids and mask of some cells, padded right with token 0 to the longest.

    Parameters
    ----------
    cells : list of int arrays

    Returns
    -------
    input_ids, attention_mask : int64 tensors [n_cells, L]
        L is the length of the longest cell, on a GPU rounded up to `LENGTHS_ON_GPU`.
    """
    lengths = np.array([len(cell) for cell in cells])
    longest = padded_length(lengths, torch.device(device))
    mask = np.arange(longest) < lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(cells)
    return tuple(moved(np.stack([ids, mask.astype(np.int64)]), device))


def moved(array, device):
    """Return an array as a tensor on a device; the processor does not wait for the transfer."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def places(lengths, device="cpu"):
    """Return the cell and the position of every token of padded cells: int64 tensor [2, n]."""
    cells = np.repeat(np.arange(len(lengths)), lengths)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    return moved(np.stack([cells, np.arange(len(cells)) - first]), device)


def padded_length(lengths, device):
    """Return what cells are padded to: the longest of their lengths, on a GPU rounded up."""
    multiple = LENGTHS_ON_GPU if device.type == "cuda" else 1
    return -(-int(lengths.max()) // multiple) * multiple


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
