"""How much attention shifts between two models, per layer and head, and per rank."""

import logging

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
from keygenes.core.tables import read_table, write_table
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


def compare_attention(
    *,
    tokens,
    labels,
    splits,
    models,
    others,
    by_rank,
    out_cosine,
    out_rank_shift,
    out_bounds,
    task,
    run,
    other,
    pairs,
    max_cells,
    compute,
):
    """Write the agreement and the shift by rank of every pair of models, on the test cells.

    Parameters
    ----------
    models : dict {name: (weights path, config path)}
    others : dict {name: (weights path, config path)}
        Some of the models as the run `other` trained them.
    by_rank : dict {name: path of table 'by_rank'}
    run, other : `core.runs.Run`, Run or None
    pairs : list of [name, name]
    """
    device = set_up_torch(compute)
    trunks = {name: load_trunk(*paths).to(device) for name, paths in models.items()}
    batch_tokens = token_budget(compute, next(iter(trunks.values())).config)
    frame, cells, _ = task_cells(tokens, labels, splits, task, run.fold)
    _, cells = of_split(frame, cells, "test")
    cells = [cells[i] for i in drawn(np.arange(len(cells)), max_cells, run.fold)]
    pairs, of_run = [tuple(pair) for pair in pairs], {"fold": run.fold, "seed": run.seed}
    frames = []
    with autocast(device, compute.precision):
        of_pairs = compared_pairs(trunks, pairs, cells, batch_tokens)
    for (a, b), found in of_pairs.items():
        log.info(
            "%s vs %s: cosine %.4f to %.4f", a, b, found["cosine"].min(), found["cosine"].max()
        )
        frames.append(agreement_table(found, a=a, b=b, **of_run, n_cells=len(cells)))
    write_table(pd.concat(frames, ignore_index=True), out_cosine, "cosine")
    retrained = {name: load_trunk(*paths).to(device) for name, paths in others.items()}
    few = [cells[i] for i in drawn(np.arange(len(cells)), BOUND_CELLS, run.fold)]
    with autocast(device, compute.precision):
        bounds = comparison_bounds(trunks, retrained, few, batch_tokens, run, other)
    write_table(bounds, out_bounds, "comparison_bounds")
    ranks = {name: read_table(path) for name, path in by_rank.items()}
    ranks = {name: table[table["subset"] == TEST] for name, table in ranks.items()}
    shifts = [rank_shift(ranks[a], ranks[b]).assign(a=a, b=b, **of_run) for a, b in pairs]
    write_table(pd.concat(shifts, ignore_index=True), out_rank_shift, "rank_shift")
