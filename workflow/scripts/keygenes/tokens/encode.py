"""Rank-value encoding: a cell becomes the list of its genes, the most telling first.

A gene's score is its share of the cell's counts divided by the gene's median over a large corpus,
so that what is high everywhere (ribosomal genes) does not lead every list. Arithmetic follows
Geneformer's tokenizer to the last bit; ties are broken by the gene's column, where upstream's
unstable sort leaves the order to the processor.

Upstream loses genes in silence, among them every id with a version. The default mode looks a gene
up by all its spellings; upstream mode finds what upstream finds, and no more. Each case is in
`docs/geneformer-compatibility.md`.
"""

import itertools
import json
import logging
import re

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from keygenes.cells.columns import passing_cells
from keygenes.core.errors import input_error
from keygenes.core.files import written
from keygenes.core.tables import TABLES, read_table, stamp_bytes
from keygenes.tokens.vocabulary import TARGET_SUM, is_special, read_mapping

BLOCK = 1024  # cells read at a time, and at most this many per row group of the token table
STRIDE = 64  # cells encoded at a time: what is computed from them stays in the processor's cache
WARN_LOST, REFUSE_LOST = 0.30, 0.80  # share of the counts outside the vocabulary
INFINITY = np.array(np.inf).view(np.uint64)  # as bits
VERSION = re.compile(r"^(ENS[A-Z]*\d+)\.\d+$")
FRAMES = {"v1": ((), ()), "v2": (("<cls>",), ("<eos>",))}  # special tokens before and after


def vocabulary_ids(ensembl_ids, known, mapping=None):
    """Return the id under which each measured gene stands in the vocabulary.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
        With or without version suffix.
    known : set of str
        Ids of the vocabulary.
    mapping : dict, optional
        V2's dictionary from an upper-case id or alias to the id in the vocabulary.

    Returns
    -------
    list of (str or None) [n_genes]
        None where the vocabulary does not have the gene.
    """
    found = []
    for given in ensembl_ids:
        plain = VERSION.sub(r"\1", str(given))
        if mapping is not None:
            # Clones are listed under names like AC012345.1, so the full id is looked up first.
            upper = str(given).upper()
            plain = mapping.get(upper) or mapping.get(VERSION.sub(r"\1", upper)) or plain
        found.append(plain if plain in known else None)
    return found


def upstream_ids(ensembl_ids, known, mapping=None):
    """Return the id under which Geneformer's tokenizer finds each gene, and whether it sums.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
        As the user gave them: nothing is stripped.
    known, mapping
        See `vocabulary_ids`. Without a mapping an id counts as it is written.

    Returns
    -------
    list of (str or None) [n_genes]
    bool
        Whether the columns of one gene are summed. Upstream does so only if its mapping sends
        two different ids, as written, to one gene; an id that stands there twice is none of these.
    """
    if mapping is None:
        return [given if given in known else None for given in ensembl_ids], False
    mapping = {key: value for key, value in mapping.items() if value in known}
    listed = {given for given in ensembl_ids if given in mapping}
    summed = len(listed) != len({mapping[given] for given in listed})
    return [mapping.get(given.upper()) for given in ensembl_ids], summed


def plan_genes(ensembl_ids, vocabulary, mapping=None, *, upstream=False):
    """Return how the columns of a matrix turn into tokens.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
    vocabulary : pandas.DataFrame
        Columns token, ensembl_id, median.
    mapping : dict, optional
        See `vocabulary_ids`.
    upstream : bool
        Look genes up by `upstream_ids`: one gene may then have several columns and tokens.

    Returns
    -------
    projection : scipy.sparse.csr_matrix of float64 [n_genes, n_kept]
        Ones; sums the columns of one gene. Kept genes stand in the order of their first column.
    tokens : int32 array [n_kept]
    medians : float64 array [n_kept]
    """
    genes = vocabulary[~is_special(vocabulary["ensembl_id"])]
    row_of = dict(zip(genes["ensembl_id"], range(len(genes)), strict=True))
    if upstream:
        found, summed = upstream_ids(ensembl_ids, row_of.keys(), mapping)
    else:
        found, summed = vocabulary_ids(ensembl_ids, row_of.keys(), mapping), True
    columns = np.array([i for i, gene in enumerate(found) if gene is not None], dtype=np.int64)
    chosen = np.array([row_of[found[i]] for i in columns], dtype=np.int64)
    codes = np.arange(len(chosen))
    if summed:
        codes, chosen = pd.factorize(chosen)
    shape = (len(found), len(chosen))
    projection = sparse.csr_matrix((np.ones(len(codes)), (columns, codes)), shape=shape)
    tokens = genes["token"].to_numpy(np.int32)[chosen]
    return projection, tokens, genes["median"].to_numpy(np.float64)[chosen]


def frame_tokens(vocabulary, version, max_length):
    """Return the special tokens before and after a cell's genes, and the room between them.

    Parameters
    ----------
    vocabulary : pandas.DataFrame
    version : {"v1", "v2"}
        v1 has none, v2 puts ``<cls>`` before and ``<eos>`` behind.
    max_length : int
        Tokens per cell, special tokens included.

    Returns
    -------
    before, after : int32 arrays
    room : int
        Genes that fit.

    Raises
    ------
    InputError
        If the version is unknown, a special token is missing or no gene fits.
    """
    if version not in FRAMES:
        raise input_error(
            "key 'version' of the vocabulary",
            found=repr(version),
            expected=" or ".join(FRAMES),
            remedy="correct the entry in the model registry",
        )
    token_of = dict(zip(vocabulary["ensembl_id"], vocabulary["token"], strict=True))
    missing = [text for side in FRAMES[version] for text in side if text not in token_of]
    if missing:
        raise input_error(
            "vocabulary",
            found=f"no token {missing[0]}",
            expected=f"the special tokens of version {version}",
            remedy="correct 'version' in the model registry, or take the matching dictionaries",
        )
    before, after = (np.array([token_of[t] for t in s], dtype=np.int32) for s in FRAMES[version])
    room = max_length - len(before) - len(after)
    if room < 1:
        raise input_error(
            "config key 'tokens.max_length'",
            found=max_length,
            expected=f"at least {max_length - room + 1}",
            remedy="raise it, at most to the positions of the model",
        )
    return before, after, room


def _rows_of(matrix, start, stop):
    """Return some rows; of a CSR matrix, without copying its entries."""
    if not isinstance(matrix, sparse.csr_matrix):
        return matrix[start:stop]
    ends = matrix.indptr[start : stop + 1]
    entries = slice(ends[0], ends[-1])
    parts = (matrix.data[entries], matrix.indices[entries], ends - ends[0])
    return sparse.csr_matrix(parts, (len(ends) - 1, matrix.shape[1]))


def _columns_of(matrix, kept):
    """Return some columns of a CSR matrix; with a lookup, several times faster than SciPy."""
    position = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    indices = position.take(matrix.indices)  # `take` is faster than an index in brackets
    chosen = np.flatnonzero(indices >= 0)
    ends = np.searchsorted(chosen, matrix.indptr)
    parts = (matrix.data.take(chosen), indices.take(chosen), ends)
    return sparse.csr_matrix(parts, (matrix.shape[0], int(kept.sum())))


def rank_values(counts, n_counts, plan):
    """Return what genes are ranked by: counts per 10,000 of the cell, over the gene's median.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix or array [n_cells, n_genes]
        Dense counts are divided by total and median; sparse ones multiplied by the reciprocals.
    n_counts : array [n_cells]
        Float64 unless float32 is to be followed, in which upstream then computes too.
    plan : tuple
        From `plan_genes`.

    Returns
    -------
    scipy.sparse.csr_matrix of float64 [n_cells, n_kept]
        With sorted indices.
    scipy.sparse.csr_matrix [n_cells, n_kept]
        The counts behind them, entry for entry.
    """
    projection, _, medians = plan
    divided = isinstance(counts, np.ndarray)
    inside = sparse.csr_matrix(counts)
    if projection.nnz == projection.shape[1]:  # nothing to sum; stored zeros stay as they are
        inside = _columns_of(inside, np.diff(projection.indptr) > 0)
    else:
        inside = inside @ projection.astype(inside.dtype)
    inside.sort_indices()
    per_entry = np.diff(inside.indptr)
    # In this order, and by reciprocals as SciPy divides a sparse matrix: a true division, or
    # float32, moves genes in a share of the cells away from where Geneformer saw them.
    with np.errstate(divide="ignore", invalid="ignore"):
        if divided:
            scaled = inside.data / np.repeat(n_counts, per_entry) * TARGET_SUM
            values = scaled / medians[inside.indices]
        else:
            values = inside.data * np.repeat(1 / n_counts, per_entry)
            values *= TARGET_SUM
            weights = (1 / medians).take(inside.indices)
            values = np.multiply(values, weights, out=weights)
    return sparse.csr_matrix((values, inside.indices, inside.indptr), inside.shape), inside


def falling_order(values, starts):
    """Return where each row's values lie when they fall, equal ones in their given order.

    Non-negative doubles sort like their bits. The lowest bits make room for an entry's position, so
    that a plain sort of whole numbers, many times faster than a stable argsort, gives the order; a
    row in which those bits mattered is sorted again with all of them.

    Parameters
    ----------
    values : float64 array
        Of all rows, one row after the other.
    starts : int array [n_rows + 1]
        Row i is ``values[starts[i]:starts[i + 1]]``.

    Returns
    -------
    int64 array
        As long as `values`: positions in it, row by row.
    """
    rows = np.flatnonzero(np.diff(starts))
    if not len(rows):
        return np.zeros(0, np.int64)
    if values.view(np.uint64).max() > INFINITY:  # negative, or no number: their bits sort otherwise
        order, again = np.empty(len(values), np.int64), rows
    else:
        low = (1 << len(values).bit_length()) - 1
        order = values.view(np.int64) | low
        order ^= np.arange(-1, -len(values) - 1, -1)  # the bits turned over; below, the position
        for start, stop in zip(starts[rows].tolist(), starts[rows + 1].tolist(), strict=True):
            order[start:stop].sort()
        order &= low
        falling = values.take(order)
        rises = falling[:-1] < falling[1:]
        rises[starts[rows[1:]] - 1] = False  # from one row to the next anything goes
        again = np.unique(np.searchsorted(starts, np.flatnonzero(rises), side="right") - 1)
    for row in again:
        within = slice(starts[row], starts[row + 1])
        order[within] = starts[row] + np.argsort(-values[within], kind="stable")
    return order


def _framed(genes, lengths, frame, framed):
    """Return the genes of all cells with the special tokens around those cells that are framed."""
    before, after, _ = frame
    if not len(before) + len(after):
        return genes, lengths
    whole = lengths + framed * (len(before) + len(after))
    starts = np.cumsum(whole) - whole
    flat = np.empty(whole.sum(), np.int32)
    inside = np.ones(len(flat), bool)
    for i, token in enumerate(before):
        inside[starts[framed] + i] = False
        flat[starts[framed] + i] = token
    for i, token in enumerate(after):
        at = (starts + lengths)[framed] + len(before) + i
        inside[at], flat[at] = False, token
    flat[inside] = genes
    return flat, whole


def _encode(counts, n_counts, plan, frame, upstream):
    """Encode a few cells; return their tokens, one cell after the other, and report columns."""
    projection, tokens, _ = plan
    room = frame[2]
    if not upstream:
        counts = sparse.csr_matrix(counts)
        if projection.nnz > projection.shape[1] or not counts.data.all():
            counts = counts.astype(np.float64)  # a copy; other types could overflow in sums
            counts.eliminate_zeros()
        n_counts = n_counts.astype(np.float64)
        n_genes = np.diff(counts.indptr)
    else:
        n_genes = np.asarray((counts != 0).sum(axis=1)).ravel()
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    if not (n_counts[totals > 0] > 0).all():
        raise input_error(
            "obs column 'n_counts'",
            found="cells with counts but no positive total",
            expected="the total counts of each cell over all measured genes",
            remedy="correct the column, or leave it out of the dataset's 'columns'",
        )
    values, inside = rank_values(counts, n_counts, plan)
    kept = np.asarray(inside.sum(axis=1, dtype=np.float64)).ravel()
    n_inside = np.diff(inside.indptr).astype(np.int64)
    order = falling_order(values.data, values.indptr.astype(np.int64))
    if (n_inside > room).any():
        rank = np.arange(len(order)) - np.repeat(values.indptr[:-1], n_inside)
        order = order[rank < room]
    lengths = np.minimum(n_inside, room)
    genes = tokens.take(values.indices.take(order))
    flat, lengths = _framed(genes, lengths, frame, (lengths > 0) | upstream)
    lost = np.divide(totals - kept, totals, out=np.zeros_like(totals), where=totals > 0)
    return flat, {
        "n_counts": n_counts.astype(np.float64),
        "n_genes": n_genes.astype(np.int64),
        "n_in_vocabulary": n_inside,
        "counts_lost": lost,
        "length": lengths,
        "n_truncated": np.maximum(n_inside - room, 0),
        "counts": totals,
    }


def encode_block(counts, n_counts, plan, frame, *, upstream=False):
    """Encode some cells; the arguments are those of `encode_cells`, prepared.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix or array [n_cells, n_genes]
    n_counts : array [n_cells]
    plan : tuple
        From `plan_genes`.
    frame : tuple
        From `frame_tokens`.
    upstream : bool
        Keep the number types, stored zeros and the special tokens of a cell without genes.

    Returns
    -------
    int32 array
        Tokens of all cells, one cell after the other.
    pandas.DataFrame
        As from `encode_cells`; the frame has the column `counts` (row sum) in addition.
    """
    parts = [
        _encode(_rows_of(counts, i, i + STRIDE), n_counts[i : i + STRIDE], plan, frame, upstream)
        for i in range(0, max(counts.shape[0], 1), STRIDE)
    ]
    flat, columns = zip(*parts, strict=True)
    report = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    return np.concatenate(flat), pd.DataFrame(report)


def encode_cells(
    counts,
    n_counts,
    ensembl_ids,
    vocabulary,
    *,
    max_length,
    special_tokens,
    mapping=None,
    upstream=False,
):
    """Encode cells as ranked gene tokens.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix or array [n_cells, n_genes]
        Raw counts.
    n_counts : float array [n_cells]
        Total counts of each cell over ALL measured genes, not only those in `counts`.
    ensembl_ids : sequence of str [n_genes]
        Version suffixes are dropped; columns of one gene are summed.
    vocabulary : pandas.DataFrame
        Columns token, ensembl_id, median.
    max_length : int
        Tokens per cell, special tokens included; genes beyond it are cut.
    special_tokens : {"v1", "v2"}
        v1: genes only; v2: ``<cls>``, genes, ``<eos>``.
    mapping : dict, optional
        V2's dictionary from any gene id to the id in the vocabulary.
    upstream : bool
        Do what Geneformer's tokenizer does: ids are looked up as given (`upstream_ids`), dense
        counts and float32 totals are computed with as they are.

    Returns
    -------
    list of int32 arrays
        Per cell the tokens by falling score, ties by column. A cell without a gene of the
        vocabulary is empty; in upstream mode it has v2's special tokens, as in upstream's older
        versions (newer ones leave the cell out).
    pandas.DataFrame
        One row per cell: n_counts, n_genes (with a count), n_in_vocabulary, counts_lost (share,
        0 to 1, of the cell's counts in the matrix outside the vocabulary), length, n_truncated.

    Raises
    ------
    InputError
        If a cell with counts has no positive `n_counts`, or `max_length` leaves no room.
    """
    plan = plan_genes(ensembl_ids, vocabulary, mapping, upstream=upstream)
    frame = frame_tokens(vocabulary, special_tokens, max_length)
    n_counts = np.asarray(n_counts)
    flat, report = encode_block(counts, n_counts, plan, frame, upstream=upstream)
    encoded = np.split(flat, np.cumsum(report["length"])[:-1]) if len(report) else []
    return encoded, report.drop(columns="counts")


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


def _encoded_blocks(adata, columns, passing, blocks, plan, frame, upstream):
    """Yield the rows of the token table and of the report, block by block."""
    cells = adata.obs_names.to_numpy(dtype=str)
    n_counts = adata.obs["n_counts"].to_numpy(np.float64)
    for block in blocks:
        rows = np.arange(block * BLOCK, min((block + 1) * BLOCK, adata.n_obs))
        counts = sparse.csr_matrix(adata.X[rows[0] : rows[-1] + 1])
        if not passing[rows].all():
            counts, rows = counts[passing[rows]], rows[passing[rows]]
        if columns is not None and "given_counts" in adata.obsm:
            counts = sparse.hstack([counts, adata.obsm["given_counts"][rows]], format="csr")
            counts = counts[:, columns]
        flat, report = encode_block(counts, n_counts[rows], plan, frame, upstream=upstream)
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
    with pq.ParquetFile(path) as table:
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
    stamp = {"keygenes": stamp_bytes()}
    schemas = [TABLES["tokens"].with_metadata(stamp | about)]
    schemas.append(TABLES[report_table].with_metadata(stamp))
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
        ) as tokens,
        pq.ParquetWriter(report_part, schemas[1], compression="zstd") as reports,
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


def write_tokens(
    adata_path,
    vocabulary_path,
    tokens_path,
    report_path,
    *,
    max_length,
    version,
    upstream=False,
    mapping_path=None,
    shard=None,
):
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
    max_length : int
        Tokens per cell, special tokens included.
    version : {"v1", "v2"}
        Of the special tokens.
    upstream : bool
        Find the genes, and only those, that Geneformer's tokenizer finds (`upstream_ids`).
    mapping_path : path-like, optional
        V2's pickled mapping of gene ids.
    shard : (int, int), optional
        Encode only this part, counted from 0, of so many, each of whole blocks of 1,024 cells (a
        part may be empty). The files are for `merge_tokens`; the report's schema is "token_shard".

    Raises
    ------
    InputError
        If more than 80 % of the counts lie outside the vocabulary (but not in upstream mode, nor
        of a shard), or no cell passes.
    """
    log = logging.getLogger("keygenes")
    vocabulary = read_table(vocabulary_path)
    mapping = read_mapping(mapping_path) if mapping_path is not None else None
    frame = frame_tokens(vocabulary, version, max_length)
    adata = anndata.read_h5ad(adata_path, backed="r")
    try:
        ids, columns = adata.var_names, None
        if upstream:
            ids, columns = _columns_given(adata, adata_path)
        plan = plan_genes(ids, vocabulary, mapping, upstream=upstream)
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
        encoded = _encoded_blocks(adata, columns, passing, blocks, plan, frame, upstream)
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
    _log_lengths(sums, max_length, upstream)


def merge_tokens(
    shard_paths, shard_report_paths, tokens_path, report_path, *, where, max_length, upstream=False
):
    """Put shards together; the files have the bytes that `write_tokens` gives without shards.

    One block of 1,024 cells is held at a time, however many there are.

    Parameters
    ----------
    shard_paths, shard_report_paths : lists of path-like
        Written by `write_tokens`, all shards in their order.
    tokens_path, report_path, max_length, upstream
        See `write_tokens`.
    where : str
        The matrix, for the message.

    Raises
    ------
    InputError
        If more than 80 % of the counts lie outside the vocabulary (but not in upstream mode).
    """
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
    with pq.ParquetFile(path) as table:
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
