"""Sums per well and gene: which wells are compared, their means, intervals and tests."""

import numpy as np
import pandas as pd
import scipy

from keygenes.evidence.moderated import moderated_t

MIN_CELLS = 10  # behind a mean; of fewer than twice as many cells half are enough


def well_groups(obs, labels, vehicle):
    """Return the group of every well that is whole in one: 'contrast' or 'reference'.

    Contrast wells hold cells of the task's last class. Reference wells hold untreated cells; where
    these are of the last class, or there are none, cells of the first class.

    Parameters
    ----------
    obs : DataFrame [n_cells]
        With the column well; without it there are no groups.
    labels : categorical [n_cells]
    vehicle : bool array [n_cells]

    Returns
    -------
    dict {well: group}
    """
    if "well" not in obs or obs["well"].nunique() < 2:
        return {}
    labels = pd.Categorical(labels)
    last, vehicle = labels.codes == len(labels.categories) - 1, np.asarray(vehicle, bool)
    reference = vehicle if vehicle.any() and not (vehicle & last).any() else labels.codes == 0
    frame = pd.DataFrame(
        {"well": obs["well"].astype(object).to_numpy(), "last": last, "reference": reference}
    ).dropna(subset=["well"])
    whole = frame.assign(well=frame["well"].astype(str)).groupby("well").all()
    return {
        well: "contrast" if row.last else "reference"
        for well, row in zip(whole.index, whole.itertuples(), strict=True)
        if row.last or row.reference
    }


def well_matrices(tables, columns, folds=None):
    """Return sums per well and gene as matrices: added up over folds, averaged within one.

    Parameters
    ----------
    tables : list of DataFrame
        Columns well, ensembl_id, n_cells and those of `columns`; one row per well and gene.
    folds : list of int, optional
        The fold of each table; tables of one fold are of the same cells, seen by several
        trainings. Without it every table is of a fold of its own.

    Returns
    -------
    dict
        wells, genes (arrays of str, sorted), n_cells and every column (float arrays
        [n_wells, n_genes]; zero where there is nothing).
    """
    wells = np.array(sorted(set().union(*(table["well"].astype(str).unique() for table in tables))))
    genes = np.array(
        sorted(set().union(*(table["ensembl_id"].astype(str).unique() for table in tables)))
    )
    shape = (len(wells), len(genes))
    found = {name: np.zeros(shape[0] * shape[1]) for name in ("n_cells", *columns)}
    folds = np.arange(len(tables)) if folds is None else np.asarray(folds)
    for fold in dict.fromkeys(folds.tolist()):
        of_fold = [table for table, own in zip(tables, folds, strict=True) if own == fold]
        places = [
            _codes(table["well"], wells) * shape[1] + _codes(table["ensembl_id"], genes)
            for table in of_fold
        ]
        for name, sums in found.items():
            values = np.concatenate([table[name].to_numpy(float) for table in of_fold])
            at = np.concatenate(places)
            sums += np.bincount(at, weights=values, minlength=len(sums)) / len(of_fold)
    return {"wells": wells, "genes": genes} | {k: v.reshape(shape) for k, v in found.items()}


def _codes(column, names):
    column = pd.Categorical(column)
    return np.searchsorted(names, column.categories.astype(str).to_numpy(str))[column.codes]


def ratio_interval(sums, counts):
    """Return mean and 95 % interval of sum(s)/sum(n) over wells (Taylor-linearised, t quantile).

    Parameters
    ----------
    sums, counts : float arrays [n_wells, n_genes]
        Zero where a well has no cell with the gene.

    Returns
    -------
    mean, low, high : float arrays [n_genes]
        The interval is missing where fewer than two wells have the gene.
    """
    n = counts.sum(0)
    wells = (counts > 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / n
        residual = sums - mean * counts
        variance = wells / (wells - 1) * (residual**2).sum(0) / n**2
        half = scipy.stats.t.ppf(0.975, np.maximum(1, wells - 1)) * np.sqrt(variance)
    half = np.where(wells > 1, half, np.nan)
    return mean, mean - half, mean + half


def cells_of_wells(counts):
    """Return the cells of every well: those that express its most often detected gene."""
    return counts.max(axis=1, initial=0)


def mean_score(sums, counts, min_wells=1):
    """Return the mean over the cells that express each gene, NaN where these are too few.

    At least `MIN_CELLS` cells, or half of the cells where this is less, of `min_wells` wells.

    Parameters
    ----------
    sums, counts : float arrays [n_wells, n_genes]
    """
    n = counts.sum(0)
    least = min(MIN_CELLS, max(1.0, cells_of_wells(counts).sum() / 2))
    wells = min(min_wells, max(1, len(counts)))
    enough = (n >= least) & ((counts > 0).sum(0) >= wells)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, sums.sum(0) / n, np.nan)


def well_tests(values, wells, groups):
    """Return effect, p, q and n_wells of contrast against reference wells (moderated t).

    Parameters
    ----------
    values : float array [n_wells, n_genes]
        Means of wells; NaN: none.
    wells : sequence of str [n_wells]
    groups : dict {well: 'contrast' or 'reference'}

    Returns
    -------
    dict of float arrays [n_genes]
        q: Benjamini-Hochberg over the genes tested.
    """
    of_wells = np.array([groups.get(well, "") for well in wells])
    test = moderated_t(values[of_wells == "contrast"], values[of_wells == "reference"])
    q = np.full(values.shape[1], np.nan)
    known = ~np.isnan(test["p"])
    if known.any():
        q[known] = scipy.stats.false_discovery_control(test["p"][known])
    return {"effect": test["effect"], "p": test["p"], "q": q}
