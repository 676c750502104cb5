"""Attention of made-up cells, and the tables that the attention room makes of it."""

import itertools

import numpy as np
import pandas as pd

LAYERS, HEADS = 2, 3
GENES = [f"ENSG{j:011d}" for j in range(8)]
CLASSES = ["low", "high"]


def raw_attention(n_cells=40, seed=0, genes=GENES):
    """Return a row per cell, expressed gene, layer and head: attention received and the rank.

    The last gene is expressed in nine cells, the one before it in one; every cell lies in one of
    six wells, of which each holds cells of one class.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for cell in range(n_cells):
        expressed = [g for g in genes[:-2] if rng.random() < 0.8]
        expressed += [genes[-1]] if 10 <= cell < 19 else []
        expressed += [genes[-2]] if cell == 5 else []
        order = rng.permutation(expressed)
        for rank, gene in enumerate(order, 1):
            level = 1 + genes.index(gene) / 4 + (cell % 2) * rank / 5
            for layer, head in itertools.product(range(1, LAYERS + 1), range(1, HEADS + 1)):
                rows.append(
                    {
                        "cell": cell,
                        "class": CLASSES[cell % 2],
                        "well": f"W{cell % 6}",
                        "ensembl_id": gene,
                        "rank": rank,
                        "layer": layer,
                        "head": head,
                        "received": level * rng.gamma(4, 0.25),
                    }
                )
    return pd.DataFrame(rows)


def statistics(raw):
    """Return the tables 'by_gene' and 'by_well' of the test cells of one run."""
    of_cell = raw.groupby(["cell", "ensembl_id", "class", "well"], as_index=False).agg(
        received=("received", "mean"), rank=("rank", "first")
    )
    frames = []
    for keys, frame in (
        (["ensembl_id", "class"], of_cell),
        (["layer", "head", "ensembl_id", "class"], raw),
    ):
        groups = frame.groupby(keys)
        table = groups["received"].agg(n_cells="count", sum="sum", mean="mean", sd="std")
        table["rank_mean"], table["rank_sd"] = groups["rank"].mean(), groups["rank"].std()
        frames.append(table.reset_index())
    by_gene = pd.concat(frames, ignore_index=True).assign(subset="test")
    by_gene[["layer", "head"]] = by_gene[["layer", "head"]].astype("Int64")
    of_cell["log2"] = np.log2(of_cell["received"])
    of_cell["residual"] = of_cell["log2"] - 1
    by_well = of_cell.groupby(["well", "ensembl_id"], as_index=False).agg(
        n_cells=("received", "count"),
        sum=("received", "sum"),
        sum_log2=("log2", "sum"),
        sum_residual=("residual", "sum"),
    )
    by_well = by_well.assign(subset="test", sum_pair=np.nan)
    return {"by_gene": by_gene, "by_well": by_well}


def attributions(raw, tracks, seed=0):
    """Return the table 'well_scores' of made-up attributions, of a few cells per well."""
    rng = np.random.default_rng([seed, 1])
    few = raw.groupby("well")["cell"].unique().map(lambda cells: cells[:3]).explode()
    cells = raw[raw["cell"].isin(few)].drop_duplicates(["cell", "ensembl_id"])
    frames = []
    for name in tracks:
        value = rng.normal(0.2, 1.0, len(cells))
        frame = cells.assign(signed=value, absolute=np.abs(value))
        frame = frame.groupby(["well", "ensembl_id"], as_index=False).agg(
            n_cells=("signed", "count"), sum=("signed", "sum"), sum_absolute=("absolute", "sum")
        )
        frames.append(frame.assign(track=name))
    return pd.concat(frames, ignore_index=True)
