"""Every gene of a task in one row: its sets, its strongest comparison, its place on every track.

For whoever goes on with the genes in a spreadsheet, in R, in scanpy or on the page. It lies in this
room and not in the report's, as it joins tables of this room alone and is a table itself.
"""

import pandas as pd

from keygenes.core.schemas import GENE_TRACK
from keygenes.core.shown import printable
from keygenes.core.tracks import BASELINES, TRACKS, in_order
from keygenes.evidence.gene_sets import membership
from keygenes.evidence.tracks import strongest_tests

IN = "in_"  # starts the column of a gene set
PARTS = {**{part: part for part in GENE_TRACK}, "n": "n_cells"}  # column here: in table 'genes'


def leading_of(tracks, leading=None):
    """Return the track of some that genes are listed by.

    Parameters
    ----------
    tracks : list of str
        In their order.
    leading : str, optional
        It, where it is among them; else it is the first that is no baseline, else the test of
        differential expression.
    """
    first = next((name for name in tracks if name not in BASELINES), "wilcoxon")
    return leading if leading in tracks else first


def gene_table(genes, tests, gene_sets, regime, leading=None):
    """Return every gene that a task scores or tests, a row each.

    Parameters
    ----------
    genes : table 'genes' of the task
    tests : table 'wilcoxon' of the task
    gene_sets : dict {name: set of str}
    regime : str or None
        Whose tracks are shown, pooled over folds and seeds, beside those of no regime.
    leading : str, optional
        The track by which genes are listed, as `leading_of` takes it.

    Returns
    -------
    DataFrame
        With the columns of `schemas.gene_table_schema`; a gene that a track does not score has
        nothing there. In the order of the track that leads, then by id.
    """
    pooled = genes[genes["seed"].isna() & (genes["regime"].isna() | (genes["regime"] == regime))]
    names = pd.concat([part[["ensembl_id", "symbol"]] for part in (pooled, tests)])
    names = names.drop_duplicates("ensembl_id").astype(object)
    names["symbol"] = names["symbol"].fillna(names["ensembl_id"])
    columns = {"ensembl_id": names["ensembl_id"].to_numpy(), "symbol": names["symbol"].to_numpy()}

    def of_gene(frame, column):
        return frame.set_index("ensembl_id")[column].reindex(columns["ensembl_id"]).array

    of_track = {name: pooled[pooled["track"] == name] for name in in_order(pooled["track"])}
    detected = pd.Series(of_gene(of_track["detection"], "n_cells"))
    columns["n_cells"] = detected.fillna(0).astype("int64").array
    for name, members in gene_sets.items():
        columns[IN + name] = membership(columns["ensembl_id"], columns["symbol"], members)
    strongest = strongest_tests(tests).astype({"group": object})
    for name in ("group", "log2fc", "p_adj", "mean", "mean_reference"):
        columns[name] = of_gene(strongest, name)
    for name, frame in of_track.items():
        for part, column in PARTS.items():
            columns[f"{name}_{part}"] = of_gene(frame, column)
    whole = [f"{name}_{part}" for name in of_track for part in ("rank", "n")]
    table = pd.DataFrame(columns).astype(dict.fromkeys(whole, "Int64"))
    first = leading_of(list(of_track), leading)
    return table.sort_values([f"{first}_rank", "ensembl_id"], ignore_index=True)


def tracks_of(table):
    """Return the tracks that a gene table holds, in the order of its columns."""
    return [name.removesuffix("_score") for name in table.columns if name.endswith("_score")]


def sets_of(table):
    """Return the gene sets that a gene table knows, in the order of its columns."""
    return [name.removeprefix(IN) for name in table.columns if name.startswith(IN)]


def explained_columns(table, title, sets, readers=None):
    """Return what each column of a gene table holds.

    Parameters
    ----------
    table : result of `gene_table`
    title : str
        What the table is of; said first, beside the number of its genes.
    sets : dict {gene set: what it is}
    readers : dict {name: {'score', 'unit'}}, optional
        What the scores of readers are, whose tracks are called as they are.

    Returns
    -------
    DataFrame
        column ('all' for the table itself), meaning, unit, n_genes: genes with a value, of a gene
        set its members.
    """
    said = {
        "ensembl_id": ("Ensembl gene id without version", ""),
        "symbol": ("gene symbol of the dataset, or of the vocabulary where it gives none", ""),
        "n_cells": ("test cells looked at that have the gene among their tokens", "cells"),
        "group": ("class in which the gene stands out most; of two classes the last", ""),
        "log2fc": ("log2 fold change of `group` against all other cells", "log2 ratio"),
        "p_adj": (
            "rank-sum test behind log2fc, Benjamini-Hochberg over genes; between cells, which are "
            "no replicates of each other",
            "probability",
        ),
        "mean": ("mean expression in `group`", "counts per 10,000"),
        "mean_reference": ("mean expression in all other cells", "counts per 10,000"),
    }
    said |= {IN + name: (f"member of: {sets[name]}", "") for name in sets_of(table)}
    scores = {track.name: (track.score, track.unit) for track in TRACKS.values()}
    scores |= {name: (of["score"], of["unit"]) for name, of in (readers or {}).items()}
    for name in tracks_of(table):
        meaning, unit = map(printable, scores[name])
        said |= {
            f"{name}_score": (meaning, unit),
            f"{name}_rank": (f"rank by {name}_score, 1 is the most key", "rank"),
            f"{name}_q": (
                "test between wells behind the track, Benjamini-Hochberg over genes; empty where "
                "the track has none",
                "probability",
            ),
            f"{name}_n": (f"cells behind {name}_score", "cells"),
        }
    rows = [("all", title, "", len(table))]
    for name in table.columns:
        column = table[name]
        n = column.sum() if name.startswith(IN) else column.notna().sum()
        rows.append((name, *said[name], int(n)))
    return pd.DataFrame(rows, columns=["column", "meaning", "unit", "n_genes"])
