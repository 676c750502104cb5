"""Several canonical matrices as one."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import input_error
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


def combine(parts):
    """Return the cells of several canonical matrices in one, with a column ``dataset`` in obs.

    Genes are the union, in the order in which they first come; a gene that a dataset did not
    measure counts zero there. ``n_counts`` stays as it was: each cell's total over what its own
    dataset measured. A column that a dataset lacks is missing for its cells; a drug is
    'unassigned'. Where cell names occur in two datasets, all get the dataset before them; so do
    wells, as well A01 of one plate is not that of another.

    Parameters
    ----------
    parts : dict {name: AnnData}
        As described at the top of `keygenes.inputs.canonical`.

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
    wells_clash = bool(_repeated(parts, lambda part: part.obs.get("well", pd.Series()).dropna()))
    blocks, frames = [], []
    for name, part in parts.items():
        block = sp.coo_matrix(part.X)
        columns = ids.get_indexer(part.var_names)[block.col]
        shape = (part.n_obs, len(ids))
        blocks.append(sp.csr_matrix((block.data, (block.row, columns)), shape=shape))
        frame = part.obs.copy()
        for column in frame.columns[frame.dtypes == "category"]:
            frame[column] = frame[column].astype(object)
        if "well" in frame:
            frame["well"] = _prefixed(frame["well"], name, wells_clash).to_numpy()
        frame.index = pd.Index(_prefixed(frame.index, name, cells_clash), dtype=object)
        frames.append(frame.assign(dataset=name))
        log.info("%s: %d cells, %d genes", name, part.n_obs, part.n_vars)
    obs = pd.concat(frames)
    obs.index.name = "cell"
    if "drug" in obs:
        obs["drug"] = obs["drug"].fillna(UNASSIGNED)
    for column in obs.select_dtypes(object):
        text = obs[column].astype(str).where(obs[column].notna(), None)
        obs[column] = pd.Categorical(text, sorted(text.dropna().unique()))
    counts = sp.vstack(blocks, format="csr")
    counts.sort_indices()
    in_all = sum(ids.isin(part.var_names) for part in parts.values()) == len(parts)
    log.info("combined: %d cells, %d genes, %d in every dataset", *counts.shape, in_all.sum())
    var = pd.DataFrame(
        {"symbol": _symbols(parts, ids)}, index=pd.Index(ids, name="ensembl_id", dtype=object)
    )
    named = [p.uns["named_genes"] for p in parts.values() if "named_genes" in p.uns]
    uns = {"named_genes": pd.concat(named, ignore_index=True).astype(str)} if named else {}
    return ad.AnnData(X=counts, obs=obs, var=var, uns=uns)
