"""Columns of obs from a text table beside the counts, as 10x's own files have none."""

import logging

import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.shown import printable, shortened
from keygenes.inputs.frames import usable_frame
from keygenes.inputs.text_tables import fields_of, first_lines, read_table, separator_of

log = logging.getLogger("keygenes")


def with_table(obs, table_path, path):
    """Return obs with the columns of a table, whose lines are found by the cells' names.

    Parameters
    ----------
    obs : pandas.DataFrame
        Indexed by the names of cells.
    table_path : path-like
        One column, or the row names, are names of cells; a header names the columns.
    path : path-like
        Of the counts, for messages.

    Returns
    -------
    pandas.DataFrame
        In the order of `obs`. Cells without a line have nothing in these columns.

    Raises
    ------
    InputError
        If no column has names of these cells, or a cell has two lines.
    """
    texts = _texts(table_path)
    shares = texts.isin(set(obs.index)).mean()
    if texts.empty or not shares.max() > 0:
        examples = [str(value) for value in [*obs.index[:1], *texts.iloc[:1].to_numpy().ravel()]]
        raise input_error(
            str(table_path),
            found="no name of a cell among "
            + ", ".join(repr(shortened(printable(text), 40)) for text in examples[1:6]),
            expected=f"names as in {path}, such as {examples[0] if examples else ''!r}",
            remedy="give the table of these cells, with their names as the counts have them",
        )
    name = shares.idxmax()
    if (twice := texts[name].duplicated() & texts[name].isin(set(obs.index))).any():
        raise input_error(
            str(table_path),
            found=f"several lines of the cell {texts[name][twice].iloc[0]!r}",
            expected="a line per cell",
            remedy="remove the others",
        )
    table = texts.drop_duplicates(name).set_index(name).apply(_as_numbers)
    without = int((~obs.index.isin(table.index)).sum())
    beside = int((~table.index.isin(obs.index)).sum())
    if without or beside:
        log.warning(
            "%s: %d cells have no line in %s, which has %d lines of other cells",
            path,
            without,
            table_path,
            beside,
        )
    table = usable_frame(table.reindex(obs.index), table_path, "the table of cells")
    left_out = {**obs.attrs.get("left_out", {}), **table.attrs["left_out"]}
    joined = obs.drop(columns=[column for column in table if column in obs]).join(table)
    joined.attrs["left_out"] = left_out
    return joined


def _texts(path):
    lines = first_lines(path)
    separator = separator_of(lines)
    widths = [len(fields) for fields in fields_of(lines[:2], separator)]
    row_names = len(widths) == 2 and widths[0] == widths[1] - 1  # R has no name for these
    table = read_table(path, sep=separator, dtype=str, index_col=0 if row_names else False)
    return table.reset_index(names="row names") if row_names else table


def _as_numbers(column):
    """Return a column of texts as numbers, where all of it are."""
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if (numbers.notna() | column.isna()).all() else column
