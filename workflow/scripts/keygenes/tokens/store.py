"""Token tables: cells encoded block by block, shards put together, and the table read back.

The matrix is never held whole: 1,024 cells at a time become a row group of the table.
"""

import itertools
import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from keygenes.cells.columns import passing_cells
from keygenes.core.errors import input_error
from keygenes.core.files import intact, written
from keygenes.core.progress import with_progress
from keygenes.core.schemas import TABLES
from keygenes.core.tables import check_columns, read_table, table_metadata
from keygenes.tokens.encode import encode_block
from keygenes.tokens.plan import frame_tokens, plan_genes

BLOCK = 1024  # cells read at a time, and at most this many per row group of the token table


WARN_LOST, REFUSE_LOST = 0.30, 0.80  # share of the counts outside the vocabulary


def _columns_given(adata, path):
    """Return the columns of a canonical matrix before any were summed.

    Returns
    -------
    ids : list of str [n_columns]
        As the user gave them; columns that were summed stand side by side.
    columns : int array [n_columns]
        Where each lies in [X, obsm given_counts].
    """
    if "given_id" not in adata.var:
        raise input_error(
            path,
            found="a matrix without the gene ids as they were given (var 'given_id')",
            expected="them, which 'tokens.upstream: true' looks up",
            remedy="delete the file and run again",
        )
    given = adata.var["given_id"].astype(str).to_numpy()
    if "given_counts" not in adata.obsm:
        return given.tolist(), np.arange(adata.n_vars)
    apart = adata.uns["given_columns"]
    at = adata.var_names.get_indexer(apart["ensembl_id"])  # -1: not among the selected genes
    whole = np.setdiff1d(np.arange(adata.n_vars), at)
    parts = np.flatnonzero(at >= 0)
    order = np.argsort(np.concatenate([whole, at[parts]]), kind="stable")
    ids = np.concatenate([given[whole], np.asarray(apart["given_id"], dtype=str)[parts]])
    return ids[order].tolist(), np.concatenate([whole, adata.n_vars + parts])[order]


def _blocks_of(shard, n_cells):
    """Return the blocks of cells, counted from 0, in a shard (index from 0, number of shards)."""
    index, n_shards = shard
    n_blocks = -(-n_cells // BLOCK)
    return range(n_blocks * index // n_shards, n_blocks * (index + 1) // n_shards)


def _encoded_blocks(adata, columns, passing, blocks, plan, frame, encoding):
    """Yield the rows of the token table and of the report, block by block."""
    cells = adata.obs_names.to_numpy(dtype=str)
    n_counts = adata.obs["n_counts"].to_numpy(np.float64)
    upstream, draws = encoding.upstream, encoding.draws
    for block in blocks:
        rows = np.arange(block * BLOCK, min((block + 1) * BLOCK, adata.n_obs))
        counts = sparse.csr_matrix(adata.X[rows[0] : rows[-1] + 1])
        if not passing[rows].all():
            counts, rows = counts[passing[rows]], rows[passing[rows]]
        if columns is not None and "given_counts" in adata.obsm:
            counts = sparse.hstack([counts, adata.obsm["given_counts"][rows]], format="csr")
            counts = counts[:, columns]
        how = {"upstream": upstream, "draws": draws, "cells": cells[rows]}
        flat, report = encode_block(counts, n_counts[rows], plan, frame, **how)
        report.insert(0, "cell", cells[rows])
        kept = upstream | (report["length"].to_numpy() > 0)
        lengths = report["length"].to_numpy()[kept]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        table = {
            "cell": pa.array(cells[rows][kept]),
            "input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)),
            "length": pa.array(lengths),
        }
        yield pa.table(table, schema=TABLES["tokens"]), report


def _row_groups(path):
    with intact(path), pq.ParquetFile(path, page_checksum_verification=True) as table:
        for group in range(table.num_row_groups):
            yield table.read_row_group(group)


def _stored_blocks(shard_paths, report_paths):
    """Yield the rows of shards as `_encoded_blocks` yields those of blocks.

    A block whose cells are all left out has no rows in the token table, so that the two tables of
    a yielded pair need not be of the same block; but each table's rows come in order.
    """
    for tokens, reports in zip(shard_paths, report_paths, strict=True):
        nothing = TABLES["tokens"].empty_table(), TABLES["token_shard"].empty_table()
        pairs = itertools.zip_longest(_row_groups(tokens), _row_groups(reports))
        for pair in pairs:
            table, report = (
                n if rows is None else rows for rows, n in zip(pair, nothing, strict=True)
            )
            yield table, report.to_pandas()


def _store(blocks, tokens_path, report_path, *, report_table, about, check):
    """Write blocks as they come, and return sums over their reports.

    Both files get their names only if `check`, called with the sums, raises nothing.
    """
    schemas = [TABLES["tokens"].with_metadata(table_metadata("tokens") | about)]
    schemas.append(TABLES[report_table].with_metadata(table_metadata(report_table)))
    sums = dict.fromkeys(("cells", "counts", "lost", "cut", "empty"), 0)
    sums |= {"named": [], "lengths": np.zeros(0, np.int64)}
    with (
        written(tokens_path) as tokens_part,
        written(report_path) as report_part,
        # A dictionary of tokens would take several times as long to make as the tokens did.
        pq.ParquetWriter(
            *(tokens_part, schemas[0]),
            compression="zstd",
            use_dictionary=False,
            column_encoding={"input_ids.list.element": "BYTE_STREAM_SPLIT"},
            write_page_checksum=True,
        ) as tokens,
        pq.ParquetWriter(
            *(report_part, schemas[1]), compression="zstd", write_page_checksum=True
        ) as reports,
    ):
        for table, report in blocks:
            if len(table):
                tokens.write_table(table.cast(schemas[0]))
            if len(report):
                columns = report[schemas[1].names]
                reports.write_table(pa.Table.from_pandas(columns, schemas[1]).cast(schemas[1]))
            empty = report["n_in_vocabulary"] == 0
            lengths = np.bincount(report["length"][~empty], minlength=len(sums["lengths"]))
            lengths[: len(sums["lengths"])] += sums["lengths"]
            sums["lengths"] = lengths  # cells by length
            sums["cells"] += len(report)
            sums["counts"] += report["counts"].sum()
            sums["lost"] += (report["counts_lost"] * report["counts"]).sum()
            sums["cut"] += (report["n_truncated"] > 0).sum()
            sums["empty"] += empty.sum()
            sums["named"] = [*sums["named"], *report["cell"][empty]][:11]
        check(sums)
    return sums


def _check_loss(sums, path, genes, upstream):
    """Log what the vocabulary leaves out of a matrix; refuse it when that is nearly all."""
    log = logging.getLogger("keygenes")
    lost = sums["lost"] / sums["counts"] if sums["counts"] else 1.0
    n, inside = genes["given"], genes["in_vocabulary"]
    log.info(
        "%d cells, %d of %d genes in the vocabulary (%d tokens), %d genes out of it with %.1f %% "
        "of the counts, which are lost",
        *(sums["cells"], inside, n, genes["tokens"], n - inside, 100 * lost),
    )
    if lost > REFUSE_LOST and not upstream:
        raise input_error(
            path,
            found=f"{100 * lost:.0f} % of the counts in genes that the vocabulary does not have "
            f"(the first id is {genes['first']!r})",
            expected=f"at most {100 * REFUSE_LOST:.0f} %",
            remedy="give human Ensembl gene ids (ENSG...) in the dataset's 'columns: ensembl_id', "
            "or choose another vocabulary under 'tokens'",
        )
    if lost > WARN_LOST:
        log.warning(
            "warning: %.0f %% of the counts lie outside the vocabulary and are lost", 100 * lost
        )


def _log_lengths(sums, max_length, upstream):
    """Log the cells without a gene, and the lengths of the others."""
    log = logging.getLogger("keygenes")
    if sums["empty"]:
        named = ", ".join(sums["named"][:10]) + (", ..." if sums["empty"] > 10 else "")
        fate = "kept" if upstream else "left out"
        log.info("%d cells without a gene of the vocabulary %s: %s", sums["empty"], fate, named)
    ends = np.cumsum(sums["lengths"])
    if len(ends):
        middle = [
            np.searchsorted(ends, i, side="right") for i in ((ends[-1] - 1) // 2, ends[-1] // 2)
        ]
        log.info(
            "%d cells encoded: median %d tokens, longest %d, %d cells cut at %d",
            *(ends[-1], sum(middle) / 2, len(ends) - 1, sums["cut"], max_length),
        )


def _check_room(draws, room):
    """Refuse to draw more genes per cell than fit: cells would not be equally long."""
    wanted = (draws or {}).get("length")
    if wanted and wanted["subsample"] > room:
        raise input_error(
            "config key 'tokens.length.subsample'",
            found=wanted["subsample"],
            expected=f"at most {room}, the genes that fit into tokens.max_length",
            remedy="lower it, also in tokens.variants",
        )


def write_tokens(adata_path, vocabulary_path, tokens_path, report_path, encoding, shard=None):
    """Encode the cells of a canonical h5ad and write the token table and its loss report.

    The matrix is read, encoded and written 1,024 cells at a time. Where obs has 'filter_pass', only
    cells with 1 are encoded. Cells without any gene of the vocabulary are named in the log and left
    out of the tokens; the report keeps them (length 0). Upstream mode keeps them in both, with
    length 0 (v1) or 2 (v2).

    Parameters
    ----------
    adata_path : path-like
        Canonical h5ad: raw counts, obs n_counts, var index Ensembl id; in upstream mode also the
        ids as given, see `keygenes.inputs.canonical`.
    vocabulary_path : path-like
        Table with the schema "vocabulary".
    tokens_path, report_path : path-like
        Written, with the schemas "tokens" and "token_report".
    encoding : Encoding
    shard : (int, int), optional
        Encode only this part, counted from 0, of so many, each of whole blocks of 1,024 cells (a
        part may be empty). The files are for `merge_tokens`; the report's schema is "token_shard".

    Raises
    ------
    InputError
        If more than 80 % of the counts lie outside the vocabulary (but not in upstream mode, nor
        of a shard), no cell passes, or more genes are to be drawn than fit.
    """
    import anndata  # who reads tokens does without

    log = logging.getLogger("keygenes")
    vocabulary = read_table(vocabulary_path)
    upstream = encoding.upstream
    frame = frame_tokens(vocabulary, encoding.version, encoding.max_length)
    _check_room(encoding.draws, frame[2])
    with intact(adata_path):
        adata = anndata.read_h5ad(adata_path, backed="r")
    try:
        ids, columns = adata.var_names, None
        if upstream:
            ids, columns = _columns_given(adata, adata_path)
        plan = plan_genes(ids, vocabulary, encoding.mapping, upstream=upstream)
        passing = passing_cells(adata.obs)
        if not passing.any():
            raise input_error(
                adata_path,
                found=f"no cell with filter_pass = 1 among {len(passing)}",
                expected="1 for every cell to keep, Geneformer's convention",
                remedy="correct the obs column 'filter_pass' of the dataset, or remove it",
            )
        if not passing.all():
            log.info("%d of %d cells have filter_pass = 1", passing.sum(), len(passing))
        blocks = _blocks_of(shard or (0, 1), adata.n_obs)
        blocks = with_progress(blocks, "encoding", f"blocks of {BLOCK:,} cells")
        encoded = _encoded_blocks(adata, columns, passing, blocks, plan, frame, encoding)
        special = {"special_tokens": str(len(frame[0]) + len(frame[1]))}
        genes = {
            "given": len(ids),
            "in_vocabulary": plan[0].nnz,
            "tokens": len(plan[1]),
            "first": str(ids[0]) if len(ids) else "missing",
        }
        if shard is not None:
            _store(
                *(encoded, tokens_path, report_path),
                report_table="token_shard",
                about=special | {"genes": json.dumps(genes)},
                check=lambda sums: log.info("shard %d of %d: %d cells", *shard, sums["cells"]),
            )
            return
        sums = _store(
            *(encoded, tokens_path, report_path),
            report_table="token_report",
            about=special,
            check=lambda sums: _check_loss(sums, adata_path, genes, upstream),
        )
    finally:
        adata.file.close()
    _log_lengths(sums, encoding.max_length, upstream)


def merge_tokens(
    shard_paths, shard_report_paths, tokens_path, report_path, *, where, max_length, upstream=False
):
    """Put shards together; the files have the bytes that `write_tokens` gives without shards.

    One block of 1,024 cells is held at a time, however many there are.

    Parameters
    ----------
    shard_paths, shard_report_paths : lists of path-like
        Written by `write_tokens`, all shards in their order.
    tokens_path, report_path
        See `write_tokens`.
    where : str
        The matrix, for the message.
    max_length, upstream
        See `Encoding`.

    Raises
    ------
    InputError
        If more than 80 % of the counts lie outside the vocabulary (but not in upstream mode).
    """
    with intact(shard_paths[0]):
        about = pq.read_schema(shard_paths[0]).metadata
    genes = json.loads(about[b"genes"])
    sums = _store(
        *(_stored_blocks(shard_paths, shard_report_paths), tokens_path, report_path),
        report_table="token_report",
        about={"special_tokens": about[b"special_tokens"].decode()},
        check=lambda sums: _check_loss(sums, where, genes, upstream),
    )
    _log_lengths(sums, max_length, upstream)


def _token_type(metadata):
    """Return the smallest number type that holds every token, from the table's statistics."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(j) for group in groups for j in range(group.num_columns)]
    found = [c.statistics for c in columns if c.path_in_schema.startswith("input_ids")]
    fits = all(f is not None and f.has_min_max and f.max <= np.iinfo(np.uint16).max for f in found)
    return np.uint16 if fits else np.int32


def read_tokens(path):
    """Read a token table into flat arrays, row group by row group.

    Cells without a gene, which upstream mode keeps in the table, have nothing to learn from: they
    are left out and counted in the log.

    Parameters
    ----------
    path : path-like
        Written by `write_tokens`.

    Returns
    -------
    cells : list of str [n_cells]
    ids : uint16 array
        Tokens of all cells, one cell after the other; int32 where they do not fit.
    offsets : int64 array [n_cells + 1]
        Cell i is ``ids[offsets[i]:offsets[i + 1]]``.
    """
    with intact(path), pq.ParquetFile(path, page_checksum_verification=True) as table:
        check_columns(path)
        n_special = int((table.schema_arrow.metadata or {}).get(b"special_tokens", 0))
        lengths = table.read(columns=["length"])["length"].to_numpy()
        kept = lengths > n_special
        if not kept.all():
            log = logging.getLogger("keygenes")
            log.info("%s: %d cells without a gene left out", path, (~kept).sum())
        lengths = lengths[kept]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        ids = np.empty(offsets[-1], dtype=_token_type(table.metadata))
        cells, filled, start = [], 0, 0
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=["cell", "input_ids"])
            start, first = start + len(rows), start
            rows = rows.filter(pa.array(kept[first:start]))
            cells += rows["cell"].to_pylist()
            for chunk in rows["input_ids"].chunks:
                flat = chunk.flatten().to_numpy()
                ids[filled : filled + len(flat)] = flat
                filled += len(flat)
    return cells, ids, offsets
