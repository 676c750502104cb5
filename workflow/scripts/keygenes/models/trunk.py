"""What the frozen part of a model makes of the cells: computed once, kept on disk, read in batches.

The hidden states of a cell after the frozen layers depend on the pretrained weights and the
tokens only, not on the task, the seed or the epoch. They are kept as plain numbers, one row of
[hidden] per token (or per cell, where only the head trains), and read through a memory map.
"""

import copy
import logging
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from keygenes.core.files import checksum, read_json, write_json, written
from keygenes.core.tables import read_table
from keygenes.models.batches import budget_batches, padded, with_progress
from keygenes.models.device import autocast, halving, set_up_torch
from keygenes.models.encoder import (
    check_fit,
    frozen_layers,
    pooled_states,
    pretrained_classifier,
    read_config,
    set_pooling,
    states_between,
    train_only,
)
from keygenes.tokens.encode import read_tokens

log = logging.getLogger("keygenes")


class States(NamedTuple):
    """Hidden states of some cells after the frozen layers.

    Attributes
    ----------
    first : int
        Layers behind them: the first that is still to be computed.
    values : float32 or float16 array [n_rows, hidden]
        A memory map.
    starts, lengths : int arrays [n_cells]
        Each cell's first row and its number of rows.
    pooled : bool
        Whether a cell's one row is what the pooler reads, and only the head is left.
    """

    first: int
    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    pooled: bool


def of_cells(states, cells):
    """Return the states of some cells, by their positions; None stays None."""
    if states is None:
        return None
    return states._replace(starts=states.starts[cells], lengths=states.lengths[cells])


def state_batch(states, batch, device):
    """Return hidden states as float32: [n_cells, hidden] if pooled, else padded right with 0.

    Returns
    -------
    tensor [n_cells, hidden] or [n_cells, longest, hidden]
    """
    starts, lengths = states.starts[batch], states.lengths[batch]
    if states.pooled:
        return torch.from_numpy(states.values[starts].astype(np.float32)).to(device)
    hidden = np.zeros((len(batch), lengths.max(), states.values.shape[1]), np.float32)
    for row, start, length in zip(hidden, starts, lengths, strict=True):
        row[:length] = states.values[start : start + length]
    return torch.from_numpy(hidden).to(device)


def wanted_states(model):
    """Return (name, layers) of the states that training this model starts from, or None.

    What trains decides (`requires_grad`), not the name of a regime. The output of the embeddings
    alone is not worth keeping.
    """
    n = frozen_layers(model)
    if n == 0:
        return None
    if n == model.config.num_hidden_layers:
        return f"pooled_{model.config.classifier_pooling}", n
    return f"layer{n}", n


def affordable(sizes, folder, max_gb):
    """Return the names of the states that fit the limit and the disk, the smallest first.

    Parameters
    ----------
    sizes : dict of str to int
        Bytes by name.
    """
    free = shutil.disk_usage(folder).free
    left, names = min(max_gb * 1e9, 0.95 * free), []
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        fits = size <= left
        log.info(
            "%s: %.3f GB in %s (finetune.cache.max_gb %g, %.1f GB free)%s",
            *(name, size / 1e9, folder, max_gb, free / 1e9),
            "" if fits else ": does not fit, so it is computed anew in every epoch",
        )
        if fits:
            left -= size
            names.append(name)
    return names


@torch.inference_mode()
def write_states(model, cells, wanted, folder, *, max_gb, dtype, batch_tokens, device, precision):
    """Write the states of cells after their frozen layers, all in one pass; return their sizes.

    Parameters
    ----------
    model : BertForSequenceClassification
    cells : list of int arrays
    wanted : dict of str to (int, BertConfig)
        Layers, and how they are pooled, by name (`wanted_states`).
    folder : pathlib.Path
        Gains a file ``{name}.bin`` for each of them that fits.
    max_gb : float
    dtype : {'float32', 'float16'}

    Returns
    -------
    dict of str to int
        Bytes of each file that was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.array([len(cell) for cell in cells])
    starts = np.cumsum(lengths) - lengths
    width = model.config.hidden_size * np.dtype(dtype).itemsize
    rows = {k: len(cells) if k.startswith("pooled") else int(lengths.sum()) for k in wanted}
    sizes = {name: n * width for name, n in rows.items()}
    names = affordable(sizes, folder, max_gb)
    if not names:
        return {}
    deepest = max(wanted[name][0] for name in names)
    model.eval()

    def keep(batch, files):
        ids, mask = padded([cells[i] for i in batch], device)
        with autocast(device, precision):
            embedded = model.bert.embeddings(input_ids=ids)
            for n, hidden in enumerate(states_between(model.bert, embedded, mask, 0, deepest)):
                for name in [name for name in names if wanted[name][0] == n]:
                    pooled = name.startswith("pooled")
                    values = pooled_states(hidden, ids, mask, wanted[name][1]) if pooled else hidden
                    values = values.float().cpu().numpy().astype(dtype)
                    for value, i in zip(values, batch, strict=True):
                        files[name].seek((i if pooled else starts[i]) * width)
                        files[name].write((value if pooled else value[: lengths[i]]).tobytes())

    try:
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(
                    open(stack.enter_context(written(folder / f"{name}.bin")), "wb")
                )
                for name in names
            }
            for batch in with_progress(budget_batches(lengths, batch_tokens), "frozen layers"):
                halving(lambda part: keep(part, files), batch)
    except OSError as error:  # the disk filled up meanwhile
        log.warning("%s: %s; computed anew in every epoch", folder, error.strerror)
        return {}
    return {name: sizes[name] for name in names}


def open_states(folder, name, n_layers, lengths, *, hidden, dtype):
    """Return the `States` of all cells from a file of `write_states`."""
    values = np.memmap(folder / f"{name}.bin", dtype, mode="r").reshape(-1, hidden)
    pooled = name.startswith("pooled")
    rows = np.ones_like(lengths) if pooled else lengths
    return States(n_layers, values, np.cumsum(rows) - rows, rows, pooled)


def stamp_of(weights, tokens, cache):
    """Return what the states in a folder depend on."""
    return {
        "weights_sha256": checksum(weights),
        "tokens_sha256": checksum(tokens),
        "dtype": cache["dtype"],
    }


def cache_trunk(
    *,
    tokens,
    vocabulary,
    weights,
    config,
    out_states,
    regimes,
    cache,
    max_length,
    batch_tokens,
    threads,
    device,
    precision,
):
    """Write, for every regime that leaves the lower layers frozen, what they make of all cells.

    One pass over the cells serves all regimes, tasks and seeds.

    Parameters
    ----------
    out_states : path-like
        A list of the files that stand beside it, with what they depend on.
    regimes : list of [patterns, pooling]
    cache : dict
        Section 'finetune.cache': max_gb, dtype.
    """
    device = set_up_torch(threads=threads, device=device)
    table = read_table(vocabulary)
    bert = read_config(config)
    check_fit(bert, vocabulary_size=len(table), max_length=max_length, where=str(config))
    model, _ = pretrained_classifier(weights, bert, ["0", "1"], seed=0)
    wanted = {}
    for patterns, pooling in regimes:
        set_pooling(model.config, pooling, table)
        train_only(model, patterns)
        if found := wanted_states(model):
            wanted[found[0]] = found[1], copy.deepcopy(model.config)
    model.to(device)
    _, ids, offsets = read_tokens(tokens)
    cells = np.split(ids, offsets[1:-1])
    sizes = write_states(
        model,
        cells,
        wanted,
        Path(out_states).parent,
        **cache,
        batch_tokens=batch_tokens,
        device=device,
        precision=precision,
    )
    write_json({**stamp_of(weights, tokens, cache), "bytes": sizes}, out_states)


def find_states(model, tokens, weights, manifest, folder, *, cache, group, **look):
    """Return the `States` of all cells that a model's training starts from, or None.

    Parameters
    ----------
    manifest : path-like or None
        Of `cache_trunk`. Where it does not have them (any more), they are computed here.
    folder : pathlib.Path
        Where they are kept in that case.
    cache : dict or None
        As for `cache_trunk`; None: nothing is kept.
    group : Group
        Its first process writes, the others read.
    look : dict
        batch_tokens, device, precision.
    """
    found = wanted_states(model) if cache else None
    if not found:
        return None
    name, n_layers = found
    _, ids, offsets = read_tokens(tokens)
    lengths = np.diff(offsets)
    shape = {"hidden": model.config.hidden_size, "dtype": cache["dtype"]}
    if manifest:
        document = read_json(manifest)
        size = document.pop("bytes").get(name)
        if document == stamp_of(weights, tokens, cache):
            if size is None:
                log.info("%s is not kept: the frozen layers are computed in every epoch", name)
                return None
            path = Path(manifest).with_name(f"{name}.bin")
            if path.is_file() and path.stat().st_size == size:
                log.info("%s: read from %s", name, path)
                return open_states(path.parent, name, n_layers, lengths, **shape)
        log.info("%s: %s are not those of this run; computing them here", name, manifest)
    if group.rank == 0:
        cells = np.split(ids, offsets[1:-1])
        wanted = {name: (n_layers, model.config)}
        write_states(model, cells, wanted, folder, **cache, **look)
    wait = torch.zeros(1, device=look["device"])
    group.total(wait)  # for the first process to have written it
    if not (folder / f"{name}.bin").is_file():
        return None
    states = open_states(folder, name, n_layers, lengths, **shape)
    group.total(wait)  # for all to have opened it
    if group.rank == 0:
        shutil.rmtree(folder)  # an open map outlives its name: nothing stays behind a killed job
    return states
