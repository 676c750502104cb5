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
    """Return the tables 'by_gene' and 'by_well' of one seed's test cells."""
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
    groups = of_cell.groupby(["well", "ensembl_id"])["received"]
    by_well = groups.agg(n_cells="count", sum="sum").reset_index().assign(subset="test")
    return {"by_gene": by_gene, "by_well": by_well}
