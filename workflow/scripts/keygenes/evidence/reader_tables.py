"""The tables of a reader that was brought along: checked, and taken over as this pipeline's own.

They are text (TSV), so that any language writes them: `predictions`, a line per cell with the
probability of every class, and `scores`, a line per gene, or per well and gene
(docs/extending.md). A mistake is one sentence that names file, column and line.
"""

import csv
import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from keygenes.cells.units import ALL_WELLS
from keygenes.core.errors import input_error
from keygenes.core.shown import printable, shortened
from keygenes.models.cells import predictions_table

log = logging.getLogger("keygenes")

MOST_OFF = 1e-3  # of a sum of probabilities
CORRECT = "correct the value"
HEADER = 1  # line of the names of columns


class TextTable:
    """A table of a reader, every value as text.

    Attributes
    ----------
    path : str
    frame : DataFrame of str
    """

    def __init__(self, path):
        self.path = str(path)
        options = {"sep": "\t", "dtype": str, "keep_default_na": False, "index_col": False}
        try:
            with open(path, encoding="utf-8-sig") as handle:
                self.header = next(csv.reader(handle, delimiter="\t"), [])
            with warnings.catch_warnings():  # of values beyond the last column
                warnings.simplefilter("error", pd.errors.ParserWarning)
                self.frame = pd.read_csv(path, encoding="utf-8-sig", header=0, **options)
        except (
            ValueError,
            csv.Error,
            pd.errors.ParserWarning,
        ) as error:  # a line too long, no text, no line at all
            said = printable(" ".join(str(error).split()))
            raise input_error(
                self.path,
                found=f"no table ({said})" if Path(path).stat().st_size else "an empty file",
                expected="text in UTF-8: a header, and lines of as many values, separated by tabs",
                remedy="correct what writes it",
            ) from error

    def refuse(self, column, bad, expected, remedy):
        """Raise an `InputError` for the first row of `bad` (bool array), if there is one."""
        if not (rows := np.flatnonzero(bad)).size:
            return
        value = shortened(printable(self.frame[column].iloc[rows[0]]), 60)
        more = f" ({len(rows)} such lines)" if len(rows) > 1 else ""
        raise input_error(
            f"{self.path}, column '{column}', line {rows[0] + HEADER + 1}",
            found=f"'{value}'{more}",
            expected=expected,
            remedy=remedy,
        )

    def check_columns(self, required, optional=()):
        """Refuse a table that lacks a column, has one twice, or one that nobody reads."""
        names = [*required, *optional]
        wrong = [
            *((name, "no such column") for name in required if name not in self.header),
            *((n, "this column twice") for n in self.header if self.header.count(n) > 1),
            *((n, "a column that nobody reads") for n in self.header if n not in names),
        ]
        for name, what in wrong[:1]:
            has = ", ".join(f"'{shortened(printable(name), 40)}'" for name in self.header)
            raise input_error(
                f"{self.path}, column '{printable(name)}'",
                found=f"{what} (the header has {has})",
                expected=f"the columns {', '.join(required)}, separated by tabs"
                + (f"; optional are {', '.join(optional)}" if optional else ""),
                remedy="correct the header",
            )

    def numbers(self, column, low=-np.inf, high=np.inf, *, whole=False, remedy=CORRECT):
        """Return a column as float64 array; refuse what is no finite number, or out of bounds."""
        found = pd.to_numeric(self.frame[column].str.strip(), errors="coerce").to_numpy(float)
        with np.errstate(invalid="ignore"):
            bad = ~np.isfinite(found) | (found < low) | (found > high)
            bad |= (found != np.floor(found)) & whole
        bounds = f" from {low:g} to {high:g}" if np.isfinite(high) else ""
        bounds = bounds or (f", at least {low:g}" if np.isfinite(low) else "")
        what = "a whole number" if whole else "a finite number"
        self.refuse(column, bad, what + bounds, remedy)
        return found

    def refuse_repeats(self, columns):
        """Refuse two lines of one thing."""
        twice = self.frame.duplicated(list(columns)).to_numpy()
        each = " and ".join(columns)
        self.refuse(columns[-1], twice, f"one line for each {each}", "remove the other lines")


def read_predictions(path, cells, classes):
    """Return table 'predictions' from a reader's table of probabilities.

    Parameters
    ----------
    path : path-like
        Columns cell, and one per class, called as the class.
    cells : DataFrame
        The labelled cells of the task: cell, split, label (int code).
    classes : list of str

    Raises
    ------
    InputError
        For a column too many or too few, a cell that is not of the study or is there twice, a value
        that is no probability, probabilities that do not add up, or a test cell without a line.
    """
    table = TextTable(path)
    table.check_columns(["cell", *classes])
    known = cells.set_index("cell")
    table.refuse(
        "cell",
        ~table.frame["cell"].isin(known.index),
        f"a cell of the study, such as '{known.index[0]}'",
        "write the names of cells as the matrix has them",
    )
    table.refuse_repeats(["cell"])
    found = np.column_stack([table.numbers(name, 0.0, 1.0) for name in classes])
    off = np.abs(found.sum(1) - 1) > MOST_OFF
    if off.any():
        total = found[off][0].sum()
        table.refuse(
            classes[-1],
            off,
            f"probabilities of the {len(classes)} classes that add up to 1, not to {total:.4g}",
            "divide them by their sum",
        )
    rows = known.loc[table.frame["cell"]].reset_index()
    tested = known.index[known["split"].astype(str) == "test"]
    if missing := sorted(set(tested) - set(rows["cell"])):
        raise input_error(
            f"{table.path}, column 'cell'",
            found=f"no line of {len(missing)} of the {len(tested)} test cells, such as "
            f"'{missing[0]}'",
            expected="every cell that the fold tests",
            remedy="predict all test cells",
        )
    log.info("%s: %d cells, %d of them tested", table.path, len(rows), len(tested))
    return predictions_table(rows, found / found.sum(1, keepdims=True), classes)


def read_scores(path, name, genes, wells):
    """Return table 'well_scores' from a reader's table of scores.

    Parameters
    ----------
    path : path-like
        Columns gene and score (larger: more key), optional signed (positive: speaks for the last
        class); of scores that are means over test cells also well and n_cells.
    name : str
        Of the reader, and of its track.
    genes : collection of str
        Ensembl ids of the study's genes.
    wells : dict {well: number of cells that the fold tests}

    Returns
    -------
    DataFrame
        Of scores that are of no wells: one well, `ALL_WELLS`, and one cell behind each.

    Raises
    ------
    InputError
        For a column too many or too few, a gene that is not of the study, a well that the fold does
        not test, more cells than it tests there, a line too many, or a value that is no finite
        number.
    """
    table = TextTable(path)
    of_wells = "well" in table.header or "n_cells" in table.header
    keys = ["well", "gene"] if of_wells else ["gene"]
    more = ["signed"] if of_wells else ["signed", "well and n_cells"]
    table.check_columns([*keys, "score", *(["n_cells"] if of_wells else [])], more)
    genes = set(genes)
    table.refuse(
        "gene",
        ~table.frame["gene"].isin(genes),
        f"the Ensembl id of a gene of the study, such as '{min(genes)}'",
        "write the names of genes as the matrix has them",
    )
    if of_wells:
        table.refuse(
            "well",
            ~table.frame["well"].isin(list(wells)),
            f"a well that the fold tests, such as '{min(wells)}'",
            "score test cells alone, or leave well and n_cells out",
        )
    table.refuse_repeats(keys)
    left_out = "correct the value, or leave the line out: a gene may be without a score"
    score = table.numbers("score", remedy=left_out)
    signed = table.numbers("signed", remedy=left_out) if "signed" in table.frame else np.nan
    n_cells = np.ones(len(score))
    if of_wells:
        n_cells = table.numbers("n_cells", 1, whole=True)
        tested = table.frame["well"].map(wells)
        table.refuse(
            "n_cells",
            n_cells > tested.to_numpy(),
            f"at most the test cells of the well ({tested.min()} in the smallest)",
            "count the test cells behind the mean",
        )
    if not len(score):
        raise input_error(
            table.path,
            found="no line below the header",
            expected="a score of at least one gene",
            remedy="write the scores",
        )
    log.info("%s: %d genes", table.path, table.frame["gene"].nunique())
    if len(score) > 1 and (score == score[0]).all():
        log.warning("%s: all scores are equal: they tell no gene from another", table.path)
    return pd.DataFrame(
        {
            "track": name,
            "well": table.frame["well"] if of_wells else ALL_WELLS,
            "ensembl_id": table.frame["gene"],
            "n_cells": n_cells.astype(int),
            "sum": signed * n_cells,
            "sum_absolute": score * n_cells,
        }
    )
