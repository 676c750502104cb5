"""Columns of obs: what values they hold, and which cells have one of them."""

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.values import OF_BIT, WHOLE, is_number, texts_of, value_text

PASSED = ("1", "True")  # of 'filter_pass'
BIT_OF = {logical: bit for bit, logical in OF_BIT.items()}


def written(column):
    """Return a column as a categorical of the texts that show and name its values.

    Texts stay as they are: in the canonical matrix they are what `core.values` makes of them, and
    of a part of the cells it could not be told again which are names.
    """
    values = pd.Series(column)
    if isinstance(values.dtype, pd.CategoricalDtype):
        there = values.cat.remove_unused_categories().cat.categories
    else:
        there = values.dropna().unique()
    if not all(isinstance(value, str) for value in there):
        return texts_of(values)
    return pd.Categorical(values, [text for text in there if value_text(text) is not None])


def spellings(texts, value):
    """Return those of a column's texts that are a value.

    Text is the value if it is the same, or the number or logical that it stands for (see
    `core.values`); a number is every way to write it.

    Parameters
    ----------
    texts : sequence of str
        All that the column has.
    value : str, int, float or bool
        Of the config.
    """
    text = value_text(value)
    if {text} <= BIT_OF.keys() and set(texts) <= OF_BIT.keys():
        text = BIT_OF[text]
    if {text} <= OF_BIT.keys() and set(texts) <= BIT_OF.keys():
        text = OF_BIT[text]
    if isinstance(value, str):
        return next(([name] for name in (value, value.strip(), text) if name in texts), [])
    return [
        name for name in texts if name == text or (is_number(name) and value_text(name) == text)
    ]


def values_in(column, values):
    """Return a boolean array: which entries of an obs column are among `values`.

    A missing one is among none.
    """
    texts = written(column)
    names = [name for value in values for name in spellings(list(texts.categories), value)]
    return np.asarray(texts.isin(names))


def known_values(column):
    """Return the values of an obs column as short text for a message."""
    there = written(column).remove_unused_categories().categories
    values = sorted(there, key=lambda text: (not is_number(text), _size(text), text))
    return ", ".join(values[:12]) + (", ..." if len(values) > 12 else "")


def _size(text):
    return float(text) if is_number(text) else 0


def cells_with(obs, column, value, key):
    """Return a boolean array: the cells with a value that the config asks for; some have it.

    Parameters
    ----------
    obs : DataFrame [n_cells]
    column : str
        One of its columns.
    value : str, int, float or bool
    key : str
        The config key that names the value.

    Raises
    ------
    InputError
        If no cell has it, or a number could be one of several names (1.1 and 1.10).
    """
    known = obs[column]
    names = spellings(list(written(known).categories), value)
    if len(names) > 1 and not all(WHOLE.fullmatch(value_text(name)) for name in names):
        raise input_error(
            f"config key '{key}'",
            found=f"{value_text(value)}, which may be {' or '.join(names)} in '{column}'",
            expected="one of these texts",
            remedy="write the one that you mean in quotes",
        )
    if not names:
        remedy = "correct it, remove it, or select the cells that have it"
        if isinstance(value, bool):
            remedy = "write it in quotes: YAML reads yes, no, on and off as true and false"
        raise input_error(
            f"config key '{key}'",
            found=f"{value_text(value) or value}, which no selected cell has in '{column}'",
            expected=f"one of {known_values(known)}",
            remedy=remedy,
        )
    return np.asarray(written(known).isin(names))


def require_column(obs, column, key):
    """Raise an `InputError` naming `key` if the cells have no such column."""
    if column not in obs:
        raise input_error(
            f"config key '{key}'",
            found=f"the column '{column}'",
            expected=f"one of the dataset's: {', '.join(map(str, obs.columns))}",
            remedy="name one of these or map it in the dataset's registry entry",
        )


def not_measured(obs, column):
    """Return a boolean array: the cells of combined datasets that know nothing of a column.

    Such a dataset has no value of it in any cell: to it a filter on the column does not apply.
    """
    if "dataset" not in obs:
        return np.zeros(len(obs), bool)
    known = obs[column].notna().groupby(obs["dataset"].astype(str)).transform("any")
    return ~known.to_numpy(bool)


def passing_cells(obs):
    """Return a boolean array: cells whose 'filter_pass' is 1 or true; all without such a column.

    The column is Geneformer's convention; its tokenizer passes over every other cell. Cells of a
    dataset that lacks it, combined with one that has it, pass.
    """
    if "filter_pass" not in obs:
        return np.ones(len(obs), bool)
    passed = texts_of(obs["filter_pass"]).isin(PASSED)
    return passed | not_measured(obs, "filter_pass")


def vehicle_cells(obs, vehicle):
    """Return a boolean array: the untreated cells, ``obs[vehicle.column] == vehicle.value``."""
    require_column(obs, vehicle["column"], "select.vehicle.column")
    return cells_with(obs, vehicle["column"], vehicle["value"], "select.vehicle.value")
