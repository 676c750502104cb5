"""The key-gene table of the thesis (Figure 8) and attended against expressed genes (Figure 7)."""

import logging

import numpy as np
import pandas as pd
import scipy.stats

from keygenes.attention.subsets import TEST
from keygenes.core.files import written
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.gene_sets import membership, read_gene_set
from keygenes.evidence.tracks import (
    attention_tracks,
    expression_tracks,
    gene_totals,
    strongest_tests,
    wilcoxon_track,
)

log = logging.getLogger("keygenes")

SPECIAL = "<"


def without_special_tokens(by_gene):
    """Return the rows of genes: <cls> and <eos> receive attention but are no genes."""
    ids = by_gene["ensembl_id"].astype(str)
    return by_gene[~ids.str.startswith(SPECIAL)]


def min_max(values):
    """Return values scaled to [0, 1]; all zero where they do not vary."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def mean_ranks_by_class(by_gene):
    """Return the mean rank per gene and class: columns ``mean_rank_<class>``."""
    table = by_gene[(by_gene["subset"] == TEST) & by_gene["layer"].isna()]
    table = table.assign(weighted=table["rank_mean"] * table["n_cells"])
    sums = table.groupby(["ensembl_id", "class"], observed=True)[["weighted", "n_cells"]].sum()
    ranks = (sums["weighted"] / sums["n_cells"]).unstack("class")
    ranks.index = ranks.index.astype(str)
    return ranks.rename(columns=lambda name: f"mean_rank_{name}")


def key_genes(by_gene, genes, gene_sets):
    """Return every gene by falling total attention, with what the thesis's Figure 8 shows.

    Parameters
    ----------
    by_gene : table 'by_gene' of one regime, the seeds concatenated
        Each test cell once, so sums over seeds are sums over out-of-fold cells.
    genes : DataFrame
        ensembl_id, symbol; one row per gene.
    gene_sets : dict {name: set of ids and symbols}

    Returns
    -------
    DataFrame
        position, ensembl_id, symbol, attention (min-max scaled total), attention_total,
        attention_received (times uniform), n_cells, rank_mean, rank_sd, mean_rank_<class>...,
        in_<gene set>...
    """
    totals = gene_totals(by_gene)
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


def enrichment(flags, n_top):
    """Return how many of the first `n_top` genes are in a set, against chance.

    Parameters
    ----------
    flags : bool array [n_genes], in order of attention

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


def score_genes(
    *,
    by_gene,
    by_well,
    wilcoxon,
    vocabulary,
    gene_sets,
    out_genes,
    out_key_genes,
    out_attended,
    out_figure8,
    task,
    regime,
    n_key_genes,
):
    """Write a task's evidence table, its key genes and attended against expressed genes.

    Parameters
    ----------
    by_gene, by_well : dict {(regime, seed): path}
    gene_sets : dict {name: (path, registry entry)}
    out_figure8 : path-like
        The first `n_key_genes` key genes, as TSV.
    regime : str
        The regime whose attention makes the key-gene table.
    """
    genes = read_table(vocabulary)
    tests = read_table(wilcoxon)
    tests = tests[tests["task"] == task]
    tracks, of_regime = [wilcoxon_track(tests)], []
    for run, path in by_gene.items():
        table = without_special_tokens(read_table(path))
        wells = without_special_tokens(read_table(by_well[run]))
        tracks += attention_tracks(table, wells, *run)
        if run[0] == regime:
            of_regime.append(table)
    of_regime = pd.concat(of_regime, ignore_index=True)
    frame = pd.concat([*tracks, *expression_tracks(of_regime)], ignore_index=True)
    names = pd.concat([tests[["ensembl_id", "symbol"]], genes[["ensembl_id", "symbol"]]])
    names = names.drop_duplicates("ensembl_id", keep="first")
    frame = frame.merge(names, on="ensembl_id", how="left")
    frame["seed"] = frame["seed"].astype("Int64")
    write_table(frame, out_genes, "genes")

    sets = {name: read_gene_set(*where) for name, where in gene_sets.items()}
    keys = key_genes(of_regime, names, sets)
    write_table(keys, out_key_genes)
    write_table(attended_and_expressed(keys, tests), out_attended)
    for name in sets:
        result = enrichment(keys[f"in_{name}"].to_numpy(), n_key_genes)
        log.info(
            "%s: {found} of the {n_top} most attended genes, {expected:.2f} expected, "
            "p = {p:.3g}".format(**result),
            name,
        )
    with written(out_figure8) as part:
        keys.head(n_key_genes).to_csv(part, sep="\t", index=False, float_format="%.4g")
