"""Columns of obs: what values they hold, and which cells have one of them."""

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error


def values_in(column, values):
    """Return a boolean array: which entries of an obs column are among `values`.

    Numbers are compared as numbers (0 matches 0.0), everything else as text.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        wanted = pd.to_numeric(pd.Series(list(values), dtype=object), errors="coerce")
        return column.isin(wanted.dropna()).to_numpy()
    return column.astype(str).isin([str(value) for value in values]).to_numpy()


def known_values(column):
    """Return the values of an obs column as short text for a message."""
    values = sorted(column.dropna().unique(), key=lambda v: (isinstance(v, str), v))
    shown = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values[:12])
    return shown + (", ..." if len(values) > 12 else "")


def require_column(obs, column, key):
    """Raise an `InputError` naming `key` if the cells have no such column."""
    if column not in obs:
        raise input_error(
            f"config key '{key}'",
            found=f"the column '{column}'",
            expected=f"one of the dataset's: {', '.join(map(str, obs.columns))}",
            remedy="name one of these or map it in the dataset's registry entry",
        )


def passing_cells(obs):
    """Return a boolean array: cells whose 'filter_pass' is 1; all where there is no such column.

    The column is Geneformer's convention; its tokenizer passes over every other cell.
    """
    if "filter_pass" not in obs:
        return np.ones(len(obs), bool)
    values = obs["filter_pass"].astype(object)
    return np.array([not pd.isna(value) and value == 1 for value in values], dtype=bool)


def vehicle_cells(obs, vehicle):
    """Return a boolean array: the untreated cells, ``obs[vehicle.column] == vehicle.value``."""
    require_column(obs, vehicle["column"], "select.vehicle.column")
    mask = values_in(obs[vehicle["column"]], [vehicle["value"]])
    if not mask.any():
        raise input_error(
            "config key 'select.vehicle.value'",
            found=f"{vehicle['value']}, which no selected cell has in '{vehicle['column']}'",
            expected=f"one of {known_values(obs[vehicle['column']])}",
            remedy="name the value of untreated cells and keep it among the selected ones",
        )
    return mask
