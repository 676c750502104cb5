"""Tables: Parquet under the schemas of `core.schemas`, stamped with what made them."""

import contextvars
import json
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keygenes import __version__
from keygenes.core.errors import input_error
from keygenes.core.files import PathLike, intact, written
from keygenes.core.schemas import TABLES
from keygenes.core.shown import spreadsheet_cell

_stamp: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "stamp", default=None
)


def set_stamp(stamp: dict[str, Any] | None) -> None:
    """Let every table written from here on carry `stamp` (a dict) in its metadata."""
    _stamp.set(stamp)


def table_metadata(table: str | None = None) -> dict[str, str]:
    """Return a table's metadata: the current provenance as JSON, and the name of its schema."""
    stamp = {"keygenes": json.dumps(_stamp.get() or {}, sort_keys=True)}
    return {**stamp, "table": table} if table else stamp


def write_table(
    frame: pd.DataFrame,
    path: PathLike,
    table: str | None = None,
    *,
    schema: pa.Schema | None = None,
) -> None:
    """Write a data frame as Parquet under the schema `TABLES[table]`, atomically.

    Parameters
    ----------
    frame : pandas.DataFrame
        Must have exactly the columns of the schema, in any order.
    path : path-like
    table : str, optional
        Name of the schema; without one the frame's own types are kept (for tables whose
        columns depend on the study, such as the labels).
    schema : pyarrow.Schema, optional
        The schema itself, where the study decides its columns (`schemas.gene_table_schema`).

    Raises
    ------
    ValueError
        If a column is missing, is unknown or does not convert.
    """
    schema = TABLES[table] if table else schema
    if schema is not None and set(frame.columns) != set(schema.names):
        raise ValueError(
            f"table {table or str(path)!r} has columns {sorted(frame.columns)}, "
            f"its schema {sorted(schema.names)}"
        )
    if schema is not None:
        frame = frame[schema.names]
    arrow = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    arrow = arrow.replace_schema_metadata(
        {**(arrow.schema.metadata or {}), **table_metadata(table)}
    )
    with written(path) as part:
        pq.write_table(arrow, part, compression="zstd", write_page_checksum=True)


def write_tsv(
    frame: pd.DataFrame, path: PathLike, digits: int = 6, *, simulated: bool = False
) -> None:
    """Write a data frame as text for a spreadsheet, atomically; nothing in it is a formula.

    Numbers that are not whole have `digits` significant digits; with 17 each reads back as it was.
    What is `simulated` has a column that says so.
    """
    frame = frame.assign(simulated=True) if simulated else frame
    safe = frame.rename(columns=spreadsheet_cell).apply(_spreadsheet_column)
    with written(path) as part:
        safe.to_csv(part, sep="\t", index=False, float_format=f"%.{digits}g")


def _spreadsheet_column(column: pd.Series) -> pd.Series:
    """Return a column for a spreadsheet; whole numbers stay whole where some are missing."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    return column.astype(object).map(spreadsheet_cell)


def read_table(path: PathLike, columns: list[str] | None = None) -> pd.DataFrame:
    """Return a table as a data frame (optionally only some columns)."""
    return read_arrow(path, columns=columns).to_pandas()


def read_arrow(path: PathLike, **options: Any) -> pa.Table:
    """Return a table of `write_table` in Arrow's form.

    Parameters
    ----------
    options : dict
        As for ``pyarrow.parquet.read_table``.

    Raises
    ------
    InputError
        If it is damaged, or another version of keygenes wrote it with other columns.
    """
    with intact(path):
        check_columns(path)
        return pq.read_table(path, **options, page_checksum_verification=True)


def check_columns(path: PathLike) -> None:
    """Raise an `InputError` where a table has not the columns that its schema has here."""
    schema = pq.read_schema(path)
    name = (schema.metadata or {}).get(b"table", b"").decode()
    expected = TABLES[name].names if name in TABLES else []
    if not name or schema.names == expected:
        return
    version = read_stamp(path).get("versions", {}).get("keygenes", "of another version")
    differ = sorted(set(schema.names) ^ set(expected)) or ["in another order"]
    raise input_error(
        str(path),
        found=f"a table '{name}' of keygenes {version} with other columns ({', '.join(differ)})",
        expected=f"those of keygenes {__version__}",
        remedy="delete it and run again",
    )


def read_stamp(path: PathLike) -> dict[str, Any]:
    """Return the provenance that `write_table` put beside the columns."""
    with intact(path):
        return json.loads((pq.read_schema(path).metadata or {}).get(b"keygenes", b"{}"))


def read_runs(runs: Iterable[tuple[str, int, int]], paths: Iterable[PathLike]) -> pd.DataFrame:
    """Return the tables of several runs as one, with the columns regime, fold and seed.

    Parameters
    ----------
    runs : list of (regime, fold, seed)
    paths : list of path-like, in the same order
    """
    tables = [
        read_table(path).assign(regime=regime, fold=fold, seed=seed)
        for (regime, fold, seed), path in zip(runs, paths, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)
