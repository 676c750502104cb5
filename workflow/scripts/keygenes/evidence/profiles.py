"""Where in the model, and where in a cell's order, each gene stands: what a click on it shows."""

import pandas as pd
import pyarrow.compute as pc

from keygenes.attention.subsets import TEST
from keygenes.core.tables import read_arrow
from keygenes.evidence.score import without_special_tokens


def _test_rows(path, columns, rows):
    """Return some columns of the test cells' rows of a table 'by_gene', special tokens left out."""
    chosen = (pc.field("subset") == TEST) & rows
    return without_special_tokens(read_arrow(path, columns=columns, filters=chosen).to_pandas())


def gene_ranks(paths):
    """Return table 'gene_ranks': the rank of every gene in the test cells of each class.

    Parameters
    ----------
    paths : dict {(fold, seed): path}
        Tables 'by_gene' of one regime. Where a gene stands does not depend on the training: of
        each fold one table is read.
    """
    columns = ["ensembl_id", "class", "n_cells", "rank_mean", "rank_sd"]
    of_folds = {fold: path for (fold, _), path in paths.items()}
    parts = [_test_rows(path, columns, pc.field("layer").is_null()) for path in of_folds.values()]
    table = pd.concat([part.astype({"ensembl_id": str}) for part in parts], ignore_index=True)
    classes = parts[0]["class"].cat.categories
    n, mean = table["n_cells"], table["rank_mean"]
    # sums, so that cells weigh the same; n - 1, as rank_sd is a sample's
    squares = table["rank_sd"].fillna(0) ** 2 * (n - 1) + n * mean**2
    sums = table.assign(total=n * mean, squares=squares, **{"class": table["class"].astype(str)})
    sums = sums.groupby(["ensembl_id", "class"])[["n_cells", "total", "squares"]].sum()
    found = pd.DataFrame({"n_cells": sums["n_cells"], "rank_mean": sums["total"] / sums["n_cells"]})
    spread = sums["squares"] - sums["n_cells"] * found["rank_mean"] ** 2
    several = sums["n_cells"] > 1
    found["rank_sd"] = (spread.clip(lower=0) / (sums["n_cells"] - 1).where(several)) ** 0.5
    found = found.reset_index()
    found["class"] = pd.Categorical(found["class"], classes)
    return found.sort_values(["ensembl_id", "class"], ignore_index=True)


def gene_heads(paths):
    """Return table 'gene_heads': the attention that every gene receives, per layer and head.

    Parameters
    ----------
    paths : dict {(fold, seed): path}
        As for `gene_ranks`. One is held at a time; a cell counts once, whatever the number of
        trainings of its fold.
    """
    keys = ["ensembl_id", "layer", "head"]
    trainings = pd.Series([fold for fold, _ in paths]).value_counts()
    sums = None
    for (fold, _), path in paths.items():
        part = _test_rows(path, [*keys, "n_cells", "sum"], pc.field("layer").is_valid())
        part = part.astype({"ensembl_id": str}).groupby(keys)[["n_cells", "sum"]].sum()
        part /= trainings[fold]
        sums = part if sums is None else sums.add(part, fill_value=0)
    sums["mean"] = sums["sum"] / sums["n_cells"]
    sums["n_cells"] = sums["n_cells"].round().astype(int)
    return sums.reset_index()[[*keys, "mean", "n_cells"]]
