"""Rank-value encoding: a cell becomes the list of its genes, the most telling first.

A gene's score is its share of the cell's counts divided by the gene's median over a large corpus,
so that what is high everywhere (ribosomal genes) does not lead every list. Arithmetic follows
Geneformer's tokenizer to the last bit; ties are broken by the gene's column, where upstream's
unstable sort leaves the order to the processor.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from keygenes.core.errors import input_error
from keygenes.tokens.draws import drawn_genes, shuffled_genes, thinned_counts
from keygenes.tokens.plan import frame_tokens, plan_genes
from keygenes.tokens.vocabulary import TARGET_SUM

STRIDE = 64  # cells encoded at a time: what is computed from them stays in the processor's cache
INFINITY = np.array(np.inf).view(np.uint64)  # as bits


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


def _encode(counts, n_counts, plan, frame, upstream, draws, cells):
    """Encode a few cells; return their tokens, one cell after the other, and report columns."""
    projection, tokens, _ = plan
    room = frame[2]
    if not upstream:
        counts = sparse.csr_matrix(counts)
        plain = counts.has_canonical_format  # no entry twice: it would be a gene twice
        if projection.nnz > projection.shape[1] or not plain or not counts.data.all():
            counts = counts.astype(np.float64)  # a copy; other types could overflow in sums
            counts.sum_duplicates()
            counts.eliminate_zeros()
        n_counts = n_counts.astype(np.float64)
        if draws.get("depth"):
            counts, deep = thinned_counts(counts, draws["depth"], cells, draws["seed"])
            n_counts = np.where(deep, draws["depth"], n_counts)
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
    n_drawn = n_inside
    if draws.get("length"):
        size = draws["length"]["subsample"]
        order, n_drawn = drawn_genes(order, n_inside, size, cells, draws["seed"])
    if (n_drawn > room).any():
        rank = np.arange(len(order)) - np.repeat(np.cumsum(n_drawn) - n_drawn, n_drawn)
        order = order[rank < room]
    lengths = np.minimum(n_drawn, room)
    if draws.get("order") == "shuffled":
        order = shuffled_genes(order, lengths, cells, draws["seed"])
    genes = tokens.take(values.indices.take(order))
    flat, lengths = _framed(genes, lengths, frame, (lengths > 0) | upstream)
    lost = np.divide(totals - kept, totals, out=np.zeros_like(totals), where=totals > 0)
    return flat, {
        "n_counts": n_counts.astype(np.float64),
        "n_genes": n_genes.astype(np.int64),
        "n_in_vocabulary": n_inside,
        "counts_lost": lost,
        "length": lengths,
        "n_truncated": np.maximum(n_drawn - room, 0),
        "counts": totals,
    }


class Encoding(NamedTuple):
    """How cells are encoded.

    Attributes
    ----------
    max_length : int
        Tokens per cell, special tokens included; genes beyond it are cut.
    version : {"v1", "v2"}
        Of the special tokens. v1: genes only; v2: ``<cls>``, genes, ``<eos>``.
    mapping : dict or None
        V2's dictionary from any gene id to the id in the vocabulary.
    upstream : bool
        Do what Geneformer's tokenizer does: ids are looked up as given, and only those
        (`upstream_ids`), dense counts and float32 totals are computed with as they are.
    draws : dict or None
        ``depth`` (counts that a cell keeps, over all genes), ``length`` ({'subsample': genes that
        it keeps, of all that the vocabulary has}), ``order`` ('shuffled': as many genes as ever,
        disordered) and ``seed``; see `keygenes.tokens.draws`. Not in upstream mode.
    """

    max_length: int
    version: str
    mapping: dict[str, str] | None = None
    upstream: bool = False
    draws: dict[str, Any] | None = None


def encode_block(counts, n_counts, plan, frame, *, upstream=False, draws=None, cells=None):
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
    draws : dict, optional
        See `Encoding`.
    cells : array of str [n_cells], optional
        Names, from which draws take their random numbers; their positions where there are none.

    Returns
    -------
    int32 array
        Tokens of all cells, one cell after the other.
    pandas.DataFrame
        As from `encode_cells`; the frame has the column `counts` (row sum) in addition.
    """
    names = np.arange(counts.shape[0]) if cells is None else cells
    parts = [
        _encode(
            *(_rows_of(counts, i, i + STRIDE), n_counts[i : i + STRIDE], plan, frame),
            *(upstream, draws or {}, names[i : i + STRIDE]),
        )
        for i in range(0, max(counts.shape[0], 1), STRIDE)
    ]
    flat, columns = zip(*parts, strict=True)
    report = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    return np.concatenate(flat), pd.DataFrame(report)


def encode_cells(counts, n_counts, ensembl_ids, vocabulary, encoding, cells=None):
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
    encoding : Encoding
    cells : array of str [n_cells], optional
        Names, from which draws take their random numbers; their positions where there are none.

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
        If a cell with counts has no positive `n_counts`, or the longest cell leaves no room.
    """
    upstream, draws = encoding.upstream, encoding.draws
    plan = plan_genes(ensembl_ids, vocabulary, encoding.mapping, upstream=upstream)
    frame = frame_tokens(vocabulary, encoding.version, encoding.max_length)
    how = {"upstream": upstream, "draws": draws, "cells": cells}
    flat, report = encode_block(counts, np.asarray(n_counts), plan, frame, **how)
    encoded = np.split(flat, np.cumsum(report["length"])[:-1]) if len(report) else []
    return encoded, report.drop(columns="counts")
