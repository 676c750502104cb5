"""Means over cells with intervals over wells, for tables that hold a row per cell."""

import numpy as np
import pandas as pd

from keygenes.core.schemas import TABLES


def well_units(obs, labels):
    """Return what is resampled for the cells of a task: wells within a dose, where they are known.

    Parameters
    ----------
    obs : DataFrame, indexed by cell
    labels : categorical Series, indexed by cell

    Returns
    -------
    DataFrame, indexed by cell
        unit_id (the well; the cell where wells are not known), stratum (the dose; the class
        where doses are not known), is_well.
    """
    known = "well" in obs and obs["well"].notna().all()
    stratum = obs["dose_um"] if "dose_um" in obs else labels.reindex(obs.index)
    return pd.DataFrame(
        {
            "unit_id": obs["well"].astype(str) if known else obs.index.astype(str),
            "stratum": stratum.astype(str),
            "is_well": known,
        },
        index=obs.index,
    )


def unit_weights(units, strata, n_bootstrap, seed=0):
    """Return how often each unit is drawn: float [1 + n_bootstrap, n_units]; first row all ones.

    Parameters
    ----------
    units, strata : arrays [n_units]
        Units are drawn with replacement within each stratum (wells within a dose).

    Returns
    -------
    float64 array [1 + n_bootstrap, n_units]
    """
    rng = np.random.default_rng([seed, 21])
    weights = np.ones((1 + n_bootstrap, len(units)))
    strata = np.asarray(strata)
    for stratum in np.unique(strata):
        (members,) = np.nonzero(strata == stratum)
        n = len(members)
        weights[1:, members] = rng.multinomial(n, np.full(n, 1 / n), n_bootstrap)
    return weights


def weighted_means(values, codes, weights):
    """Return the means of columns over cells, for every resampling of the cells' units.

    Parameters
    ----------
    values : float array [n_cells, n_columns]
        NaN: the cell has no such value.
    codes : int array [n_cells]
        Unit of each cell.
    weights : float array [n_resamples, n_units]
        From `unit_weights`.

    Returns
    -------
    float64 array [n_resamples, n_columns]
    """
    known = ~np.isnan(values)
    sums = np.zeros((2, weights.shape[1], values.shape[1]))
    np.add.at(sums[0], codes, np.where(known, values, 0.0))
    np.add.at(sums[1], codes, known)
    total, n = weights @ sums[0], weights @ sums[1]
    return np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)


def interval(draws):
    """Return the 95 % percentile interval over the first axis; NaN where fewer than half exist."""
    low, high = np.full((2, draws.shape[1]), np.nan)
    enough = np.isfinite(draws).mean(0) > 0.5
    low[enough], high[enough] = np.nanquantile(draws[:, enough], [0.025, 0.975], axis=0)
    return low, high


def means_by_unit(frame, keys, columns, units, n_bootstrap):
    """Return means over cells of some columns per key, with intervals over units.

    Parameters
    ----------
    frame : DataFrame
        A row per cell (of any run) and key: columns cell, `keys` and `columns`.
    keys, columns : lists of str
        Missing keys are keys of their own; missing values are left out.
    units : DataFrame, indexed by cell
        From `well_units`.
    n_bootstrap : int

    Returns
    -------
    DataFrame
        Columns `keys`; per column its mean, {column}_low and {column}_high (95 %; missing where
        there is one unit); n_cells, and n_wells (missing where wells are not known), of the first.
    """
    of_cell = units.loc[frame["cell"]]
    names, codes = np.unique(of_cell["unit_id"].to_numpy(str), return_inverse=True)
    strata = of_cell["stratum"].to_numpy(str)[np.unique(codes, return_index=True)[1]]
    weights = unit_weights(names, strata, n_bootstrap)
    rows = []
    grouped = frame.assign(code=codes).groupby(keys, sort=False, dropna=False, observed=True)
    for key, part in grouped:
        values, at = part[columns].to_numpy(float), part["code"].to_numpy()
        means = weighted_means(values, at, weights)
        own = at[~np.isnan(values[:, 0])]
        low, high = (
            interval(means[1:]) if len(np.unique(own)) > 1 else np.full((2, len(columns)), np.nan)
        )
        row = dict(zip(keys, key, strict=True))
        for i, column in enumerate(columns):
            row |= {column: means[0, i], f"{column}_low": low[i], f"{column}_high": high[i]}
        is_well = bool(of_cell["is_well"].iloc[0])
        rows.append(
            row | {"n_cells": len(own), "n_wells": len(np.unique(own)) if is_well else None}
        )
    found = pd.DataFrame(rows)
    return found.astype({"n_wells": "Int64"}) if rows else found


def table_of(frames, name):
    """Return frames as one table of schema `name`; an empty one where there is nothing."""
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return TABLES[name].empty_table().to_pandas()
    return pd.concat(frames, ignore_index=True)[TABLES[name].names]
