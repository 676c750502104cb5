"""Gene sets: the genes that a list names, found again among those of the study."""

import logging

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.shown import gene_name
from keygenes.core.tables import read_table
from keygenes.inputs.gene_names import (
    AMBIGUOUS,
    AS_WRITTEN,
    KnownGenes,
    find_genes,
    given_names,
    kind_of_names,
)

log = logging.getLogger("keygenes")

NAMES = ("ensembl_id", "symbol")  # columns that name a gene, the surest first
# What became of a listed gene. Those that are listed again count once.
MATCHED, ABSENT, UNKNOWN, AGAIN = "matched", "not in the data", "unknown", "listed again"
STATUS = (MATCHED, AMBIGUOUS, ABSENT, UNKNOWN, AGAIN)
ENOUGH = 0.5  # share of a set in the data, below which all that is said of it is about a part


def read_gene_set(path, entry):
    """Return the genes that a gene set lists, a row each.

    Parameters
    ----------
    path : path-like
    entry : dict
        Its registry entry: ``format`` 'tsv' or 'parquet' (columns ensembl_id and/or symbol) or
        'gmt' (``set`` names the line).

    Returns
    -------
    DataFrame
        ensembl_id, symbol: as written but for blanks around them, None where missing. Of a GMT,
        whose names may be either, all stand under symbol.

    Raises
    ------
    InputError
        If the file cannot be read or lists no gene.
    """
    try:
        if entry["format"] == "gmt":
            with open(path, encoding="utf-8-sig") as handle:
                lines = [line.rstrip("\n").split("\t") for line in handle]
            table = {"symbol": [g for line in lines if line[0] == entry["set"] for g in line[2:]]}
            table = pd.DataFrame(table, dtype=object)
            found, expected = f"no line '{entry.get('set')}'", "a GMT file with that set"
        else:
            if entry["format"] == "parquet":
                table = pd.read_parquet(path)
            else:
                table = pd.read_csv(path, sep="\t", comment="#", dtype=str, encoding="utf-8-sig")
            table = table.rename(columns=lambda name: str(name).strip())
            found = f"columns {', '.join(table.columns)}"
            expected = "a column ensembl_id or symbol with genes in it"
        listed = pd.DataFrame({c: given_names(table[c]) for c in NAMES if c in table}, dtype=object)
    except (OSError, ValueError) as error:  # pandas', Arrow's and Unicode's are ValueErrors
        reason = " ".join(str(error).split())
        listed, found = pd.DataFrame(), f"an unreadable file ({reason})"
        expected = f"a {entry['format']} file"
    listed = listed.reindex(columns=list(NAMES)).dropna(how="all").drop_duplicates()
    if listed.empty:
        raise input_error(
            str(path),
            found=found,
            expected=expected,
            remedy="correct the file or its entry in the gene-set registry",
        )
    return listed.astype(object).where(listed.notna(), None).reset_index(drop=True)


def find_listed(listed, known):
    """Return what became of every gene that a set lists.

    A gene is looked up by its id, and by its symbol where the data have no such id.

    Parameters
    ----------
    listed : result of `read_gene_set`
    known : KnownGenes
        With the ids of the data.

    Returns
    -------
    DataFrame [n_listed]
        As table 'gene_set': name (as listed), ensembl_id (None where none is known), symbol, how
        (`inputs.gene_names.find_genes`), status (of `STATUS`).
    """
    table = pd.DataFrame(index=listed.index, columns=["name", "ensembl_id", "how"], dtype=object)
    inside = np.zeros(len(listed), bool)
    for column in NAMES:
        found = find_genes(listed[column], known)
        here = np.array([gene in known for gene in found["ensembl_id"]], dtype=bool)
        better = found["name"].notna() & (table["name"].isna() | (here & ~inside))
        table = table.where(~better, found[table.columns])
        inside |= here
    genes = table["ensembl_id"]
    status = np.select(
        [inside, genes.notna(), table["how"] == AMBIGUOUS], [MATCHED, ABSENT, AMBIGUOUS], UNKNOWN
    )
    again = genes.where(genes.notna(), table["name"]).duplicated()
    table["status"] = np.where(again, AGAIN, status)
    symbols = genes.map(known.symbol_of)
    table["symbol"] = symbols.where(symbols.notna(), listed["symbol"]).where(
        lambda s: s.notna(), table["name"]
    )
    table["symbol"] = table["symbol"].map(gene_name)
    return table.where(table.notna(), None)


def membership(ensembl_ids, symbols, members):
    """Return which genes are in a set: bool array [n_genes].

    Parameters
    ----------
    ensembl_ids, symbols : array-like of str [n_genes]
    members : set of str, or result of `read_gene_set`
        Ids and symbols; a set of which nothing is found is warned of.
    """
    if not isinstance(members, pd.DataFrame):
        members = pd.DataFrame({"ensembl_id": None, "symbol": sorted(members)}, dtype=object)
    table = find_listed(members, KnownGenes(ensembl_ids, symbols))
    inside = set(table.loc[table["status"] == MATCHED, "ensembl_id"])
    if not inside:
        log.warning(
            "of a set of %d genes (%s) none is among the %d here",
            *(len(table), kind_of_names(table["name"]), len(ensembl_ids)),
        )
    return pd.Series(np.asarray(ensembl_ids, dtype=object)).isin(inside).to_numpy()


def members_in(table):
    """Return the ids of the genes of a table 'gene_set' that are in the data: set of str."""
    return set(table.loc[table["status"].astype(str) == MATCHED, "ensembl_id"])


def read_members(path):
    """Return the `members_in` a file of a table 'gene_set'."""
    return members_in(read_table(path))


def set_counts(table):
    """Return what became of a set, in numbers.

    Parameters
    ----------
    table : table 'gene_set'

    Returns
    -------
    dict
        listed (each gene once), matched, other_name (of these, not by their id or symbol as it is
        written), ambiguous, not_in_data, unknown; lost (symbols that were not matched).
    """
    table = table.astype({"status": str, "how": str})
    once = table[table["status"] != AGAIN]
    n = once["status"].value_counts()
    matched = once[once["status"] == MATCHED]
    return {
        "listed": len(once),
        "matched": len(matched),
        "other_name": int((~matched["how"].isin(AS_WRITTEN)).sum()),
        "ambiguous": int(n.get(AMBIGUOUS, 0)),
        "not_in_data": int(n.get(ABSENT, 0)),
        "unknown": int(n.get(UNKNOWN, 0)),
        "lost": once.loc[once["status"] != MATCHED, "symbol"].tolist(),
    }


def is_partial(counts):
    """Return whether less than half of a set is in the data (result of `set_counts`)."""
    return counts["matched"] < ENOUGH * counts["listed"]
