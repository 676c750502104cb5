"""The key genes of a task: in the order of a track, and beside their expression (Figures 7, 8)."""

import logging

import numpy as np
import pandas as pd
import scipy

from keygenes.attention.subsets import TEST
from keygenes.evidence.gene_sets import membership
from keygenes.evidence.tracks import gene_totals, strongest_tests

log = logging.getLogger("keygenes")


def min_max(values):
    """Return values scaled to [0, 1]; all zero where they do not vary."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def mean_ranks_by_class(by_gene):
    """Return the mean rank per gene and class: columns ``mean_rank_<class>``."""
    table = by_gene[(by_gene["subset"] == TEST) & by_gene["layer"].isna()]
    n = table["n_cells"] * table.get("share", 1)
    table = table.assign(n_cells=n, weighted=table["rank_mean"] * n)
    sums = table.groupby(["ensembl_id", "class"], observed=True)[["weighted", "n_cells"]].sum()
    ranks = (sums["weighted"] / sums["n_cells"]).unstack("class")
    ranks.index = ranks.index.astype(str)
    return ranks.rename(columns=lambda name: f"mean_rank_{name}")


def key_genes(by_gene, genes, gene_sets, places=None):
    """Return every gene by falling total attention, with what the thesis's Figure 8 shows.

    Parameters
    ----------
    by_gene : tables 'by_gene' of the runs of one regime, as `counted_once` joins them
        Each test cell counts once.
    genes : DataFrame
        ensembl_id, symbol; one row per gene.
    gene_sets : dict {name: set of str}
    places : int, optional
        Layers x heads, where `by_gene` has no rows per layer and head.

    Returns
    -------
    DataFrame
        position, ensembl_id, symbol, attention (min-max scaled total), attention_total,
        attention_received (times uniform), n_cells, rank_mean, rank_sd, mean_rank_<class>...,
        in_<gene set>...
    """
    totals = gene_totals(by_gene, places)
    frame = totals.reset_index().sort_values(
        ["total", "ensembl_id"], ascending=[False, True], kind="stable"
    )
    frame = frame.merge(genes[["ensembl_id", "symbol"]], on="ensembl_id", how="left")
    frame.insert(0, "position", np.arange(1, len(frame) + 1))
    frame["attention"] = min_max(frame["total"].to_numpy())
    frame = frame.merge(
        mean_ranks_by_class(by_gene), left_on="ensembl_id", right_index=True, how="left"
    )
    for name, members in gene_sets.items():
        frame[f"in_{name}"] = membership(frame["ensembl_id"], frame["symbol"], members)
    frame = frame.rename(columns={"total": "attention_total", "received": "attention_received"})
    first = ["position", "ensembl_id", "symbol", "attention", "attention_total"]
    rest = [c for c in frame.columns if c not in first and c != "sd"]
    return frame[first + rest]


def listed_genes(leading, totals, by_gene, genes, gene_sets):
    """Return every gene in the order of a track, with what `key_genes` says but for attention.

    Parameters
    ----------
    leading : DataFrame
        Pooled rows of one track of table 'genes'.
    totals : result of `gene_totals`
    by_gene, genes, gene_sets
        As for `key_genes`.

    Returns
    -------
    DataFrame
        position, ensembl_id, symbol, score, n_cells, rank_mean, rank_sd, mean_rank_<class>...,
        in_<gene set>...
    """
    frame = leading.sort_values("rank")[["ensembl_id", "score"]].reset_index(drop=True)
    frame.insert(0, "position", np.arange(1, len(frame) + 1))
    frame.insert(2, "symbol", frame["ensembl_id"].map(genes.set_index("ensembl_id")["symbol"]))
    known = pd.concat(
        [totals[["n_cells", "rank_mean", "rank_sd"]], mean_ranks_by_class(by_gene)], axis=1
    )
    frame = frame.merge(known, left_on="ensembl_id", right_index=True, how="left")
    frame["n_cells"] = frame["n_cells"].fillna(0).astype(int)
    for name, members in gene_sets.items():
        frame[f"in_{name}"] = membership(frame["ensembl_id"], frame["symbol"], members)
    return frame


def key_gene_table(genes, about, names, gene_sets, leading):
    """Return a task's key genes: by attention, or where there is none, in the order of a track.

    Parameters
    ----------
    genes : table 'genes'
    about : score.Totals
    names, gene_sets
        As of `key_genes`.
    leading : str
        The track.
    """
    if about.places:
        return key_genes(about.by_gene, names, gene_sets, about.places)
    pooled = genes[(genes["track"] == leading) & genes["seed"].isna()]
    return listed_genes(pooled, about.of_seeds[None], about.by_gene, names, gene_sets)


def enrichment(flags, n_top):
    """Return how many of the first `n_top` genes are in a set, against chance.

    Parameters
    ----------
    flags : bool array [n_genes], in the order of a track

    Returns
    -------
    dict
        found, n_top, expected (base rate x n_top), p (hypergeometric, one-sided), base_rate,
        n_genes.
    """
    n_top = min(n_top, len(flags))
    found, members = int(flags[:n_top].sum()), int(flags.sum())
    return {
        "found": found,
        "n_top": n_top,
        "expected": n_top * members / len(flags),
        "p": float(scipy.stats.hypergeom.sf(found - 1, len(flags), members, n_top)),
        "base_rate": members / len(flags),
        "n_genes": len(flags),
    }


def attended_and_expressed(keys, wilcoxon):
    """Return attention rank beside differential-expression rank of every gene (Figure 7).

    Parameters
    ----------
    keys : result of `key_genes`
    wilcoxon : table 'wilcoxon' of one task
        The comparison of each class with the rest; a gene counts with its strongest class.
    """
    frame = strongest_tests(wilcoxon)
    frame["de_rank"] = np.arange(1, len(frame) + 1)
    columns = ["ensembl_id", "de_rank", "log2fc", "auc", "p_adj", "abs_statistic", "group"]
    columns = frame[columns].astype({"group": str})
    keys = keys.rename(columns={"position": "attention_rank"}).drop(
        columns=["rank_mean", "rank_sd"]
    )
    return keys.merge(columns, on="ensembl_id", how="inner")


def log_enrichment(keys, gene_sets, n_top):
    """Log how many of the first `n_top` key genes are in each gene set."""
    for name in gene_sets:
        result = enrichment(keys[f"in_{name}"].to_numpy(), n_top)
        log.info(
            "%s: {found} of the {n_top} first genes, {expected:.2f} expected, p = {p:.3g}".format(
                **result
            ),
            name,
        )
