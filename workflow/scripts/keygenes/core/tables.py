"""Every table of the pipeline: its schema, and how it is written and read.

A table is Parquet with a fixed schema, so that whoever reads it later (a figure, an evidence
track, a user) can rely on names, types and units. `docs/design.md` explains the columns.
"""

import contextvars
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keygenes import __version__
from keygenes.core.errors import input_error
from keygenes.core.files import intact, written
from keygenes.core.shown import spreadsheet_cell

TEXT, INT, FLOAT, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
CATEGORY = pa.dictionary(pa.int32(), pa.string())


def _schema(**columns):
    return pa.schema(list(columns.items()))


TABLES = {
    # cells/
    "selection": _schema(step=TEXT, n_cells=INT, n_genes=INT, note=TEXT),
    "splits": _schema(cell=TEXT, seed=INT, split=CATEGORY, unit=CATEGORY),
    # expression/
    "umap": _schema(cell=TEXT, umap1=FLOAT, umap2=FLOAT),
    "wilcoxon": _schema(
        task=CATEGORY,
        group=CATEGORY,
        reference=CATEGORY,
        ensembl_id=TEXT,
        symbol=TEXT,
        statistic=FLOAT,
        log2fc=FLOAT,
        auc=FLOAT,
        p=FLOAT,
        p_adj=FLOAT,
        mean=FLOAT,
        mean_reference=FLOAT,
        detection=FLOAT,
        detection_reference=FLOAT,
        n_cells=INT,
        n_reference=INT,
    ),
    "pseudobulk": _schema(
        task=CATEGORY,
        group=CATEGORY,
        reference=CATEGORY,
        ensembl_id=TEXT,
        symbol=TEXT,
        statistic=FLOAT,
        log2fc=FLOAT,
        p=FLOAT,
        p_adj=FLOAT,
        base_mean=FLOAT,
        n_wells=INT,
        n_reference=INT,
    ),
    "half_tests": _schema(
        task=CATEGORY,
        half=CATEGORY,
        group=CATEGORY,
        reference=CATEGORY,
        ensembl_id=TEXT,
        symbol=TEXT,
        statistic=FLOAT,
        log2fc=FLOAT,
        p_adj=FLOAT,
        n_cells=INT,
        n_reference=INT,
    ),
    "dose_screen": _schema(
        dose_um=FLOAT,
        n_cells=INT,
        n_vehicle=INT,
        n_up=INT,
        n_down=INT,
        n_tested=INT,
        selected=FLAG,
    ),
    # tokens
    "vocabulary": _schema(token=INT, ensembl_id=TEXT, symbol=TEXT, median=FLOAT),
    "tokens": _schema(cell=TEXT, input_ids=pa.list_(pa.int32()), length=INT),
    "token_report": _schema(
        cell=TEXT,
        n_counts=FLOAT,
        n_genes=INT,
        n_in_vocabulary=INT,
        counts_lost=FLOAT,
        length=INT,
        n_truncated=INT,
    ),
    "token_shard": _schema(
        cell=TEXT,
        n_counts=FLOAT,
        n_genes=INT,
        n_in_vocabulary=INT,
        counts_lost=FLOAT,
        length=INT,
        n_truncated=INT,
        counts=FLOAT,
    ),
    # models/
    "history": _schema(
        epoch=INT,
        step=INT,
        learning_rate=FLOAT,
        train_loss=FLOAT,
        valid_loss=FLOAT,
        valid_accuracy=FLOAT,
        best=FLAG,
    ),
    "predictions": _schema(
        cell=TEXT, split=CATEGORY, true=CATEGORY, predicted=CATEGORY, probabilities=pa.list_(FLOAT)
    ),
    "baseline_predictions": _schema(
        baseline=CATEGORY,
        cell=TEXT,
        split=CATEGORY,
        true=CATEGORY,
        predicted=CATEGORY,
        probabilities=pa.list_(FLOAT),
    ),
    "coefficients": _schema(baseline=CATEGORY, ensembl_id=TEXT, score=FLOAT, direction=FLOAT),
    "metrics": _schema(
        regime=CATEGORY,
        seed=INT,
        split=CATEGORY,
        metric=CATEGORY,
        value=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        p=FLOAT,
        n_cells=INT,
        n_units=INT,
        unit=CATEGORY,
        design=CATEGORY,
    ),
    "gene_classes": _schema(
        ensembl_id=TEXT, symbol=TEXT, **{"class": CATEGORY}, token=INT, n_cells=INT
    ),
    "gene_predictions": _schema(
        ensembl_id=TEXT,
        symbol=TEXT,
        fold=INT,
        true=CATEGORY,
        probabilities=pa.list_(FLOAT),
        n_cells=INT,
        n_drawn=INT,
    ),
    "gene_metrics": _schema(
        encoder=CATEGORY,
        seed=INT,
        metric=CATEGORY,
        **{"class": CATEGORY},
        value=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        n_genes=INT,
        n_positive=INT,
        n_cells=INT,
    ),
    "confusion": _schema(regime=CATEGORY, seed=INT, true=TEXT, predicted=TEXT, n_cells=INT),
    # attention/
    "by_rank": _schema(
        subset=CATEGORY,
        layer=INT,
        head=INT,
        rank=INT,
        n_cells=INT,
        sum=FLOAT,
        mean=FLOAT,
        sd=FLOAT,
        mean_log2=FLOAT,
        mean_residual=FLOAT,
    ),
    "by_gene": _schema(
        subset=CATEGORY,
        layer=INT,
        head=INT,
        ensembl_id=CATEGORY,
        **{"class": CATEGORY},
        n_cells=INT,
        sum=FLOAT,
        mean=FLOAT,
        sd=FLOAT,
        rank_mean=FLOAT,
        rank_sd=FLOAT,
    ),
    "by_well": _schema(
        subset=CATEGORY,
        well=CATEGORY,
        ensembl_id=CATEGORY,
        n_cells=INT,
        sum=FLOAT,
        sum_log2=FLOAT,
        sum_residual=FLOAT,
        sum_pair=FLOAT,
    ),
    "expected": _schema(
        layer=INT,
        head=INT,
        rank_low=INT,
        rank_high=INT,
        length_low=INT,
        length_high=INT,
        mean_log2=FLOAT,
        n_positions=INT,
    ),
    "norms": _schema(
        subset=CATEGORY,
        layer=INT,
        head=INT,
        measure=CATEGORY,
        n_cells=INT,
        mean=FLOAT,
        sd=FLOAT,
    ),
    "heads": _schema(
        subset=CATEGORY,
        layer=INT,
        head=INT,
        measure=CATEGORY,
        n_cells=INT,
        mean=FLOAT,
        sd=FLOAT,
    ),
    "cosine": _schema(
        a=CATEGORY,
        b=CATEGORY,
        seed=INT,
        layer=INT,
        head=INT,
        cosine=FLOAT,
        sd=FLOAT,
        pearson=FLOAT,
        spearman=FLOAT,
        jensen_shannon=FLOAT,
        n_cells=INT,
    ),
    "comparison_bounds": _schema(
        regime=CATEGORY,
        bound=CATEGORY,
        seed=INT,
        other_seed=INT,
        layer=INT,
        head=INT,
        cosine=FLOAT,
        pearson=FLOAT,
        spearman=FLOAT,
        jensen_shannon=FLOAT,
        n_cells=INT,
    ),
    "rank_shift": _schema(
        a=CATEGORY,
        b=CATEGORY,
        seed=INT,
        layer=INT,
        rank=INT,
        sum_a=FLOAT,
        sum_b=FLOAT,
        percent_change=FLOAT,
        percent_residual=FLOAT,
        n_cells=INT,
    ),
    # evidence/
    "genes": _schema(
        track=CATEGORY,
        regime=CATEGORY,
        seed=INT,
        ensembl_id=TEXT,
        symbol=TEXT,
        score=FLOAT,
        direction=FLOAT,
        rank=INT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        null_mean=FLOAT,
        null_sd=FLOAT,
        effect=FLOAT,
        p=FLOAT,
        q=FLOAT,
        n_cells=INT,
        n_wells=INT,
    ),
    "well_scores": _schema(
        track=CATEGORY,
        well=CATEGORY,
        ensembl_id=CATEGORY,
        n_cells=INT,
        sum=FLOAT,
        sum_absolute=FLOAT,
    ),
    "attributed_cells": _schema(
        cell=TEXT,
        well=CATEGORY,
        track=CATEGORY,
        length=INT,
        contrast=FLOAT,
        completeness_error=FLOAT,
        rejected=FLAG,
    ),
    "cell_faithfulness": _schema(
        cell=TEXT,
        well=CATEGORY,
        order=CATEGORY,
        metric=CATEGORY,
        fraction=FLOAT,
        value=FLOAT,
        matched=FLOAT,
    ),
    "cell_randomisation": _schema(
        cell=TEXT,
        well=CATEGORY,
        track=CATEGORY,
        stage=CATEGORY,
        depth=INT,
        spearman=FLOAT,
    ),
    "faithfulness": _schema(
        regime=CATEGORY,
        order=CATEGORY,
        metric=CATEGORY,
        fraction=FLOAT,
        value=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        gain=FLOAT,
        gain_low=FLOAT,
        gain_high=FLOAT,
        n_cells=INT,
        n_wells=INT,
    ),
    "randomisation": _schema(
        regime=CATEGORY,
        seed=INT,
        track=CATEGORY,
        stage=CATEGORY,
        depth=INT,
        spearman=FLOAT,
        sd=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        n_cells=INT,
        n_wells=INT,
    ),
    "scorecard": _schema(
        track=CATEGORY,
        regime=CATEGORY,
        seed=INT,
        aspect=CATEGORY,
        against=CATEGORY,
        metric=CATEGORY,
        value=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        base_rate=FLOAT,
        null_mean=FLOAT,
        null_sd=FLOAT,
        p=FLOAT,
        n_genes=INT,
        n_positive=INT,
    ),
    "agreement": _schema(
        track_a=CATEGORY,
        track_b=CATEGORY,
        rbo=FLOAT,
        spearman=FLOAT,
        n_genes=INT,
    ),
    "roar": _schema(
        track=CATEGORY,
        regime=CATEGORY,
        seed=INT,
        fraction=FLOAT,
        n_removed=INT,
        accuracy=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        matched=FLOAT,
        drop=FLOAT,
        drop_low=FLOAT,
        drop_high=FLOAT,
        p=FLOAT,
        n_cells=INT,
        n_units=INT,
    ),
    "input_length": _schema(
        regime=CATEGORY,
        against=CATEGORY,
        tokens=CATEGORY,
        reference=CATEGORY,
        measure=CATEGORY,
        value=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        difference=FLOAT,
        difference_low=FLOAT,
        difference_high=FLOAT,
        n=INT,
        n_of=CATEGORY,
        n_cells=INT,
    ),
    "claims": _schema(
        claim=TEXT,
        reading=TEXT,
        task=CATEGORY,
        statement=TEXT,
        where=TEXT,
        thesis_value=TEXT,
        value=FLOAT,
        ci_low=FLOAT,
        ci_high=FLOAT,
        unit=TEXT,
        n=INT,
        n_of=TEXT,
        p=FLOAT,
        p_holm=FLOAT,
        verdict=CATEGORY,
        why=TEXT,
        control=TEXT,
    ),
}

_stamp = contextvars.ContextVar("stamp", default=None)


def set_stamp(stamp):
    """Let every table written from here on carry `stamp` (a dict) in its metadata."""
    _stamp.set(stamp)


def table_metadata(table=None):
    """Return a table's metadata: the current provenance as JSON, and the name of its schema."""
    stamp = {"keygenes": json.dumps(_stamp.get() or {}, sort_keys=True)}
    return {**stamp, "table": table} if table else stamp


def write_table(frame, path, table=None):
    """Write a data frame as Parquet under the schema `TABLES[table]`, atomically.

    Parameters
    ----------
    frame : pandas.DataFrame
        Must have exactly the columns of the schema, in any order.
    path : path-like
    table : str, optional
        Name of the schema; without one the frame's own types are kept (for tables whose
        columns depend on the study, such as the labels).

    Raises
    ------
    ValueError
        If a column is missing, is unknown or does not convert.
    """
    schema = TABLES[table] if table else None
    if schema is not None and set(frame.columns) != set(schema.names):
        raise ValueError(
            f"table {table!r} has columns {sorted(frame.columns)}, "
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


def write_tsv(frame, path):
    """Write a data frame as text for a spreadsheet, atomically; nothing in it is a formula."""
    safe = frame.rename(columns=spreadsheet_cell).map(spreadsheet_cell)
    with written(path) as part:
        safe.to_csv(part, sep="\t", index=False, float_format="%.4g")


def read_table(path, columns=None):
    """Return a table as a data frame (optionally only some columns)."""
    return read_arrow(path, columns=columns).to_pandas()


def read_arrow(path, **options):
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


def check_columns(path):
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


def read_stamp(path):
    """Return the provenance that `write_table` put beside the columns."""
    with intact(path):
        return json.loads((pq.read_schema(path).metadata or {}).get(b"keygenes", b"{}"))


def read_runs(runs, paths):
    """Return the tables of several runs as one, with the columns regime and seed.

    Parameters
    ----------
    runs : list of (regime, seed)
    paths : list of path-like, in the same order
    """
    tables = [
        read_table(path).assign(regime=regime, seed=seed)
        for (regime, seed), path in zip(runs, paths, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)
