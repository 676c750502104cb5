"""Means over cells with intervals over wells, for tables that hold a row per cell."""

import numpy as np
import pandas as pd

from keygenes.core.jackknife import UNBOUNDED, design_of, interval, left_out_sums
from keygenes.core.schemas import TABLES


def well_units(obs, labels):
    """Return what intervals of a task are over: wells within a dose, where they are known.

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


def ratio_of_sums(sums):
    """Return sums divided by numbers: of [..., 2] the first by the second, NaN where it is 0."""
    total, n = sums[..., 0], sums[..., 1]
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _places(frame, name):
    """Return the place of each row among the values of a column, and how many these are."""
    if name not in frame:
        return np.zeros(len(frame), int), 1
    codes, found = pd.factorize(frame[name], sort=True)
    return codes, len(found)


def _parts(values, units, frame, n_units):
    """Return sums and numbers of values: float array [n_units, n_folds, n_seeds, n_columns, 2]."""
    (folds, n_folds), (seeds, n_seeds) = _places(frame, "fold"), _places(frame, "seed")
    known = ~np.isnan(values)
    parts = np.zeros((n_units, n_folds, n_seeds, values.shape[1], 2))
    np.add.at(parts, (units, folds, seeds), np.stack([np.where(known, values, 0.0), known], -1))
    return parts


def means_by_unit(frame, keys, columns, units, bounds=UNBOUNDED):
    """Return means over cells of some columns per key, with intervals over units.

    Parameters
    ----------
    frame : DataFrame
        A row per cell (of any run) and key: columns cell, `keys` and `columns`; fold and seed of
        its model, where intervals are to cover trainings as well.
    keys, columns : lists of str
        Missing keys are keys of their own; missing values are left out.
    units : DataFrame, indexed by cell
        From `well_units`.
    bounds : (float, float)
        Between which all columns lie.

    Returns
    -------
    DataFrame
        Columns `keys`; per column its mean, {column}_low and {column}_high (95 %; missing where
        there is one unit); n_cells, and n_wells (missing where wells are not known), of the first.
        Of several seeds the mean of a unit counts, and a cell is one cell.
    """
    rows = []
    for key, part in frame.groupby(keys, sort=False, dropna=False, observed=True):
        values = part[columns].to_numpy(float)
        known = ~np.isnan(values).all(axis=1)
        part, values = part[known], values[known]
        of_cell = units.loc[part["cell"]]
        names, first, codes = np.unique(
            of_cell["unit_id"].to_numpy(str), return_index=True, return_inverse=True
        )
        row = dict(zip(keys, key, strict=True))
        row |= dict.fromkeys(f"{c}{end}" for c in columns for end in ("", "_low", "_high"))
        own = ~np.isnan(values[:, 0])
        row["n_cells"] = part["cell"][own].nunique()
        is_well = bool(units["is_well"].iloc[0])
        row["n_wells"] = len(np.unique(codes[own])) if is_well else None
        if len(part):
            parts = _parts(values, codes, part, len(names))
            design = design_of(of_cell["stratum"].to_numpy(str)[first], *parts.shape[1:3])
            means = ratio_of_sums(left_out_sums(parts, design))
            low, high = interval(means, design, bounds)
            for i, column in enumerate(columns):
                row |= {column: means[0, i], f"{column}_low": low[i], f"{column}_high": high[i]}
        rows.append(row)
    numbers = {f"{c}{end}": float for c in columns for end in ("", "_low", "_high")}
    found = pd.DataFrame(rows)
    return found.astype({"n_wells": "Int64", **numbers}) if rows else found


def table_of(frames, name):
    """Return frames as one table of schema `name`; an empty one where there is nothing."""
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return TABLES[name].empty_table().to_pandas()
    return pd.concat(frames, ignore_index=True)[TABLES[name].names]
