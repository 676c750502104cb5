"""A list of genes with classes: read from a table, and found again among the tokens."""

import csv
import logging

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.shown import gene_name
from keygenes.core.tables import read_table, write_table
from keygenes.inputs.genes import clean_ids
from keygenes.tokens.store import read_tokens
from keygenes.tokens.vocabulary import is_special

log = logging.getLogger("keygenes")

REGISTRY = "the entry under 'gene_classes' of the gene-set registry"


def read_listed(path):
    """Return a table of genes as text: comma or tab between columns, ``#`` before a comment.

    Raises
    ------
    InputError
        If the file is no such table, or names genes by neither ensembl_id nor symbol.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            lines = (line for line in handle if line.strip() and not line.startswith("#"))
            header = next(lines, "")
            delimiter = "\t" if "\t" in header else ","
            columns = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            rows = list(csv.reader(lines, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise input_error(
            str(path),
            found=f"a file that cannot be read ({reason})",
            expected="a table of genes as TSV or CSV",
            remedy="correct the file or its path in the gene-set registry",
        ) from error
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise input_error(
            str(path),
            found=f"the column '{repeated[0]}' twice",
            expected="different names in the header",
            remedy="rename one",
        )
    short = next((i for i, row in enumerate(rows) if len(row) != len(columns)), None)
    if short is not None:
        raise input_error(
            str(path),
            found=f"{len(rows[short])} values in row {short + 1} of the table",
            expected=f"{len(columns)}, one per column of its header",
            remedy="correct the row",
        )
    table = pd.DataFrame(rows, columns=columns, dtype=str).apply(lambda column: column.str.strip())
    if not {"ensembl_id", "symbol"} & set(columns) or table.empty:
        raise input_error(
            str(path),
            found=f"{len(table)} rows with the columns {', '.join(columns) or '(none)'}",
            expected="genes under a column ensembl_id or symbol",
            remedy="rename the column that holds them",
        )
    return table


def classes_of(table, classes, path):
    """Return the class of every row of a table of genes, missing where none fits.

    Parameters
    ----------
    table : DataFrame of str
    classes : dict {class: {column: [values]}}
        A row is in a class if each of these columns has one of its values.

    Returns
    -------
    pandas.Categorical [n_rows], classes in the order in which they are given

    Raises
    ------
    InputError
        If a column is unknown, a class has no gene, or a gene is in two classes.
    """
    codes = np.full(len(table), -1)
    names = table["ensembl_id" if "ensembl_id" in table else "symbol"].to_numpy()
    for code, (name, conditions) in enumerate(classes.items()):
        mask = np.ones(len(table), bool)
        for column, values in conditions.items():
            if column not in table:
                raise input_error(
                    f"{path}, class '{name}'",
                    found=f"no column '{column}'",
                    expected=f"one of {', '.join(table.columns)}",
                    remedy=f"correct {REGISTRY}",
                )
            mask &= table[column].isin([str(value) for value in values]).to_numpy()
        if not mask.any():
            raise input_error(
                f"{path}, class '{name}'",
                found="no gene",
                expected=f"rows with {conditions}",
                remedy=f"correct the values in {REGISTRY}",
            )
        twice = np.flatnonzero(mask & (codes >= 0))
        if len(twice):
            other = list(classes)[codes[twice[0]]]
            raise input_error(
                str(path),
                found=f"{names[twice[0]]} in the classes '{other}' and '{name}' ({len(twice)} such "
                "genes)",
                expected="every gene in one class",
                remedy=f"correct the table or {REGISTRY}",
            )
        codes[mask] = code
    return pd.Categorical.from_codes(codes, list(classes))


def find_tokens(table, vocabulary, path):
    """Return the gene of every row of a list: its id, symbol and token.

    Parameters
    ----------
    table : DataFrame of str
        With a column ensembl_id (versions are stripped), or else symbol.
    vocabulary : table 'vocabulary'

    Returns
    -------
    DataFrame [n_rows]
        ensembl_id, symbol, token; outside the vocabulary the token is missing, and what the list
        does not say is empty.

    Raises
    ------
    InputError
        If a gene is listed twice, a symbol names two genes, or no gene is in the vocabulary.
    """
    key = "ensembl_id" if "ensembl_id" in table else "symbol"
    given = table[key].to_numpy(object)
    if (given == "").any():
        raise input_error(
            f"{path}, column '{key}'",
            found=f"{(given == '').sum()} rows without a gene",
            expected="a gene in every row that has a class",
            remedy="fill them in or remove the rows",
        )
    given = clean_ids(given)[0] if key == "ensembl_id" else given
    repeated = pd.Series(given)[pd.Series(given).duplicated()].unique()
    if len(repeated):
        raise input_error(
            f"{path}, column '{key}'",
            found=f"{repeated[0]!r} twice ({len(repeated)} such genes)",
            expected="a row per gene",
            remedy="remove the other rows",
        )
    genes = vocabulary[~is_special(vocabulary["ensembl_id"])]
    known = genes[genes[key].isin(given)]
    several = known.loc[known[key].duplicated(), key].unique()
    if len(several):
        raise input_error(
            f"{path}, column '{key}'",
            found=f"{several[0]!r}, which names {(known[key] == several[0]).sum()} genes of the "
            "vocabulary",
            expected="names that stand for one gene",
            remedy="list the genes by a column ensembl_id",
        )
    if known.empty:
        raise input_error(
            f"{path}, column '{key}'",
            found=f"no gene of the vocabulary among {len(given)}, such as {given[0]!r}",
            expected="human genes as in 'tokens.vocabulary'",
            remedy="check the column's ids",
        )
    known = known.set_index(key).reindex(given)
    other = "symbol" if key == "ensembl_id" else "ensembl_id"
    fallback = table[other].to_numpy(object) if other in table else ""
    return pd.DataFrame(
        {
            key: given,
            other: known[other].where(known[other].notna(), fallback).to_numpy(object),
            "token": known["token"].astype("Int64").to_numpy(),
        }
    )


def cells_with(cells, n_tokens):
    """Return in how many cells each token stands: int array [n_tokens].

    In upstream mode a gene can stand in a cell twice.
    """
    seen = np.zeros(n_tokens, int)
    for cell in cells:
        seen[cell] += 1  # once, however often it is indexed
    return seen


def label_genes(*, genes, tokens, vocabulary, out_genes, classes):
    """Write table 'gene_classes': the listed genes that have a class, and who expresses them.

    Parameters
    ----------
    genes : path-like
        The list, TSV or CSV.
    tokens, vocabulary : path-like
    out_genes : path-like
    classes : dict {class: {column: [values]}}
    """
    table = read_listed(genes)
    of_class = classes_of(table, classes, genes)
    listed = of_class.codes >= 0
    frame = find_tokens(table[listed].reset_index(drop=True), read_table(vocabulary), genes)
    _, ids, offsets = read_tokens(tokens)
    n_tokens = 1 + max(int(frame["token"].max()), int(ids.max(initial=0)))
    seen = cells_with(np.split(ids, offsets[1:-1]), n_tokens)
    frame["symbol"] = frame["symbol"].map(gene_name)
    known = frame["token"].notna()
    frame["n_cells"] = 0
    frame.loc[known, "n_cells"] = seen[frame.loc[known, "token"].astype(int)]
    frame["class"] = of_class[listed]
    for name, part in frame.groupby("class", observed=False):
        log.info(
            "class %s: %d genes listed, %d in the vocabulary, %d expressed in the study's cells",
            *(name, len(part), part["token"].notna().sum(), (part["n_cells"] > 0).sum()),
        )
    write_table(frame, out_genes, "gene_classes")
