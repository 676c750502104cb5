"""How attention changed from one model to another along the ranks: the numbers that figures draw.

One pair of models or many, one fold and training or many. Layers, heads and ranks are counted
from 1.
"""

import numpy as np
import pandas as pd

from keygenes.report.panels import pairs_of, single_models


def over_layers(rank_shift):
    """Return the rows of all layers together, as the table has them or summed."""
    total = rank_shift[rank_shift.layer.isna()]
    if total.empty:
        by = ["a", "b", "fold", "seed", "rank"]
        total = rank_shift.groupby(by, observed=True, dropna=False, as_index=False).agg(
            sum_a=("sum_a", "sum"),
            sum_b=("sum_b", "sum"),
            percent_residual=("percent_residual", "mean"),
            n_cells=("n_cells", "max"),
        )
    return total


def summed_over_models(rows, by):
    """Return sum_a, sum_b and n_cells per group of `by`: means over trainings, sums over folds.

    The trainings of a fold look at the same cells, so that each cell counts once.
    """
    columns = ["sum_a", "sum_b", "n_cells"]
    if "fold" not in rows or rows["fold"].isna().all():
        return rows.groupby(by, observed=True)[columns].sum()
    # Bins hold several rows of one training: they are added before trainings are averaged.
    runs = rows.groupby([*by, "fold", "seed"], observed=True)[columns].sum()
    folds = runs.groupby([*by, "fold"], observed=True).mean()
    return folds.groupby(by, observed=True).sum()


def rank_change(rows, by):
    """Return sums over models and the change in percent per group of `by` (list of columns).

    Sums are added before the division, so that every cell weighs the same.
    """
    pooled = summed_over_models(rows, by)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled["percent"] = 100.0 * (pooled.sum_a / pooled.sum_b - 1.0)
    return pooled.replace([np.inf, -np.inf], np.nan)


def residual_change(rows, by):
    """As `rank_change`, after correction: the mean over models of log ratios, by their cells."""
    weighted = rows.assign(log=np.log1p(rows.percent_residual / 100) * rows.n_cells)
    sums = weighted.groupby(by, observed=True)[["log", "n_cells"]].sum(min_count=1)
    pooled = summed_over_models(rows, by)
    pooled["percent"] = 100 * np.expm1(sums.log / sums.n_cells)
    return pooled


def change_by_rank(rank_shift, min_cells=10):
    """Return what Figure 5 draws, before and after correction for length.

    Parameters
    ----------
    rank_shift : pandas.DataFrame
        Schema ``rank_shift``.
    min_cells : int
        Ranks that fewer cells (of all folds) reach are left out.

    Returns
    -------
    pandas.DataFrame
        Columns a, b, fold, seed (both null: all pooled), rank, percent_change, percent_residual,
        n_cells.
    """
    total = single_models(over_layers(rank_shift))
    found = []
    for a, b in pairs_of(total):
        rows = total[(total.a == a) & (total.b == b)]
        reached = summed_over_models(rows, ["rank"]).n_cells
        rows = rows[rows["rank"].isin(reached.index[reached >= min_cells])]
        for (fold, seed), part in [((pd.NA, pd.NA), rows), *rows.groupby(["fold", "seed"])]:
            change = rank_change(part, ["rank"])
            found.append(
                pd.DataFrame(
                    {
                        "a": a,
                        "b": b,
                        "fold": fold,
                        "seed": seed,
                        "rank": change.index,
                        "percent_change": change.percent.to_numpy(),
                        "percent_residual": residual_change(part, ["rank"]).percent.to_numpy(),
                        "n_cells": change.n_cells.to_numpy(),
                    }
                )
            )
    columns = ["a", "b", "fold", "seed", "rank", "percent_change", "percent_residual", "n_cells"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _bin_width(n_ranks, target=60):
    """Return a round bin width that gives about `target` bins."""
    for width in (1, 2, 5, 10, 20, 25, 50, 100):
        if n_ranks / width <= target:
            return width
    return 100


def layer_maps(rank_shift, min_cells):
    """Return {(a, b): layers x bins of ranks, in percent} and the ranks in a bin."""
    rows = single_models(rank_shift[rank_shift.layer.notna()])
    rows = rows.assign(rank=rows["rank"].astype(int), layer=rows.layer.astype(int))
    width = _bin_width(rows["rank"].max()) if len(rows) else 1
    maps = {}
    for a, b in pairs_of(rows):
        pair = rows[(rows.a == a) & (rows.b == b)]
        # n per rank first: a bin is drawn where its ranks are reached by enough cells on average
        lowest = pair[pair.layer == pair.layer.min()]
        reach = summed_over_models(lowest, ["rank"]).n_cells
        reach = reach.groupby((reach.index - 1) // width).mean()
        binned = rank_change(pair.assign(bin=(pair["rank"] - 1) // width), ["layer", "bin"])
        table = binned.percent.unstack("bin").reindex(columns=reach.index[reach >= min_cells])
        maps[a, b] = table.reindex(index=range(1, rows.layer.max() + 1))
    return maps, width


def change_by_layer(rank_shift, min_cells=10):
    """Return what Figure 6 draws: columns a, b, layer, rank_low, rank_high, percent_change.

    `rank_low` and `rank_high` are the first and the last rank of a bin.
    """
    maps, width = layer_maps(rank_shift, min_cells)
    found = []
    for (a, b), table in maps.items():
        rows = table.rename_axis(index="layer", columns="bin").stack(future_stack=True)
        rows = rows.rename("percent_change").reset_index()
        rows["rank_low"], rows["rank_high"] = rows.bin * width + 1, (rows.bin + 1) * width
        found.append(rows.assign(a=a, b=b))
    columns = ["a", "b", "layer", "rank_low", "rank_high", "percent_change"]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)
