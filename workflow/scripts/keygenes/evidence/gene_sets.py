"""Gene sets: which genes belong to a known list."""

import pandas as pd

from keygenes.core.errors import input_error


def read_gene_set(path, entry):
    """Return the Ensembl ids and symbols of a gene set as one set of strings.

    Parameters
    ----------
    path : path-like
    entry : dict
        Its registry entry: ``format`` 'tsv' or 'parquet' (columns ensembl_id and/or symbol) or
        'gmt' (``set`` names the line).
    """
    try:
        if entry["format"] == "gmt":
            with open(path, encoding="utf-8") as handle:
                lines = [line.rstrip("\n").split("\t") for line in handle]
            members = {g for line in lines if line[0] == entry["set"] for g in line[2:] if g}
            found, expected = f"no line '{entry.get('set')}'", "a GMT file with that set"
        else:
            if entry["format"] == "parquet":
                table = pd.read_parquet(path)
            else:
                table = pd.read_csv(path, sep="\t", comment="#", dtype=str)
            columns = [c for c in ("ensembl_id", "symbol") if c in table]
            members = {v for c in columns for v in table[c].dropna()}
            found = f"columns {', '.join(table.columns)}"
            expected = "a column ensembl_id or symbol with genes in it"
    except (OSError, ValueError) as error:  # pandas', Arrow's and Unicode's are ValueErrors
        reason = " ".join(str(error).split())
        members, found, expected = (
            set(),
            f"an unreadable file ({reason})",
            f"a {entry['format']} file",
        )
    if not members:
        raise input_error(
            str(path),
            found=found,
            expected=expected,
            remedy="correct the file or its entry in the gene-set registry",
        )
    return {m.split(".")[0] if m.startswith("ENSG") else m for m in members}


def membership(ensembl_ids, symbols, members):
    """Return which genes are in a set, by id or by symbol: bool array [n_genes]."""
    return pd.Series(ensembl_ids).isin(members).to_numpy() | (
        pd.Series(symbols).isin(members).to_numpy()
    )
