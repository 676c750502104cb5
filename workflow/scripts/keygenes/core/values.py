"""What a value of a column is: one spelling, however it was stored.

A cluster 1 is the same as a whole number, a float, a category and a text; a dose of 0.1 is the same
in 32 and in 64 bits, and as three times a thirtieth. Whatever compares or shows values of cells
does so by these texts, and the canonical matrix holds them.
"""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

# A plain decimal as people and programs write it. Not 01, which is a name, nor 1E05, which is a
# well: an exponent has its sign, as R and Python print it.
NUMBER = re.compile(r"-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]\d+)?")
WHOLE = re.compile(r"-?\d+")
PADDED = re.compile(r"\.\d+0$")  # 2.50; not 2.0, which is how Python writes a whole number
LONGEST_NUMBER = 40  # characters; what is longer is a name
DIGITS = 7  # significant ones, those that float32 holds; beyond them is what computing leaves
ABSENT = ("", "nan", "<na>")  # lower-case texts of a missing value
LOGICALS = {"TRUE": "True", "True": "True", "true": "True"}
LOGICALS |= {"FALSE": "False", "False": "False", "false": "False"}
OF_BIT = {"0": "False", "1": "True"}


def value_text(value: object) -> str | None:
    """Return the text that stands for a value; None for one that is missing.

    Whole numbers are exact; others have seven significant digits, and two decimals at least.
    Text that is a plain number or a logical is written as these are, and without blanks around.

    Parameters
    ----------
    value : object
        Of a column, or of a config.

    Returns
    -------
    str or None
        None, NaN, NA, NaT, and the texts '', 'nan' and '<NA>' are missing. 'none' and 'NA' are
        words that a user may have meant.
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return _of_text(value.strip())
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return _of_float(float(str(value)) if isinstance(value, np.float16) else float(value))
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    return str(value).removesuffix(" 00:00:00")  # of a day


def _of_float(number: float) -> str | None:
    if math.isnan(number):
        return None
    if number.is_integer() and abs(number) < 1e100:
        return str(int(number))
    if math.isinf(number):
        return str(number)
    before_point = math.floor(math.log10(abs(number))) + 1
    return f"{number:.{max(DIGITS, before_point + 2)}g}"


def _of_text(text: str) -> str | None:
    if text.lower() in ABSENT:
        return None
    if text in LOGICALS:
        return LOGICALS[text]
    if not is_number(text):
        return text
    whole, _, decimals = text.partition(".")
    if WHOLE.fullmatch(whole) and not decimals.strip("0"):
        return str(int(whole))
    return _of_float(float(text))


def is_number(text: str) -> bool:
    """Return whether a text is a plain decimal number."""
    return len(text) <= LONGEST_NUMBER and NUMBER.fullmatch(text) is not None


def texts_of(column: pd.Series | ArrayLike) -> pd.Categorical:
    """Return the values of a column as a categorical of their texts.

    Where the decimals of a column of text are names (clusters 1.9 and 1.10, see `are_names`), they
    stay as they are written. Where a column has logicals, 0 and 1 are logicals.

    Parameters
    ----------
    column : Series or array-like [n_cells]
        Of any type.

    Returns
    -------
    pandas.Categorical [n_cells]
        In the order of the categories where there were some, of the numbers where it was of
        numbers, else of the alphabet; of values that occur.
    """
    column = pd.Series(column)
    order: Callable[..., list[str]]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
        is_ordered = column.cat.ordered
        order = list
    else:
        are_numbers = pd.api.types.is_numeric_dtype(column)
        codes, values = pd.factorize(column, sort=are_numbers)
        if column.dtype == np.float16:
            values = np.asarray(values, np.float16)  # which pandas widens
        is_ordered, order = False, list if are_numbers else sorted
    texts = _texts(list(values))
    names = pd.Index(order(dict.fromkeys(text for text in texts if text is not None)), dtype=object)
    of_value = np.append(names.get_indexer(pd.Index(texts, dtype=object)), -1)  # the last: missing
    return pd.Categorical.from_codes(of_value[codes], names, ordered=is_ordered)


def _texts(values: list[Any]) -> list[str | None]:
    texts = [value_text(value) for value in values]
    if are_names([value.strip() for value in values if isinstance(value, str)]):
        texts = [
            value.strip() if isinstance(value, str) and text is not None else text
            for value, text in zip(values, texts, strict=True)
        ]
    if {"True", "False"} & set(texts) and set(texts) <= {"True", "False", "0", "1", None}:
        texts = [OF_BIT.get(text, text) if text else None for text in texts]
    return texts


def are_names(texts: Iterable[str]) -> bool:
    """Return whether the decimals among the texts of a column are names, such as 1.9 and 1.10.

    Numbers are written without zeros at the end, or with as many decimals each and a whole one
    among them (0.00, 2.50); and each in one way, unless all are whole (1 and 1.0).
    """
    numbers = {text: value_text(text) or "" for text in texts if is_number(text)}
    if all(map(WHOLE.fullmatch, numbers.values())):
        return False
    if len(set(numbers.values())) < len(numbers):
        return True
    n_decimals = {len(text.partition(".")[2]) for text in numbers}
    is_table = len(n_decimals) == 1 and any(map(WHOLE.fullmatch, numbers.values()))
    return not is_table and any(PADDED.search(text) for text in numbers)


def plain_column(column: pd.Series) -> pd.Series | pd.Categorical:
    """Return a column as the canonical matrix keeps it.

    Parameters
    ----------
    column : Series

    Returns
    -------
    Series or pandas.Categorical
        Numbers and logicals of NumPy's types, where there are no others and none is missing that
        the type has no place for; else `texts_of` them.
    """
    kind = column.dtype
    if kind == np.float16:  # as 64 bits 0.1 would be 0.09998
        return pd.Series(texts_of(column), column.index).astype(np.float64)
    if isinstance(kind, np.dtype):
        return column if kind.kind in "biufc" else texts_of(column)
    if not pd.api.types.is_numeric_dtype(kind) or isinstance(kind, pd.CategoricalDtype):
        return texts_of(column)
    if not column.isna().any():
        return column.astype(kind.numpy_dtype)
    if pd.api.types.is_bool_dtype(kind) or not _fit_float(column.dropna()):
        return texts_of(column)
    return column.astype(object).where(column.notna(), np.nan).astype(np.float64)


def _fit_float(numbers: pd.Series) -> bool:
    """Return whether float64 holds these numbers exactly, as it does not all of 64 bits."""
    return not pd.api.types.is_integer_dtype(numbers) or numbers.abs().max() <= 2**53
