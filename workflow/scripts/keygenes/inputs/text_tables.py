"""Text tables read safely: gzipped or not, whatever separates their columns, headers told apart."""

import contextlib
import csv
import gzip
import io
import zlib
from pathlib import Path

import pandas as pd

from keygenes.core.errors import InputError, input_error
from keygenes.core.shown import printable, shortened
from keygenes.inputs.formats import GZIP, HDF5, ZIP, start_of
from keygenes.inputs.genes import clean_ids
from keygenes.inputs.hdf5 import rewrite_remedy

LONGEST_LINE = 1 << 20  # bytes; what has none at all is no table
MOST_EMPTY = 1000  # lines before or among the first of a table
SMALL = 1 << 26  # bytes that may be packed at any rate
MAX_PACKING = 100  # bytes of text per byte stored; tables of counts reach ten
csv.field_size_limit(LONGEST_LINE)
SEPARATORS = ("\t", ",", ";", r"\s+")
OF_IDS = (
    *("id", "gene_id", "gene_ids", "ensembl_id", "ensembl", "ensemblid", "ensembl_gene_id"),
    *("gene", "feature_id", "accession", "ensemble id", "geneid", "feature"),
)
OF_SYMBOLS = (
    *("gene_short_name", "symbol", "gene_symbol", "gene_name", "gene_names", "name"),
    *("genename", "short_name", "hgnc_symbol", "feature_name"),
)


class _Lines(io.RawIOBase):
    """Bytes of a text, which has lines, and is not thousands of times what is stored of it."""

    def __init__(self, handle, most):
        self._handle, self._left, self._line = handle, max(most, SMALL), 0

    def readable(self):
        """Return True, as pandas asks."""
        return True

    def readinto(self, buffer):
        """Fill a buffer; a ValueError where a line or the whole is longer than any table's."""
        data = self._handle.read(len(buffer))
        self._left -= len(data)
        after = data.rfind(b"\n")
        self._line = len(data) - 1 - after if after >= 0 else self._line + len(data)
        if self._left < 0:
            raise ValueError(f"unpacks to more than {MAX_PACKING} times its size")
        if self._line > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE:,} bytes")
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def text_of(path):
    """Open a text file, gzipped or not (by its content, whatever its name), as bytes.

    Raises
    ------
    InputError
        If it is no text, cut short, or longer than any table; so does an error in the block.
    """
    path = Path(path)
    try:
        start = start_of(path, 8)
        if start.startswith(ZIP):
            raise ValueError("a zip archive")
        if start.startswith(HDF5):
            raise ValueError("an HDF5 file")
        opener = gzip.open if start.startswith(GZIP) else open
        with opener(path, "rb") as handle:
            yield io.BufferedReader(_Lines(handle, MAX_PACKING * path.stat().st_size), 1 << 16)
    except (InputError, MemoryError):
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = (str(error) or "empty").splitlines()[0].translate(str.maketrans("()", "[]"))
        raise input_error(
            str(path),
            found=f"a file that cannot be read ({shortened(reason, 200)})",
            expected="a whole text table, plain or gzipped",
            remedy=rewrite_remedy(path),
        ) from None


def first_lines(path, n=50):
    """Return the first lines of a text that are not empty, without their ends."""
    with text_of(path) as handle:
        lines = []
        for number, line in enumerate(handle):
            if number == MOST_EMPTY + n:
                raise ValueError(f"more than {MOST_EMPTY:,} empty lines")
            text = line.decode("utf-8-sig" if not lines else "utf-8").rstrip("\r\n")
            lines += [text] if text.strip() else []
            if len(lines) == n:
                break
        return lines


def separator_of(lines):
    """Return what separates the columns of some lines: the first that all lines agree on.

    The first line may have one field fewer, as R leaves out the name of the row names.
    """
    best, most = SEPARATORS[0], 1
    for separator in SEPARATORS:
        widths = [len(fields) for fields in fields_of(lines, separator)]
        rest = widths[1:] or widths
        if len(set(rest)) == 1 and widths[0] in (rest[0], rest[0] - 1) and rest[0] > most:
            return separator
    return best


def fields_of(lines, separator):
    """Return the fields of each line, without quotes."""
    blanks = separator == r"\s+"
    try:
        fields = list(csv.reader(lines, delimiter=" " if blanks else separator))
    except csv.Error:  # a quote without an end, say
        fields = [line.split(None if blanks else separator) for line in lines]
    return [[field for field in row if field] for row in fields] if blanks else fields


def read_table(path, **options):
    """Return a text table as pandas reads it; the separator is found unless it is given."""
    if "sep" not in options:
        options["sep"] = separator_of(first_lines(path))
    with text_of(path) as handle:
        return pd.read_csv(handle, encoding="utf-8-sig", **options)


def read_annotation(path):
    """Return ids and symbols of a table of genes, which may have a header.

    Parameters
    ----------
    path : path-like
        Ids first, unless a header names their column.

    Returns
    -------
    pandas.DataFrame
        Columns ``id`` and ``symbol``, and the others under their names or numbers.

    Raises
    ------
    InputError
        If the first line may be a header and may be a gene, or there is one column alone.
    """
    lines = first_lines(path)
    separator = separator_of(lines)
    rows = fields_of(lines, separator)
    header = 0 if rows and _is_header(rows, path) else None
    options = {"dtype": str, "na_filter": False, "header": header, "sep": separator}
    table = read_table(path, **options)
    if not isinstance(table.index, pd.RangeIndex):  # row names, which a header has no name for
        table = table.reset_index()
    if table.shape[1] < 2:
        raise input_error(
            str(path),
            found=f"{table.shape[1]} column",
            expected="Ensembl id and symbol in two columns",
            remedy="give the table of genes, such as the '..._gene.annotations.txt.gz' of a GEO "
            "sample",
        )
    names = [str(name).strip().lower() for name in table]
    ids = _position(names, OF_IDS, 0) if header == 0 else 0
    if header == 0 and not clean_ids(table.iloc[:100, ids])[1].any():
        of_ids = [i for i in range(table.shape[1]) if clean_ids(table.iloc[:100, i])[1].any()]
        ids = of_ids[0] if of_ids else ids
    others = [i for i in range(table.shape[1]) if i != ids]
    symbols = _position(names, OF_SYMBOLS, others[0]) if header == 0 else 1
    rest = {table.columns[i]: table.iloc[:, i] for i in others if i != symbols}
    return pd.DataFrame({"id": table.iloc[:, ids], "symbol": table.iloc[:, symbols], **rest})


def _position(names, known, default):
    return next((i for i, name in enumerate(names) if name in known), default)


def _is_header(rows, path):
    """Return whether the first of some rows of genes is a header; refuse where none can say."""
    first, others = rows[0], rows[1:]
    if clean_ids(first)[1].any() or not clean_ids(sum(others, []))[1].any():
        known = {*OF_IDS, *OF_SYMBOLS}
        return {field.strip().lower() for field in first[:2]} <= known and len(first) > 1
    if {field.strip().lower() for field in first} & {*OF_IDS, *OF_SYMBOLS} or not first[0].strip():
        return True
    if any(character.isdigit() for character in first[0]):  # a spike-in or a gene of another kind
        return False
    raise input_error(
        str(path),
        found=f"a first line {shortened(printable(' '.join(first)), 80)!r} that is no Ensembl id, "
        "nor a header with a known name",
        expected="a gene in each line, or a header with names such as 'gene_id' and 'gene_name'",
        remedy="remove the line or name its columns so",
    )
