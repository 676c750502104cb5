"""Which test cells have a gene among their tokens, and at which rank: what needs no model."""

import numpy as np
import pandas as pd

from keygenes.attention.subsets import TEST
from keygenes.cells.units import well_codes
from keygenes.tokens.store import read_tokens

SPECIAL = "<"


def counted_genes(cells, ids, offsets, vocabulary):
    """Return a row for every gene of every cell.

    Parameters
    ----------
    cells : DataFrame, indexed by cell
        Those to count, with any columns to keep.
    ids, offsets : int arrays
        Tokens of the cells, one after the other, as `tokens.store.read_tokens` reads them.
    vocabulary : table 'vocabulary'

    Returns
    -------
    DataFrame
        ensembl_id (categorical), rank (from 1; a leading special token has none), and the columns
        of `cells`.
    """
    size = int(max(vocabulary["token"].max(), ids.max(initial=0))) + 1
    names = np.full(size, "", object)
    names[vocabulary["token"]] = vocabulary["ensembl_id"].astype(str)
    special = np.char.startswith(names.astype(str), SPECIAL)
    lengths = np.diff(offsets)
    owner = np.repeat(np.arange(len(cells)), lengths)
    place = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    leading = special[ids[offsets[:-1]]] if len(cells) else np.zeros(0, bool)
    gene = ~special[ids]
    frame = cells.iloc[owner[gene]].reset_index(drop=True)
    frame["ensembl_id"] = pd.Categorical(names[ids[gene]])
    frame["rank"] = (place + 1 - leading[owner])[gene]
    return frame


def moments_by(frame, keys):
    """Return n_cells, rank_mean and rank_sd (of a sample) of a frame of `counted_genes`."""
    ranks = frame.groupby(keys, observed=True)["rank"]
    found = ranks.agg(n_cells="size", rank_mean="mean", rank_sd="std")
    return found.reset_index()


def count_genes(tokens, vocabulary, labels, splits, obs):
    """Return tables 'by_gene' and 'by_well' of a fold's test cells, without any attention.

    Parameters
    ----------
    tokens : path-like
        Token table.
    vocabulary : table 'vocabulary'
    labels : categorical Series, indexed by cell
        Cells without a class are left out.
    splits : table 'splits' of one fold
    obs : DataFrame, indexed by cell
        Its `well` is used where there is one (`cells.units.well_codes`).

    Returns
    -------
    by_gene, by_well : DataFrame
        As `attention.tables` makes them, the rows over all layers and heads alone, their sums,
        means and deviations of attention missing.
    """
    named, ids, offsets = read_tokens(tokens)
    tested = set(splits.loc[splits["split"].astype(str) == TEST, "cell"])
    tested &= set(labels.dropna().index)
    kept = np.array([name in tested for name in named])
    chosen = ids[np.repeat(kept, np.diff(offsets))]
    lengths = np.diff(offsets)[kept]
    cells = pd.DataFrame(index=np.array(named, object)[kept])
    of_cells = labels.reindex(cells.index).cat
    cells["class"] = pd.Categorical.from_codes(of_cells.codes, list(of_cells.categories))
    cells["well"] = well_codes(obs, cells.index)
    each = counted_genes(cells, chosen, np.concatenate([[0], np.cumsum(lengths)]), vocabulary)
    by_gene = moments_by(each, ["class", "ensembl_id"])
    by_well = each.groupby(["well", "ensembl_id"], observed=True).size().rename("n_cells")
    missing = dict.fromkeys(("sum", "mean", "sd"), np.nan)
    by_gene = by_gene.assign(subset=TEST, layer=pd.NA, head=pd.NA, **missing)
    missing = dict.fromkeys(("sum", "sum_log2", "sum_residual", "sum_pair"), np.nan)
    return (
        by_gene.astype({"layer": "Int64", "head": "Int64"}),
        by_well.reset_index().assign(subset=TEST, **missing),
    )
