"""Several canonical matrices as one."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import input_error
from keygenes.core.matrices import read_annotation, read_blocks
from keygenes.core.matrix_file import matrix_file
from keygenes.core.values import plain_column, texts_of, value_text
from keygenes.inputs.canonical import UNASSIGNED

log = logging.getLogger("keygenes")


def _repeated(parts, names_of):
    """Return the names that occur in more than one part."""
    names = [name for part in parts.values() for name in set(names_of(part))]
    return {name for name, n in pd.Series(names, dtype=object).value_counts().items() if n > 1}


def _prefixed(names, dataset, clashes):
    """Return names as text, with the dataset before those of all if one of them clashes."""
    text = pd.Series(np.asarray(names, dtype=object))
    return (dataset + "_" + text.astype(str)).where(text.notna(), None) if clashes else text


def _symbols(parts, ids):
    """Return a symbol per id: the first that is more than the id itself."""
    found = pd.concat([part.var["symbol"].astype(object) for part in parts.values()])
    named = found[found.to_numpy() != found.index.to_numpy()]
    named = named[~named.index.duplicated()]
    return named.reindex(ids).fillna(pd.Series(ids, ids)).to_numpy(object)


def _is_number(column):
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _column(pieces, sizes):
    """Return a column of obs from what some of the datasets have of it.

    Parameters
    ----------
    pieces : dict {dataset: Series}
    sizes : dict {dataset: number of cells}

    Returns
    -------
    Series or pandas.Categorical
        Numbers if it is of numbers in every dataset that has it, logicals if in every one; else
        texts. Text beside numbers of another dataset is the numbers that it says.
    """
    pieces = {name: pd.Series(plain_column(piece)) for name, piece in pieces.items()}
    pieces = {name: piece for name, piece in pieces.items() if piece.notna().any()}
    numbers = [_is_number(piece) for piece in pieces.values()]
    whole = pieces.keys() == sizes.keys()
    if all(numbers) or (whole and all(map(pd.api.types.is_bool_dtype, pieces.values()))):
        parts = [pieces.get(name, pd.Series(np.nan, range(n))) for name, n in sizes.items()]
        joined = pd.concat(parts, ignore_index=True)
        if not all(numbers) or _exact(joined, pieces.values()):
            return joined
    texts = []
    for name, n in sizes.items():
        part = pd.Series(None, range(n), dtype=object)
        if name in pieces:
            part = pd.Series(texts_of(pieces[name]))
            part = part.map(value_text, na_action="ignore") if any(numbers) else part
        texts.append(part.astype(object))
    return texts_of(pd.concat(texts, ignore_index=True))


def _exact(joined, pieces):
    """Return whether whole numbers are still what they were, now that some are missing."""
    largest = [piece.abs().max() for piece in pieces if pd.api.types.is_integer_dtype(piece)]
    return not pd.api.types.is_float_dtype(joined) or all(size <= 2**53 for size in largest)


def write_combined(paths, out):
    """Write the cells of several canonical matrices in one, as `combine` says; block by block.

    Parameters
    ----------
    paths : dict {name: path-like}
    out : path-like
    """
    both = combine({name: read_annotation(path) for name, path in paths.items()})
    with matrix_file(out) as file:
        for path in paths.values():
            columns = both.var_names.get_indexer(read_annotation(path).var_names).astype(np.int32)
            for counts, _ in read_blocks(path):
                parts = (counts.data, columns[counts.indices], counts.indptr)
                file.append(sp.csr_matrix(parts, (counts.shape[0], both.n_vars)))
        file.finish(both.obs, both.var, dict(both.uns))


def combine(parts):
    """Return the annotation of several canonical matrices in one, with ``dataset`` in obs.

    Genes are the union, in the order in which they first come; a gene that a dataset did not
    measure counts zero there. ``n_counts`` stays as it was: each cell's total over what its own
    dataset measured. A column that a dataset lacks is missing for its cells; a drug is
    'unassigned'. What is a number in one and text in another, or a logical and 0 or 1, is one
    value. Where cell names occur in two datasets, all get the dataset before them; so do
    wells, as well A01 of one plate is not that of another.

    Parameters
    ----------
    parts : dict {name: AnnData}
        Without counts; as described at the top of `keygenes.inputs.canonical`.

    Returns
    -------
    AnnData without counts

    Raises
    ------
    InputError
        If a dataset already has a column of that name.
    """
    for name, part in parts.items():
        if "dataset" in part.obs:
            raise input_error(
                f"dataset '{name}'",
                found="a column 'dataset' in obs",
                expected="none, as combining adds one",
                remedy="rename it in the file",
            )
    ids = pd.Index(pd.unique(np.concatenate([part.var_names for part in parts.values()])))
    cells_clash = bool(_repeated(parts, lambda part: part.obs_names))
    sizes = {name: part.n_obs for name, part in parts.items()}
    columns = dict.fromkeys(column for part in parts.values() for column in part.obs)
    pieces = {
        column: {name: part.obs[column] for name, part in parts.items() if column in part.obs}
        for column in columns
    }
    wells = {name: texts_of(piece) for name, piece in pieces.get("well", {}).items()}
    wells_clash = bool(_repeated(wells, lambda texts: texts.dropna()))
    if wells:
        pieces["well"] = {n: _prefixed(texts, n, wells_clash) for n, texts in wells.items()}
    names = []
    for name, part in parts.items():
        names.append(_prefixed(part.obs_names, name, cells_clash))
        log.info("%s: %d cells, %d genes", name, part.n_obs, part.n_vars)
    obs = pd.DataFrame(
        {column: _column(of, sizes) for column, of in pieces.items()}
        | {"dataset": pd.Categorical(np.repeat(list(sizes), list(sizes.values())))}
    )
    obs.index = pd.Index(np.concatenate(names), name="cell", dtype=object)
    if "drug" in obs:
        obs["drug"] = texts_of(obs["drug"].astype(object).fillna(UNASSIGNED))
    in_all = sum(ids.isin(part.var_names) for part in parts.values()) == len(parts)
    log.info("combined: %d cells, %d genes, %d in every dataset", len(obs), len(ids), in_all.sum())
    var = pd.DataFrame(
        {"symbol": _symbols(parts, ids)}, index=pd.Index(ids, name="ensembl_id", dtype=object)
    )
    named = [p.uns["named_genes"] for p in parts.values() if "named_genes" in p.uns]
    uns = {"named_genes": pd.concat(named, ignore_index=True).astype(str)} if named else {}
    return ad.AnnData(obs=obs, var=var, uns=uns)
