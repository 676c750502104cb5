"""The tables of attention, from its sums."""

import numpy as np
import pandas as pd

from keygenes.attention.sums import GENE_COUNTS, HEAD_MEASURES, LAYER_MEASURES, moments


def rank_table(sums, subset, first_rank):
    """Return table 'by_rank': a row per layer, head and rank that some cell reaches."""
    layers, heads = sums.shape[:2]
    reached = np.flatnonzero(sums.counts["rank_n"])
    layer, head, rank = np.meshgrid(np.arange(layers), np.arange(heads), reached, indexing="ij")
    n = np.broadcast_to(sums.counts["rank_n"][reached], layer.shape).ravel()
    total = sums.total("rank_sum")[..., reached].ravel()
    mean, sd = moments(total, sums.total("rank_squares")[..., reached].ravel(), n)
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
        }
    )


def gene_table(sums, subset, ensembl_ids, class_names, rank_offset):
    """Return table 'by_gene': a row per layer, head, class and gene that some cell expresses.

    Rows without layer and head hold the mean over all layers and heads (its sd is between
    cells).
    """
    layers, heads = sums.shape[:2]
    classes, genes = np.nonzero(sums.counts["gene_n"])
    flat = np.flatnonzero(sums.counts["gene_n"])
    n, rank_sum, rank_squares = (sums.counts[name].ravel()[flat] for name in GENE_COUNTS)
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


def well_table(sums, subset, ensembl_ids, well_names):
    """Return table 'by_well': attention received per gene and well, mean of layers and heads."""
    wells, genes = np.nonzero(sums.counts["well_n"])
    return pd.DataFrame(
        {
            "subset": subset,
            "well": pd.Categorical.from_codes(wells, well_names),
            "ensembl_id": pd.Categorical.from_codes(genes, ensembl_ids),
            "n_cells": sums.counts["well_n"][wells, genes].astype(int),
            "sum": sums.total("well_sum").reshape(sums.counts["well_n"].shape)[wells, genes],
        }
    )


def measure_table(sums, subset, measures):
    """Return a table with a row per layer, head and measure: the mean over cells of a cell's mean.

    Parameters
    ----------
    measures : sequence of str
        Of `HEAD_MEASURES`, or of `LAYER_MEASURES`, whose rows have no head.
    """
    layers, heads = sums.shape[:2]
    n = sums.counts["cells"][0]
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
