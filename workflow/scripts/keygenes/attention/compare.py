"""How much attention shifts between two models, per layer and head, and per rank."""

import logging

import numpy as np
import pandas as pd
import torch

from keygenes.attention.extract import drawn
from keygenes.attention.stream import STREAM, attention_products, queries_and_keys
from keygenes.attention.subsets import TEST
from keygenes.attention.sums import moments
from keygenes.core.tables import read_table, write_table
from keygenes.models.batches import budget_batches, padded, with_progress
from keygenes.models.cells import of_split, task_cells
from keygenes.models.device import set_up_torch
from keygenes.models.encoder import load_trunk

log = logging.getLogger("keygenes")


@torch.inference_mode()
def cosines(trunks, pairs, cells, batch_tokens):
    """Return the cosine of attention of model pairs, averaged over cells.

    Each model runs once, however many pairs it is in, and leaves its queries and keys; from these
    the attention of all models is computed side by side in blocks of rows, and never stored.

    Parameters
    ----------
    trunks : dict {name: BertModel}
    pairs : list of (name, name)
    cells : list of int arrays

    Returns
    -------
    mean, sd : dicts {pair: float64 [layers, heads]}
    """
    config = next(iter(trunks.values())).config
    device = next(iter(trunks.values())).device
    for trunk in trunks.values():
        trunk.set_attn_implementation(STREAM)
    shape = (config.num_hidden_layers, config.num_attention_heads)
    scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
    asked = list(dict.fromkeys([*pairs, *((name, name) for name in trunks)]))
    total = {pair: np.zeros(shape) for pair in pairs}
    squares = {pair: np.zeros(shape) for pair in pairs}
    lengths = np.array([len(cell) for cell in cells])
    for batch in with_progress(budget_batches(lengths, batch_tokens), "cosine"):
        ids, mask = padded([cells[i] for i in batch], device)
        layers = {name: queries_and_keys(trunk, ids, mask) for name, trunk in trunks.items()}
        for layer in range(shape[0]):
            for cell, n in enumerate(lengths[batch]):
                valid = {
                    name: [x[cell, :, :n] for x in of_layers[layer]]
                    for name, of_layers in layers.items()
                }
                product = attention_products(valid, asked, scaling)
                for a, b in pairs:
                    norm = (product[a, a] * product[b, b]).sqrt()
                    cosine = (product[a, b] / norm).cpu().numpy()
                    total[a, b][layer] += cosine
                    squares[a, b][layer] += cosine**2
    results = {
        pair: moments(total[pair], squares[pair], np.full(shape, len(cells))) for pair in pairs
    }
    return {p: r[0] for p, r in results.items()}, {p: r[1] for p, r in results.items()}


def cosine_table(mean, sd, n_cells, seed):
    """Return table 'cosine' from the result of `cosines`."""
    rows = [
        {
            "a": a,
            "b": b,
            "seed": seed,
            "layer": layer + 1,
            "head": head + 1,
            "cosine": mean[a, b][layer, head],
            "sd": sd[a, b][layer, head],
            "n_cells": n_cells,
        }
        for a, b in mean
        for layer, head in np.ndindex(mean[a, b].shape)
    ]
    return pd.DataFrame(rows)


def rank_shift(by_rank_a, by_rank_b):
    """Return the change of attention per rank from model b to model a, in percent.

    As in section 4.4 of the thesis, attention is summed over heads, queries and cells; rows
    without layer are summed over layers too. Both tables must come from the same cells, so that
    the ratio of sums is that of means over the cells that reach the rank.

    Parameters
    ----------
    by_rank_a, by_rank_b : tables 'by_rank', one subset
    """
    sums = []
    for table in (by_rank_a, by_rank_b):
        by_layer = table.groupby(["layer", "rank"])["sum"].sum()
        overall = table.groupby("rank")["sum"].sum()
        overall.index = pd.MultiIndex.from_product([[pd.NA], overall.index])
        sums.append(pd.concat([by_layer, overall]).to_numpy())
    by_layer = by_rank_a.groupby(["layer", "rank"])["n_cells"].max().reset_index()
    overall = by_rank_a.groupby("rank")["n_cells"].max().reset_index().assign(layer=pd.NA)
    frame = pd.concat([by_layer.astype({"layer": object}), overall], ignore_index=True)
    frame["layer"] = frame["layer"].astype("Int64")
    return frame.assign(sum_a=sums[0], sum_b=sums[1], percent_change=100 * (sums[0] / sums[1] - 1))


def compare_attention(
    *,
    tokens,
    labels,
    splits,
    models,
    by_rank,
    out_cosine,
    out_rank_shift,
    task,
    seed,
    pairs,
    batch_tokens,
    max_cells,
    threads,
    device,
):
    """Write the cosine and the shift by rank of every pair of models, on the test cells.

    Parameters
    ----------
    models : dict {name: (weights path, config path)}
    by_rank : dict {name: path of table 'by_rank'}
    pairs : list of [name, name]
    """
    device = set_up_torch(threads=threads, device=device)
    trunks = {name: load_trunk(*paths).to(device) for name, paths in models.items()}
    frame, cells, _ = task_cells(tokens, labels, splits, task, seed)
    _, cells = of_split(frame, cells, "test")
    cells = [cells[i] for i in drawn(np.arange(len(cells)), max_cells, seed)]
    pairs = [tuple(pair) for pair in pairs]
    mean, sd = cosines(trunks, pairs, cells, batch_tokens)
    for pair in pairs:
        log.info("%s vs %s: cosine %.4f to %.4f", *pair, mean[pair].min(), mean[pair].max())
    write_table(cosine_table(mean, sd, len(cells), seed), out_cosine, "cosine")
    ranks = {name: read_table(path) for name, path in by_rank.items()}
    ranks = {name: table[table["subset"] == TEST] for name, table in ranks.items()}
    shifts = [rank_shift(ranks[a], ranks[b]).assign(a=a, b=b, seed=seed) for a, b in pairs]
    write_table(pd.concat(shifts, ignore_index=True), out_rank_shift, "rank_shift")
