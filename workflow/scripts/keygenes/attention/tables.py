"""The tables of attention, from its sums."""

import numpy as np
import pandas as pd

from keygenes.attention.expected import (
    binned,
    expected_by_rank,
    rank_edges,
)
from keygenes.attention.sums import GENE_COUNTS, HEAD_MEASURES, LAYER_MEASURES, moments
from keygenes.core.schemas import TABLES


def rank_table(sums, subset, first_rank, expectation=None, sizes=None):
    """Return table 'by_rank': a row per layer, head and rank that some cell reaches.

    Parameters
    ----------
    expectation : `expected.Expectation`, optional
        Without it residuals are missing.
    sizes : `expected.Sizes`, optional
        Of all the cells behind the sums; for the residuals.
    """
    layers, heads = sums.shape[:2]
    reached = np.flatnonzero(sums.count("rank_n"))
    layer, head, rank = np.meshgrid(np.arange(layers), np.arange(heads), reached, indexing="ij")
    n = np.broadcast_to(sums.count("rank_n")[reached], layer.shape).ravel()
    total = sums.total("rank_sum")[..., reached].ravel()
    mean, sd = moments(total, sums.total("rank_squares")[..., reached].ravel(), n)
    mean_log2 = sums.log2_sums()[0].sum(2)[..., reached].ravel() / n
    expected = np.nan
    if expectation is not None:
        expected = expected_by_rank(expectation, sizes, len(sums.count("rank_n")))
        expected = expected[..., reached].ravel()
    return pd.DataFrame(
        {
            "subset": subset,
            "layer": layer.ravel() + 1,
            "head": head.ravel() + 1,
            "rank": rank.ravel() + first_rank,
            "n_cells": n.astype(int),
            "sum": total,
            "mean": mean,
            "sd": sd,
            "mean_log2": mean_log2,
            "mean_residual": mean_log2 - expected,
        }
    )


def gene_table(sums, subset, ensembl_ids, class_names, rank_offset):
    """Return table 'by_gene': a row per layer, head, class and gene that some cell expresses.

    Rows without layer and head hold the mean over all layers and heads (its sd is between
    cells).
    """
    layers, heads = sums.shape[:2]
    classes, genes = np.nonzero(sums.count("gene_n"))
    flat = np.flatnonzero(sums.count("gene_n"))
    n, rank_sum, rank_squares = (sums.count(name).ravel()[flat] for name in GENE_COUNTS)
    rank_mean, rank_sd = moments(rank_sum, rank_squares, n)
    ids = pd.Categorical.from_codes(genes, ensembl_ids)
    names = pd.Categorical.from_codes(classes, class_names)
    totals = [sums.total(f"gene_{power}")[..., flat] for power in ("sum", "squares")]
    means = [sums.total(f"mean_{power}")[flat] for power in ("sum", "squares")]
    frames = []
    for layer, head in [(None, None), *np.ndindex(layers, heads)]:
        total, squares = means if layer is None else (t[layer, head] for t in totals)
        mean, sd = moments(total, squares, n)
        frames.append(
            pd.DataFrame(
                {
                    "subset": subset,
                    "layer": pd.array([layer if layer is None else layer + 1] * len(n), "Int64"),
                    "head": pd.array([head if head is None else head + 1] * len(n), "Int64"),
                    "ensembl_id": ids,
                    "class": names,
                    "n_cells": n.astype(int),
                    "sum": total,
                    "mean": mean,
                    "sd": sd,
                    "rank_mean": rank_mean - rank_offset,
                    "rank_sd": rank_sd,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def well_table(sums, subset, ensembl_ids, well_names, *, pair_norms, expected=np.nan):
    """Return table 'by_well': attention received per gene and well, mean of layers and heads.

    Parameters
    ----------
    pair_norms : bool
        Whether the sums hold them.
    expected : float64 array [n_wells, n_tokens], optional
        From `expected.expected_by_gene`; without it residuals are missing.
    """
    shape = sums.count("well_n").shape
    expected = np.broadcast_to(expected, shape)
    wells, genes = np.nonzero(sums.count("well_n"))

    def total(name):
        return sums.total(name).reshape(shape)[wells, genes]

    return pd.DataFrame(
        {
            "subset": subset,
            "well": pd.Categorical.from_codes(wells, well_names),
            "ensembl_id": pd.Categorical.from_codes(genes, ensembl_ids),
            "n_cells": sums.count("well_n")[wells, genes].astype(int),
            "sum": total("well_sum"),
            "sum_log2": total("well_log2_sum"),
            "sum_residual": total("well_log2_sum") - expected[wells, genes],
            "sum_pair": total("well_pair_sum") if pair_norms else np.nan,
        }
    )


def expected_table(sums, sizes, bins, first_rank):
    """Return table 'expected': mean log2 c per layer, head and bin of ranks and sizes of cells.

    Parameters
    ----------
    sums : Sums
        Of the vehicle training cells.
    sizes : expected.Sizes
        Of the same cells.
    bins : expected.Bins
        `expected.bins_for` them. With one bin of depths there are no rows by depth.
    """
    frames = []
    of_size = zip(("length", "depth"), sums.log2_sums(), binned(sizes, bins), sizes, strict=True)
    for name, by_rank, of_cell, values in of_size:
        if name == "depth" and by_rank.shape[2] == 1:
            continue
        bounds = rank_edges(by_rank.shape[-1])
        totals = np.add.reduceat(by_rank, bounds[:-1] - 1, axis=-1)  # [layers, heads, bins, ranks]
        reached = np.zeros(by_rank.shape[2:])
        np.add.at(reached, (of_cell, np.asarray(sizes.lengths, int) - 1), 1)
        reached = reached[:, ::-1].cumsum(1)[:, ::-1]
        n = np.add.reduceat(reached, bounds[:-1] - 1, axis=-1)
        layer, head, of_bin, of_rank = np.nonzero(np.broadcast_to(n > 0, totals.shape))
        ends = [
            (values[of_cell == b].min(), values[of_cell == b].max()) for b in np.unique(of_cell)
        ]
        low, high = np.array(ends).reshape(-1, 2)[of_bin].T
        frames.append(
            pd.DataFrame(
                {
                    "layer": layer + 1,
                    "head": head + 1,
                    "rank_low": bounds[of_rank] - 1 + first_rank,
                    "rank_high": bounds[of_rank + 1] - 2 + first_rank,
                    f"{name}_low": low,
                    f"{name}_high": high,
                    "mean_log2": totals[layer, head, of_bin, of_rank] / n[of_bin, of_rank],
                    "n_positions": n[of_bin, of_rank].astype(int),
                }
            )
        )
    return pd.concat(frames, ignore_index=True).reindex(columns=TABLES["expected"].names)


def measure_table(sums, subset, measures):
    """Return a table with a row per layer, head and measure: the mean over cells of a cell's mean.

    Parameters
    ----------
    measures : sequence of str
        Of `HEAD_MEASURES`, or of `LAYER_MEASURES`, whose rows have no head.
    """
    layers, heads = sums.shape[:2]
    n = sums.count("cells")[0]
    frames = []
    for measure in measures:
        of_head = measure in HEAD_MEASURES
        kind, names = ("head", HEAD_MEASURES) if of_head else ("layer", LAYER_MEASURES)
        at = names.index(measure)
        mean, sd = moments(*(sums.total(f"{kind}_{p}")[at] for p in ("sum", "squares")), n)
        layer, head = np.divmod(np.arange(len(mean)), heads if of_head else 1)
        frames.append(
            pd.DataFrame(
                {
                    "subset": subset,
                    "layer": layer + 1,
                    "head": pd.array(head + 1 if of_head else [None] * layers, "Int64"),
                    "measure": measure,
                    "n_cells": int(n),
                    "mean": mean,
                    "sd": sd,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
