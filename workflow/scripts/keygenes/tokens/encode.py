"""Rank-value encoding: a cell becomes the list of its genes, the most telling first.

A gene's score is its share of the cell's counts divided by the gene's median over a large corpus,
so that what is high everywhere (ribosomal genes) does not lead every list. Arithmetic follows
Geneformer's tokenizer to the last bit; ties are broken by the gene's column, where upstream's
unstable sort leaves the order to the processor.
"""

import logging
import re

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from keygenes.core.errors import input_error
from keygenes.core.files import written
from keygenes.core.tables import TABLES, read_table, stamp_bytes, write_table
from keygenes.tokens.vocabulary import TARGET_SUM, is_special, read_mapping

BLOCK = 1024  # cells encoded at a time, and at most this many per row group of the token table
WARN_LOST, REFUSE_LOST = 0.30, 0.80  # share of the counts outside the vocabulary
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


def plan_genes(ensembl_ids, vocabulary, mapping=None):
    """Return how the columns of a matrix turn into tokens.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
    vocabulary : pandas.DataFrame
        Columns token, ensembl_id, median.
    mapping : dict, optional
        See `vocabulary_ids`.

    Returns
    -------
    projection : scipy.sparse.csr_matrix of float64 [n_genes, n_kept]
        Ones; sums the columns of one gene. Kept genes stand in the order of their first column.
    tokens : int32 array [n_kept]
    weights : float64 array [n_kept]
        Reciprocal of the median.
    """
    genes = vocabulary[~is_special(vocabulary["ensembl_id"])]
    row_of = dict(zip(genes["ensembl_id"], range(len(genes)), strict=True))
    found = vocabulary_ids(ensembl_ids, row_of.keys(), mapping)
    kept = {}  # vocabulary row -> column of the projection
    pairs = [
        (column, kept.setdefault(row_of[gene], len(kept)))
        for column, gene in enumerate(found)
        if gene is not None
    ]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    shape = (len(found), len(kept))
    projection = sparse.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=shape)
    chosen = np.fromiter(kept, dtype=np.int64, count=len(kept))
    tokens = genes["token"].to_numpy(np.int32)[chosen]
    return projection, tokens, 1 / genes["median"].to_numpy(np.float64)[chosen]


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


def encode_block(counts, n_counts, plan, frame):
    """Encode some cells; the arguments are those of `encode_cells`, prepared.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
    n_counts : float64 array [n_cells]
    plan : tuple
        From `plan_genes`.
    frame : tuple
        From `frame_tokens`.

    Returns
    -------
    list of int32 arrays, pandas.DataFrame
        As from `encode_cells`; the frame has the column `counts` (row sum) in addition.
    """
    projection, tokens, weights = plan
    before, after, room = frame
    counts = counts.astype(np.float64)
    counts.eliminate_zeros()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    if not (n_counts[totals > 0] > 0).all():
        raise input_error(
            "obs column 'n_counts'",
            found="cells with counts but no positive total",
            expected="the total counts of each cell over all measured genes",
            remedy="correct the column, or leave it out of the dataset's 'columns'",
        )
    inside = counts @ projection
    inside.sort_indices()
    kept = np.asarray(inside.sum(axis=1)).ravel()
    n_inside = np.diff(inside.indptr)
    # Multiply by reciprocals and in this order, in float64: a true division, or float32, moves
    # genes in a share of the cells away from where Geneformer was trained to see them.
    with np.errstate(divide="ignore"):
        per_cell = np.repeat(1 / n_counts, n_inside)
    falling = -(inside.data * per_cell * TARGET_SUM * weights[inside.indices])
    ranked = tokens[inside.indices]
    encoded = []
    for start, stop in zip(inside.indptr[:-1], inside.indptr[1:], strict=True):
        order = np.argsort(falling[start:stop], kind="stable")[:room]
        genes = ranked[start:stop][order]
        encoded.append(np.concatenate([before, genes, after]) if len(genes) else genes)
    report = pd.DataFrame(
        {
            "n_counts": n_counts,
            "n_genes": np.diff(counts.indptr).astype(np.int64),
            "n_in_vocabulary": n_inside.astype(np.int64),
            "counts_lost": np.divide(
                totals - kept, totals, out=np.zeros_like(totals), where=totals > 0
            ),
            "length": np.array([len(ids) for ids in encoded], dtype=np.int64),
            "n_truncated": np.maximum(n_inside - room, 0).astype(np.int64),
            "counts": totals,
        }
    )
    return encoded, report


def encode_cells(
    counts, n_counts, ensembl_ids, vocabulary, *, max_length, special_tokens, mapping=None
):
    """Encode cells as ranked gene tokens.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
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

    Returns
    -------
    list of int32 arrays
        Per cell the tokens by falling score, ties by column; empty (without special tokens) for
        a cell that has no gene of the vocabulary.
    pandas.DataFrame
        One row per cell: n_counts, n_genes (with a count), n_in_vocabulary, counts_lost (share,
        0 to 1, of the cell's counts in the matrix outside the vocabulary), length, n_truncated.

    Raises
    ------
    InputError
        If a cell with counts has no positive `n_counts`, or `max_length` leaves no room.
    """
    plan = plan_genes(ensembl_ids, vocabulary, mapping)
    frame = frame_tokens(vocabulary, special_tokens, max_length)
    n_counts = np.asarray(n_counts, dtype=np.float64)
    encoded, reports = [], []
    for start in range(0, max(counts.shape[0], 1), BLOCK):
        rows = slice(start, start + BLOCK)
        ids, report = encode_block(sparse.csr_matrix(counts[rows]), n_counts[rows], plan, frame)
        encoded += ids
        reports.append(report)
    return encoded, pd.concat(reports, ignore_index=True).drop(columns="counts")


def _check_loss(path, ids, plan, report, log):
    """Log what the vocabulary leaves out of a matrix; refuse it when that is nearly all."""
    total = report["counts"].sum()
    lost = (report["counts_lost"] * report["counts"]).sum() / total if total else 1.0
    projection, tokens, _ = plan
    inside = projection.nnz
    log.info(
        "%d of %d genes are in the vocabulary (%d tokens), the other %d hold %.1f %% of the counts",
        *(inside, len(ids), len(tokens), len(ids) - inside, 100 * lost),
    )
    if lost > REFUSE_LOST:
        raise input_error(
            path,
            found=f"{100 * lost:.0f} % of the counts in genes that the vocabulary does not have "
            f"(the first id is {str(ids[0]) if len(ids) else 'missing'!r})",
            expected=f"at most {100 * REFUSE_LOST:.0f} %",
            remedy="give human Ensembl gene ids (ENSG...) in the dataset's 'columns: ensembl_id', "
            "or choose another vocabulary under 'tokens'",
        )
    if lost > WARN_LOST:
        log.warning(
            "warning: %.0f %% of the counts lie outside the vocabulary and are lost", 100 * lost
        )


def write_tokens(
    adata_path, vocabulary_path, tokens_path, report_path, *, max_length, version, mapping_path=None
):
    """Encode the cells of a canonical h5ad and write the token table and its loss report.

    The matrix is read, encoded and written 1,024 cells at a time. Cells without any gene of the
    vocabulary are named in the log and left out of the tokens; the report keeps them (length 0).

    Parameters
    ----------
    adata_path : path-like
        Canonical h5ad: raw counts, obs n_counts, var index Ensembl id.
    vocabulary_path : path-like
        Table with the schema "vocabulary".
    tokens_path, report_path : path-like
        Written, with the schemas "tokens" and "token_report".
    max_length : int
        Tokens per cell, special tokens included.
    version : {"v1", "v2"}
        Of the special tokens.
    mapping_path : path-like, optional
        V2's pickled mapping of gene ids.

    Raises
    ------
    InputError
        If more than 80 % of the counts lie outside the vocabulary.
    """
    log = logging.getLogger("keygenes")
    vocabulary = read_table(vocabulary_path)
    mapping = read_mapping(mapping_path) if mapping_path is not None else None
    frame = frame_tokens(vocabulary, version, max_length)
    adata = anndata.read_h5ad(adata_path, backed="r")
    try:
        ids = adata.var_names
        plan = plan_genes(ids, vocabulary, mapping)
        cells = adata.obs_names.to_numpy(dtype=str)
        n_counts = adata.obs["n_counts"].to_numpy(np.float64)
        # Written piecemeal, not by `write_table`, so the provenance is added here.
        schema, reports = TABLES["tokens"].with_metadata({"keygenes": stamp_bytes()}), []
        with (
            written(tokens_path) as part,
            pq.ParquetWriter(part, schema, compression="zstd") as writer,
        ):
            for start in range(0, adata.n_obs, BLOCK):
                rows = slice(start, start + BLOCK)
                block = sparse.csr_matrix(adata.X[rows])
                encoded, report = encode_block(block, n_counts[rows], plan, frame)
                report.insert(0, "cell", cells[rows])
                reports.append(report)
                filled = report["length"].to_numpy() > 0
                lengths = report["length"].to_numpy()[filled]
                if not filled.any():
                    continue
                offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
                flat = np.concatenate(encoded)
                columns = {
                    "cell": pa.array(cells[rows][filled]),
                    "input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)),
                    "length": pa.array(lengths),
                }
                writer.write_table(pa.table(columns, schema=schema))
            report = pd.concat(reports, ignore_index=True)
            _check_loss(adata_path, ids, plan, report, log)
            write_table(report.drop(columns="counts"), report_path, "token_report")
    finally:
        adata.file.close()
    empty = report.loc[report["length"] == 0, "cell"]
    if len(empty):
        named = ", ".join(empty[:10]) + (", ..." if len(empty) > 10 else "")
        log.info("%d cells without a gene of the vocabulary left out: %s", len(empty), named)
    kept = report.loc[report["length"] > 0]
    log.info(
        "%d cells encoded: median %d tokens, longest %d, %d cells cut at %d",
        *(len(kept), kept["length"].median(), kept["length"].max()),
        *((kept["n_truncated"] > 0).sum(), max_length),
    )


def read_tokens(path):
    """Read a token table into flat arrays, row group by row group.

    Parameters
    ----------
    path : path-like
        Written by `write_tokens`.

    Returns
    -------
    cells : list of str [n_cells]
    ids : int32 array
        Tokens of all cells, one cell after the other.
    offsets : int64 array [n_cells + 1]
        Cell i is ``ids[offsets[i]:offsets[i + 1]]``.
    """
    with pq.ParquetFile(path, memory_map=True) as table:
        lengths = table.read(columns=["length"])["length"].to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        ids = np.empty(offsets[-1], dtype=np.int32)
        cells, filled = [], 0
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=["cell", "input_ids"])
            cells += rows["cell"].to_pylist()
            for chunk in rows["input_ids"].chunks:
                flat = chunk.flatten().to_numpy()
                ids[filled : filled + len(flat)] = flat
                filled += len(flat)
    return cells, ids, offsets
