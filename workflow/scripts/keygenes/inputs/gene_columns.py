"""Which gene each column of a matrix is: by its Ensembl id, or by its symbol."""

import logging

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.shown import LONGEST_ID, gene_name, shortened, unfit_name
from keygenes.inputs.gene_names import (
    AMBIGUOUS,
    ID,
    NO_NAME,
    SYMBOL,
    UNKNOWN,
    KnownGenes,
    find_genes,
    given_names,
    kind_of_names,
    one_name_per_gene,
)
from keygenes.inputs.genes import clean_ids

log = logging.getLogger("keygenes")

NO_ID, OTHER_ID, REPEATED_ID = "no id", "other id", "repeated id"
LEFT_OUT = {  # why a column is no gene of the canonical matrix
    NO_ID: "without an id",
    REPEATED_ID: "with an id that is no Ensembl id and stands there more than once",
    UNKNOWN: "with a symbol that no dictionary knows",
    AMBIGUOUS: "with a symbol that may be several genes",
    NO_NAME: "without a symbol",
}
N_EXAMPLES = 5
COLUMNS = ["name", "ensembl_id", "symbol", "how"]


def require_names(names, what, path):
    """Raise an `InputError` if one of some names (or None) is too long or cannot be seen."""
    given = ["" if name is None else name for name in names]
    if unfit := unfit_name(given):
        raise input_error(
            str(path),
            found=f"a {what} that is none, {unfit[1]}: {shortened(given[unfit[0]], 40)!r}",
            expected=f"at most {LONGEST_ID} characters, all of which can be seen",
            remedy="rename it in the file",
        )


def columns_by_id(ids, symbols, path):
    """Return which gene each column is, by its id.

    An Ensembl id counts without its version. Any other id stands for itself (a spike-in, a
    transgene) if no second column has it: nothing says that two such columns are one gene.

    Parameters
    ----------
    ids : array-like of str or missing, [n_genes]
    symbols : array-like of str or missing, [n_genes], or None
    path : path-like
        For messages.

    Returns
    -------
    DataFrame [n_genes]
        name (the id as supplied; None where missing), ensembl_id (None for a column that is left
        out), symbol (the id where there is none), how.

    Raises
    ------
    InputError
        If fewer than half of the columns have Ensembl ids.
    """
    given = np.array([str(one) for one in ids], dtype=object)
    missing = np.array([one is None for one in given_names(ids)], dtype=bool)
    require_names(given, "gene id", path)
    cleaned, is_ensembl = clean_ids(given)
    _require_genes(given, path)
    if is_ensembl.mean() < 0.5:
        _refuse_ids(given, missing, is_ensembl, path)
    repeated = ~is_ensembl & ~missing & pd.Series(cleaned).duplicated(keep=False).to_numpy()
    shown = cleaned if symbols is None else given_names(symbols)
    nameless = np.where(missing, "(no symbol)", cleaned)
    if n_others := int((~is_ensembl & ~missing & ~repeated).sum()):
        example = given[~is_ensembl & ~missing & ~repeated][0]
        log.info("%s: %d ids are no Ensembl ids, and stay: %s, ...", path, n_others, example)
    return pd.DataFrame(
        {
            "name": np.where(missing, None, given),
            "ensembl_id": np.where(missing | repeated, None, cleaned),
            "symbol": _shown(np.where(missing & (symbols is None), None, shown), nameless),
            "how": np.select([is_ensembl, missing, repeated], [ID, NO_ID, REPEATED_ID], OTHER_ID),
        },
        dtype=object,
    )


def columns_by_symbol(symbols, names, path):
    """Return which gene each column is, by its symbol.

    Parameters
    ----------
    symbols : array-like of str or missing, [n_genes]
    names : table 'gene_names', or None
        What the model's dictionaries call which gene.
    path : path-like
        For messages.

    Returns
    -------
    DataFrame [n_genes]
        name (the symbol as supplied), ensembl_id (None for a column that is left out), symbol (that
        of the dictionary where the name is another one), how.

    Raises
    ------
    InputError
        If there is no dictionary, or fewer than half of the columns are found in it.
    """
    given = given_names(symbols)
    require_names(["" if name is None else name for name in given], "gene symbol", path)
    _require_genes(given, path)
    is_ensembl = clean_ids(given)[1]
    if is_ensembl.mean() >= 0.5:
        return columns_by_id(symbols, None, path)
    if names is None:
        known = [name for name in given if name is not None]
        raise _ids_wanted(_symbols(known or [""], is_ensembl), path, "add one")
    known = KnownGenes(names=names)
    found = one_name_per_gene(find_genes(given, known))
    mapped = found["ensembl_id"].notna()
    if mapped.mean() < 0.5:
        raise input_error(
            str(path),
            found=f"{kind_of_names(found.loc[~mapped, 'name'])}; of {len(found):,} symbols, "
            f"{mapped.sum():,} are those of a human gene",
            expected="human gene symbols, at least half of which the model's dictionaries know",
            remedy="name the column of var that has symbols under 'columns: symbol:' in the "
            "dataset registry, or one with Ensembl ids under 'columns: ensembl_id:'",
        )
    how = ", ".join(f"{n:,} by {way}" for way, n in found.loc[mapped, "how"].value_counts().items())
    log.info("%s: %d of %d symbols mapped to Ensembl ids: %s", path, mapped.sum(), len(found), how)
    official = found["ensembl_id"].map(known.symbol_of)
    as_given = found["how"].isin([SYMBOL, ID]) | official.isna()
    symbol = found["name"].where(as_given, official)
    found["symbol"] = _shown(symbol, found["ensembl_id"].fillna("(no symbol)"))
    return found[COLUMNS].astype(object)


def left_out(genes):
    """Return in words which columns are left out, why, and examples; '' if none is.

    Parameters
    ----------
    genes : result of `columns_by_id` or `columns_by_symbol`
        Or the rows of it in ``uns["named_genes"]``, where an empty text stands for None.
    """
    lost = genes[_lost(genes)]
    parts = []
    for how, rows in lost.groupby("how", sort=False, observed=True):
        symbols = [str(symbol) for symbol in rows["symbol"].head(N_EXAMPLES)]
        more = ", ..." if len(rows) > N_EXAMPLES else ""
        parts.append(f"{len(rows):,} {LEFT_OUT[how]} ({', '.join(symbols)}{more})")
    return "; ".join(parts)


def n_left_out(genes):
    """Return how many columns are left out."""
    return int(_lost(genes).sum())


def noted(genes):
    """Return the rows to be kept with a matrix: all that is not read by an Ensembl id; text alone.

    An empty text stands for what is missing, as in the h5ad.
    """
    odd = genes[(genes["how"] != ID).to_numpy()]
    return odd.fillna("").astype(str).reset_index(drop=True)


def _lost(genes):
    return (genes["ensembl_id"].isna() | (genes["ensembl_id"].astype(str) == "")).to_numpy()


def _shown(symbols, fallback):
    pairs = zip(symbols, fallback, strict=True)
    return [gene_name(other if pd.isna(symbol) else symbol) for symbol, other in pairs]


def _require_genes(given, path):
    if not len(given):
        raise input_error(
            str(path), found="no gene", expected="a gene per column", remedy="check the file"
        )


def _refuse_ids(given, missing, is_ensembl, path):
    if missing.sum() > (~is_ensembl & ~missing).sum():
        found = f"no id for {missing.sum():,} of {len(given):,} genes"
    else:
        found = _symbols(given[~is_ensembl & ~missing], is_ensembl)
    raise _ids_wanted(found, path, "write 'ensembl_id: null' and name that of symbols at 'symbol:'")


def _symbols(names, is_ensembl):
    return (
        f"symbols or other names ({names[0]!r}; {is_ensembl.mean():.0%} of {len(is_ensembl):,} "
        "gene ids are Ensembl ids)"
    )


def _ids_wanted(found, path, remedy):
    return input_error(
        str(path),
        found=found,
        expected="Ensembl gene ids such as 'ENSG00000141510'",
        remedy="name the column that has them under 'columns: ensembl_id:' in the dataset "
        f"registry, or {remedy}",
    )
