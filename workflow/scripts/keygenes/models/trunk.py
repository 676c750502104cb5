"""What the frozen part of a model makes of the cells: computed once, kept on disk, read in batches.

The hidden states of a cell after the frozen layers depend on the pretrained weights and the
tokens only, not on the task, the seed or the epoch. They are kept as plain numbers, one row of
[hidden] per token (or per cell, where only the head trains), and read through a memory map.
"""

import logging
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from keygenes.core.errors import InputError
from keygenes.core.files import checksum, read_json, write_json, written
from keygenes.core.progress import with_progress
from keygenes.core.tables import read_table
from keygenes.models.batches import budget_batches, padded
from keygenes.models.device import Hardware, autocast, halving, set_up_torch, token_budget
from keygenes.models.encoder import check_fit, pretrained_classifier, read_config
from keygenes.models.head import pooled_states, set_pooling
from keygenes.models.trained import frozen_layers, train_only
from keygenes.tokens.store import read_tokens

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


def state_batch(states, batch, device, longest=None):
    """Return hidden states as float32: [n_cells, hidden] if pooled, else padded right with 0.

    Parameters
    ----------
    longest : int, optional
        Length of the padded cells (`padded`), where states are not pooled.

    Returns
    -------
    tensor [n_cells, hidden] or [n_cells, longest, hidden]
    """
    starts, lengths = states.starts[batch], states.lengths[batch]
    if states.pooled:
        return torch.from_numpy(states.values[starts].astype(np.float32)).to(device)
    on_gpu = torch.device(device).type == "cuda"
    shape = len(batch), longest, states.values.shape[1]
    hidden = torch.zeros(shape, pin_memory=on_gpu)  # in memory that a GPU reads by itself
    for row, start, length in zip(hidden.numpy(), starts, lengths, strict=True):
        row[:length] = states.values[start : start + length]
    return hidden.to(device, non_blocking=on_gpu)


def wanted_states(model):
    """Return (name, layers) of the states that training this model starts from, or None.

    What trains decides (`requires_grad`), not the name of a regime. The output of the embeddings
    alone is not worth keeping.
    """
    n = frozen_layers(model)
    if n == 0:
        return None
    if n == len(model.trunk.layers):
        return f"pooled_{model.config.classifier_pooling}", n
    return f"layer{n}", n


def affordable(name, size, folder, max_gb):
    """Say how large states are and where they go; return whether the limit and the disk allow it.

    Parameters
    ----------
    size : int
        Bytes.
    """
    free = shutil.disk_usage(folder).free
    fits = size <= min(max_gb * 1e9, 0.95 * free)
    log.info(
        "%s: %.3f GB in %s (finetune.cache.max_gb %g, %.1f GB free)%s",
        *(name, size / 1e9, folder, max_gb, free / 1e9),
        "" if fits else ": does not fit, so it is computed anew in every epoch",
    )
    return fits


@torch.inference_mode()
def write_states(model, cells, folder, cache, hardware):
    """Write the states of cells after the frozen layers of a model; return the file's size.

    Parameters
    ----------
    model : CellClassifier
        With `requires_grad` set as its regime wants it.
    cells : list of int arrays
    folder : pathlib.Path
        Gains ``{name}.bin`` (`wanted_states`), if it fits.
    cache : dict
        Section 'finetune.cache': max_gb, dtype ('float32' or 'float16').
    hardware : Hardware

    Returns
    -------
    int or None
        Bytes; None if there is no such file.
    """
    found = wanted_states(model)
    if not found:
        return None
    name, n_layers = found
    pooled, dtype = name.startswith("pooled"), cache["dtype"]
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.array([len(cell) for cell in cells])
    rows = np.ones_like(lengths) if pooled else lengths
    starts = np.cumsum(rows) - rows
    width = model.config.hidden_size * np.dtype(dtype).itemsize
    size = int(rows.sum()) * width
    if not affordable(name, size, folder, cache["max_gb"]):
        return None
    model.eval()

    def keep(batch, file):
        ids, mask = padded([cells[i] for i in batch], hardware.device)
        with autocast(hardware.device, hardware.precision):
            hidden = model.trunk.embeddings(ids)
            *_, hidden = model.trunk.states(hidden, mask, 0, n_layers)
            if pooled:
                hidden = pooled_states(hidden, ids, mask, model.config)[:, None]
        values = hidden.float().cpu().numpy().astype(dtype)
        for value, i in zip(values, batch, strict=True):
            file.seek(starts[i] * width)
            file.write(value[: rows[i]].tobytes())

    try:
        with written(folder / f"{name}.bin") as part, open(part, "wb") as file:
            batches = budget_batches(lengths, hardware.batch_tokens)
            for batch in with_progress(batches, f"frozen layers ({name})"):
                halving(lambda part: keep(part, file), batch)
    except InputError as error:  # the disk filled up meanwhile
        log.warning("the frozen layers are computed anew in every epoch, as %s", error)
        return None
    return size


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


def cache_trunk(tokens, files, out_states, *, patterns, pooling, cache, compute):
    """Write what the layers that a regime leaves frozen make of all cells of a study.

    Its seeds and tasks start from it, as does any regime that trains the same parameters.

    Parameters
    ----------
    tokens : path-like
    files : ModelFiles
        Of the pretrained model.
    out_states : path-like
        What stands in the file beside it: its size, and what it depends on.
    patterns : list of str
        Of the regime (`train_only`).
    pooling : {'first', 'mean', 'cls', None}
        Of the regime (`set_pooling`).
    cache : dict
        Section 'finetune.cache': max_gb, dtype.
    """
    device = set_up_torch(compute)
    table = read_table(files.vocabulary)
    shape = read_config(files.config)
    size = {"vocabulary_size": len(table), "max_length": files.max_length}
    check_fit(shape, **size, where=str(files.config))
    set_pooling(shape, pooling, table)
    model, _ = pretrained_classifier(files.weights, shape, ["0", "1"], seed=0)
    train_only(model, patterns)
    model.to(device)
    _, ids, offsets = read_tokens(tokens)
    hardware = Hardware(device, compute.precision, token_budget(compute, shape))
    cells = np.split(ids, offsets[1:-1])
    size = write_states(model, cells, Path(out_states).parent, cache, hardware)
    kept = Path(out_states).with_name(f"{wanted_states(model)[0]}.bin") if size else None
    of_file = {"bytes": size, "sha256": checksum(kept) if kept else None}
    write_json({**stamp_of(files.weights, tokens, cache), **of_file}, out_states)


def find_states(model, tokens, weights, manifest, folder, cache, hardware):
    """Return the `States` of all cells that a model's training starts from, or None.

    Parameters
    ----------
    manifest : path-like or None
        Of `cache_trunk`. Where it does not have them (any more), they are computed here.
    folder : pathlib.Path
        Where they are kept in that case.
    cache : dict or None
        As for `cache_trunk`; None: nothing is kept.
    hardware : Hardware
        The first process of its group writes, the others read.
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
        size, digest = document.pop("bytes"), document.pop("sha256", None)
        if document == stamp_of(weights, tokens, cache):
            if size is None:
                log.info("%s is not kept: the frozen layers are computed in every epoch", name)
                return None
            path = Path(manifest).with_name(f"{name}.bin")
            if path.is_file() and checksum(path) == digest:
                log.info("%s: read from %s", name, path)
                return open_states(path.parent, name, n_layers, lengths, **shape)
        log.info("%s: %s are not those of this run; computing them here", name, manifest)
    group = hardware.group
    if group.rank == 0:
        write_states(model, np.split(ids, offsets[1:-1]), folder, cache, hardware)
    wait = torch.zeros(1, device=hardware.device)
    group.total(wait)  # for the first process to have written it
    if not (folder / f"{name}.bin").is_file():
        return None
    states = open_states(folder, name, n_layers, lengths, **shape)
    group.total(wait)  # for all to have opened it
    if group.rank == 0:
        shutil.rmtree(folder)  # an open map outlives its name: nothing stays behind a killed job
    return states
