"""How much attention shifts between two models, per layer and head, and per rank."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keygenes.attention.agreement import (
    MEASURES,
    agreement_table,
    compared_cells,
    comparison_bounds,
    of_profiles,
)
from keygenes.attention.extract import drawn
from keygenes.attention.subsets import TEST
from keygenes.attention.sums import moments
from keygenes.core.runs import Run
from keygenes.models.cells import of_split, task_cells
from keygenes.models.device import autocast, set_up_torch, token_budget
from keygenes.models.encoder import load_trunk

log = logging.getLogger("keygenes")

BOUND_CELLS = 50  # that bounds of agreement are computed on: each model runs again there


def compared_pairs(trunks, pairs, cells, batch_tokens):
    """Return how much the attention of pairs of models agrees, averaged over cells.

    Arguments as of `compared_cells`.

    Returns
    -------
    dict {pair: dict {column: float64 array [layers, heads]}}
        `MEASURES`: the cosine of the full attention, the others of the attention received by the
        positions of a cell; and sd, of the cosine between cells.
    """
    total = dict.fromkeys(pairs, 0.0)
    squares = dict.fromkeys(pairs, 0.0)
    for _, cosines, received in compared_cells(trunks, pairs, cells, batch_tokens):
        for a, b in pairs:
            found = np.stack([cosines[a, b], *of_profiles(received[a], received[b])])
            total[a, b] = total[a, b] + found
            squares[a, b] = squares[a, b] + found[0] ** 2
    results = {}
    for pair in pairs:
        _, sd = moments(total[pair][0], squares[pair], np.full(squares[pair].shape, len(cells)))
        means = dict(zip(MEASURES, total[pair] / len(cells), strict=True))
        results[pair] = {**means, "sd": sd}
    return results


def rank_shift(by_rank_a, by_rank_b):
    """Return the change of attention per rank from model b to model a, in percent.

    As in section 4.4 of the thesis, attention is summed over heads, queries and cells; rows
    without layer are summed over layers too. Both tables must come from the same cells, so that
    the ratio of sums is that of means over the cells that reach the rank. `percent_residual` is
    the same change after correction: of the geometric mean over heads (and layers) and cells of
    what attention is above each model's own expectation from rank, length and depth.

    Parameters
    ----------
    by_rank_a, by_rank_b : tables 'by_rank', one subset
    """

    def reduced(table, column, how):
        """Return a column by layer and rank, then by rank over all layers."""
        groups = (table.groupby(keys)[column] for keys in (["layer", "rank"], "rank"))
        return np.concatenate([group.agg(how).to_numpy() for group in groups])

    sums = [reduced(table, "sum", "sum") for table in (by_rank_a, by_rank_b)]
    # every head and layer of a rank has the same cells, so a plain mean is one over cells too
    residuals = [reduced(table, "mean_residual", "mean") for table in (by_rank_a, by_rank_b)]
    by_layer = by_rank_a.groupby(["layer", "rank"])["n_cells"].max().reset_index()
    overall = by_rank_a.groupby("rank")["n_cells"].max().reset_index().assign(layer=pd.NA)
    frame = pd.concat([by_layer.astype({"layer": object}), overall], ignore_index=True)
    frame["layer"] = frame["layer"].astype("Int64")
    return frame.assign(
        sum_a=sums[0],
        sum_b=sums[1],
        percent_change=100 * (sums[0] / sums[1] - 1),
        percent_residual=100 * (2 ** (residuals[0] - residuals[1]) - 1),
    )


def rank_shifts(by_rank, pairs, run):
    """Return table 'rank_shift' of pairs of models of one run, on its test cells.

    Parameters
    ----------
    by_rank : dict {name: table 'by_rank'}
    pairs : list of (name, name)
    run : core.runs.Run
    """
    ranks = {name: table[table["subset"] == TEST] for name, table in by_rank.items()}
    of_run = {"fold": run.fold, "seed": run.seed}
    shifts = [rank_shift(ranks[a], ranks[b]).assign(a=a, b=b, **of_run) for a, b in pairs]
    return pd.concat(shifts, ignore_index=True)


def cells_compared(files, max_cells):
    """Return the test cells of a `TaskFold`, at most so many: list of int arrays."""
    frame, cells, _ = task_cells(*files)
    _, cells = of_split(frame, cells, "test")
    return [cells[i] for i in drawn(np.arange(len(cells)), max_cells, files.fold)]


class OfRun(NamedTuple):
    """The models of one run.

    Attributes
    ----------
    run : core.runs.Run
    files : dict {name: (weights path, config path)}
    """

    run: Run
    files: dict[str, tuple[str | Path, str | Path]]


def compare_attention(models, others, pairs, cells, compute):
    """Return how much the attention of pairs of models agrees, and bounds of that.

    Parameters
    ----------
    models, others : OfRun, OfRun or None
        The others are some of the models as another run trained them.
    pairs : list of (name, name)
    cells : list of int arrays

    Returns
    -------
    cosine, bounds : DataFrames
        Tables 'cosine' and 'comparison_bounds'.
    """
    device, run = set_up_torch(compute), models.run
    trunks = {name: load_trunk(*paths).to(device) for name, paths in models.files.items()}
    batch_tokens = token_budget(compute, next(iter(trunks.values())).config)
    frames = []
    with autocast(device, compute.precision):
        of_pairs = compared_pairs(trunks, pairs, cells, batch_tokens)
    for (a, b), found in of_pairs.items():
        log.info(
            "%s vs %s: cosine %.4f to %.4f", a, b, found["cosine"].min(), found["cosine"].max()
        )
        columns = {"a": a, "b": b, "fold": run.fold, "seed": run.seed, "n_cells": len(cells)}
        frames.append(agreement_table(found, **columns))
    other, files = others or (None, {})
    retrained = {name: load_trunk(*paths).to(device) for name, paths in files.items()}
    few = [cells[i] for i in drawn(np.arange(len(cells)), BOUND_CELLS, run.fold)]
    with autocast(device, compute.precision):
        bounds = comparison_bounds(trunks, retrained, few, batch_tokens, run, other)
    return pd.concat(frames, ignore_index=True), bounds
