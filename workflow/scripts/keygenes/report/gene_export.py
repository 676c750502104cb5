"""A task's gene table for use elsewhere: Parquet, text and a spreadsheet of the same."""

import datetime
import logging
import math
from typing import NamedTuple

import pandas as pd
import xlsxwriter

from keygenes.attention.expected import LIMIT
from keygenes.core.files import written
from keygenes.core.schemas import gene_table_schema
from keygenes.core.shown import spreadsheet_cell
from keygenes.core.tables import read_table, write_table, write_tsv
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.gene_table import explained_columns, gene_table, sets_of, tracks_of
from keygenes.report.wording import others_words

log = logging.getLogger("keygenes")

MADE = datetime.datetime(2000, 1, 1)  # a workbook names a date: no run's, so that bytes repeat
BOOK = {
    "constant_memory": True,  # 20,000 genes on 18 tracks are 1.5 million cells
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
NARROWEST, WIDEST = 9, 60  # characters of a column
PROBABILITIES = ("p_adj", "_q")  # ends of the columns with values such as 1e-30


class Shown(NamedTuple):
    """Whose genes a table shows.

    Attributes
    ----------
    study, task : str
    regime : str or None
        Whose tracks are shown, beside those of no regime; it may be a reader's name.
    leading : str
        The track by which genes are listed.
    readers : dict {name: {'title', 'score', 'unit'}}
        Readers that were brought along.
    simulated : str, bool
        What is simulated, if anything.
    """

    study: str
    task: str
    regime: str | None
    leading: str
    readers: dict[str, dict[str, str]]
    simulated: str | bool


def write_gene_table(genes, wilcoxon, gene_sets, shown, out):
    """Write a task's wide gene table in three forms, and what its columns are.

    Parameters
    ----------
    genes, wilcoxon : path-like
        Tables 'genes' of the task and 'wilcoxon'.
    gene_sets : dict {name: (path, registry entry)}
        Table 'gene_set', and an entry with title and simulated.
    shown : Shown
    out : dict {'table', 'tsv', 'xlsx', 'columns': path-like}
        Parquet; text; spreadsheet with a second sheet about the columns; the same as text.
    """
    sets = {name: read_members(path) for name, (path, _) in gene_sets.items()}
    tests = read_table(wilcoxon)
    tests = tests[tests["task"] == shown.task]
    table = gene_table(read_table(genes), tests, sets, shown.regime, shown.leading)
    write_table(table, out["table"], schema=gene_table_schema(sets_of(table), tracks_of(table)))
    write_tsv(table, out["tsv"])
    title, simulated = _title(shown), shown.simulated
    if simulated:
        title = f"{simulated_note(simulated)} {title[0].upper()}{title[1:]}"
    said = {
        name: entry["title"] + (" (SIMULATED)" if entry.get("simulated") else "")
        for name, (_, entry) in gene_sets.items()
    }
    columns = explained_columns(table, title, said, shown.readers)
    columns.loc[columns["column"] == "attention_residual_q", "meaning"] += f". {LIMIT}"
    write_tsv(columns, out["columns"])
    name = "genes (SIMULATED)" if simulated else "genes"
    write_workbook({name: table, "columns": columns}, out["xlsx"], title)
    log.info("%s: %d genes, %d columns", shown.task, *table.shape)


def _title(shown):
    """Return what a gene table is of, whose tracks it has, and what readers among them are."""
    title = f"study {shown.study}, task {shown.task}: every gene scored or tested"
    if shown.regime and shown.regime not in shown.readers:
        title += f"; tracks of a model are those of the regime {shown.regime}, pooled over folds "
        title += "and trainings"
    outside = [f"{name}: {others_words(of['title'])}" for name, of in shown.readers.items()]
    return "; ".join([title, *outside])


def simulated_note(simulated):
    """Return the sentence that marks what is made of simulated cells."""
    return f"SIMULATED DATA: {simulated}." if isinstance(simulated, str) else "SIMULATED DATA."


def write_workbook(sheets, path, title):
    """Write data frames as the sheets of an XLSX file, atomically and with repeatable bytes.

    Text stays text: nothing in it is a formula or a link. What is missing, or no finite number,
    is an empty cell.

    Parameters
    ----------
    sheets : dict {name: DataFrame}
        The first two columns stay in sight, as does the header, which has a filter.
    """
    with written(path) as part, xlsxwriter.Workbook(part, BOOK) as book:
        book.set_properties({"title": title, "created": MADE})
        bold = book.add_format({"bold": True, "bottom": 1})
        small = book.add_format({"num_format": "0.0E+00"})
        for name, frame in sheets.items():
            sheet = book.add_worksheet(name)
            sheet.freeze_panes(1, 2)
            sheet.autofilter(0, 0, len(frame), frame.shape[1] - 1)
            for i, column in enumerate(frame.columns):
                form = small if column.endswith(PROBABILITIES) else None
                sheet.set_column(i, i, _width(frame[column]), form)
                sheet.write_string(0, i, spreadsheet_cell(column), bold)
            for i, row in enumerate(frame.astype(object).itertuples(index=False, name=None), 1):
                for j, value in enumerate(row):
                    _write_cell(sheet, i, j, value)


def _width(column):
    """Return a width in characters: of the header and its filter button, and of text."""
    longest = len(str(column.name)) + 3
    if not pd.api.types.is_numeric_dtype(column):
        longest = max(longest, column.astype(str).str.len().max())
    return min(max(longest, NARROWEST), WIDEST)


def _write_cell(sheet, row, column, value):
    if isinstance(value, str):
        sheet.write_string(row, column, spreadsheet_cell(value))
    elif isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif not pd.isna(value) and math.isfinite(value):
        sheet.write_number(row, column, value)
