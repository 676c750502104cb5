"""The orders in which genes are masked: of one cell's own scores, or of genes over all cells."""

import numpy as np

from keygenes.attention.subsets import TEST
from keygenes.core.tracks import ATTENTION, TRACKS

OF_RANKS = "expression"  # the order in which a cell's genes stand


def ordered(scores):
    """Return places by falling score, ties by place, missing scores last: int array [n]."""
    scores = np.asarray(scores, float)
    return np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")


def gene_orders(wilcoxon, task, ensembl_ids, cells):
    """Return scores per token of orders that need no model: {'wilcoxon', 'detection'}.

    Parameters
    ----------
    wilcoxon : table 'wilcoxon'
    ensembl_ids : array of str [n_tokens]
    cells : list of int arrays
        In which detection is counted.

    Returns
    -------
    dict of float arrays [n_tokens]
        wilcoxon: the largest |z| of any class against the rest, NaN where not tested.
    """
    tests = wilcoxon[(wilcoxon["task"] == task) & (wilcoxon["reference"] == "rest")]
    strongest = tests["statistic"].abs().groupby(tests["ensembl_id"]).max()
    detected = np.bincount(np.concatenate(cells), minlength=len(ensembl_ids))
    return {
        "wilcoxon": strongest.reindex(ensembl_ids).to_numpy(),
        "detection": detected.astype(float),
    }


def attention_orders(by_well, ensembl_ids, tracks):
    """Return scores per token of the tracks of attention that are asked for, over all test cells.

    What a cell's genes receive in it is tested as an order of its own; these rank genes as the
    evidence table does, and are all that some tracks are defined for.

    Parameters
    ----------
    by_well : table 'by_well'
    ensembl_ids : array of str [n_tokens]

    Returns
    -------
    dict {track: float array [n_tokens]}
        NaN where a gene is in no test cell.
    """
    sums = by_well[by_well["subset"] == TEST].groupby("ensembl_id", observed=True)
    sums = sums[["n_cells", "sum", "sum_residual", "sum_pair"]].sum(min_count=1)
    scores = {
        track.name: sums[track.column] / (sums["n_cells"] if track.mean else 1)
        for track in map(TRACKS.get, ATTENTION)
        if track.passes == "none"
    }
    return {
        track: score.reindex(ensembl_ids).to_numpy(float)
        for track, score in scores.items()
        if track in tracks and score.notna().any()
    }


def orders_of(cell, genes, of_cell, of_genes, sign, turned=None):
    """Return the orders of a cell's genes that are held against random ones.

    Parameters
    ----------
    cell : int array [L]
    genes : int array [n]
        Positions of the genes that may be masked.
    of_cell : dict {track: float array [L]}
        A signed track puts first what speaks for the answer that the model gives.
    of_genes : dict {name: float array [n_tokens]}
    sign : float
        Of F in the cell.
    turned : str, optional
        The track that is also tried from its end, in cells that have it.

    Returns
    -------
    dict {name: int array [n]}
        Of places in `genes`.
    """
    orders = {
        track: ordered((sign if TRACKS[track].signed else 1) * scores[genes])
        for track, scores in of_cell.items()
    }
    if turned in orders:
        orders[f"{turned}_reversed"] = orders[turned][::-1]
    orders[OF_RANKS] = np.arange(len(genes))
    return orders | {name: ordered(scores[cell[genes]]) for name, scores in of_genes.items()}
