"""Counts as text: lines of gene, cell and count, with or without MatrixMarket's head."""

import logging

import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import input_error
from keygenes.core.shown import printable, shortened
from keygenes.inputs.formats import MATRIX_MARKET
from keygenes.inputs.text_tables import fields_of, first_lines, separator_of, text_of

log = logging.getLogger("keygenes")

LARGEST_HEAD = 50  # lines of comments before the sizes


def read_triplets(path, *, n_genes, n_cells, block=5_000_000):
    """Return counts, cells x genes, from lines of gene, cell, count (both numbered from 1).

    Parameters
    ----------
    path : path-like
        Gzipped or not. A head of MatrixMarket must agree with the sizes; a line of names before
        the numbers is passed over.
    n_genes, n_cells : int
        Of the tables that name them.
    block : int
        Lines read at a time: the whole table would take three times the memory of the matrix.

    Returns
    -------
    scipy.sparse.csr_matrix, float32
    """
    lines = first_lines(path, LARGEST_HEAD)
    skipped, declared = _head(lines, path)
    separator = separator_of(lines[skipped:])
    if declared is not None:
        _require_size(declared, n_genes, n_cells, path)
    rows, columns, values = [], [], []
    with text_of(path) as handle:
        for _ in range(skipped):
            while not handle.readline().strip():
                pass
        options = {"sep": separator, "header": None, "dtype": np.float64, "chunksize": block}
        blocks = pd.read_csv(handle, **options) if declared is None or declared[2] else ()
        for part in blocks:
            gene, cell, count = _columns(part, path, n_genes, n_cells)
            rows.append((cell - 1).astype(np.int32))
            columns.append((gene - 1).astype(np.int32))
            values.append(count.astype(np.float32))
    empty = np.zeros(0, np.int32)
    joined = [
        np.concatenate([empty.astype(t), *p])
        for t, p in (("f4", values), ("i4", rows), ("i4", columns))
    ]
    if declared is not None and len(joined[0]) != declared[2]:
        raise input_error(
            str(path),
            found=f"{len(joined[0]):,} counts, where its head says {declared[2]:,}",
            expected="as many as it says",
            remedy="get a whole copy of the file",
        )
    for what, numbers, n in (("gene", joined[2], n_genes), ("cell", joined[1], n_cells)):
        if declared is None and (top := int(numbers.max(initial=-1)) + 1) < n:
            log.warning("%s: the largest %s number is %d of %d", path, what, top, n)
    return sp.coo_matrix((joined[0], (joined[1], joined[2])), shape=(n_cells, n_genes)).tocsr()


def _head(lines, path):
    """Return how many lines come before the counts, and the sizes that they declare or None."""
    if not lines:
        raise _unlike(path, "no line")
    if lines[0].startswith(MATRIX_MARKET.decode()):
        kind = lines[0].lower().split()[1:]
        if kind[:2] != ["matrix", "coordinate"] or kind[2:] not in (
            [["integer", "general"], ["real", "general"]]
        ):
            raise _unlike(path, f"a MatrixMarket file of the kind '{' '.join(kind)}'")
        at = next((i for i, line in enumerate(lines) if not line.startswith("%")), None)
        sizes = lines[at].split() if at is not None else []
        if len(sizes) != 3 or not all(size.isdigit() for size in sizes):
            raise _unlike(path, "a head of MatrixMarket without its three sizes")
        return at + 1, tuple(map(int, sizes))
    fields = fields_of(lines[:1], separator_of(lines))[0]
    if len(fields) == 3 and not any(_is_number(field) for field in fields) and len(lines) > 1:
        log.info("%s: the first line is a header: %s", path, shortened(printable(lines[0]), 80))
        return 1, None
    return 0, None


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_size(declared, n_genes, n_cells, path):
    if declared[:2] != (n_genes, n_cells):
        turned = "; the matrix is turned round" if declared[1::-1] == (n_genes, n_cells) else ""
        raise input_error(
            str(path),
            found=f"a matrix of {declared[0]:,} x {declared[1]:,}",
            expected=f"{n_genes:,} genes x {n_cells:,} cells, as the tables of genes and cells "
            "have lines",
            remedy=f"give the files of one sample, without lines left out or added{turned}",
        )


def _columns(lines, path, n_genes, n_cells):
    if lines.shape[1] != 3:
        raise _unlike(path, f"{lines.shape[1]} columns")
    gene, cell = lines[0].to_numpy(), lines[1].to_numpy()
    for name, index, size in (("gene", gene, n_genes), ("cell", cell, n_cells)):
        if not (index.min() >= 1 and index.max() <= size and (index == index // 1).all()):
            raise input_error(
                str(path),
                found=f"{name} numbers from {index.min():g} to {index.max():g}",
                expected=f"whole numbers from 1 to {size:,}, the {name}s of the other file",
                remedy="give the files of one sample, without lines left out or added",
            )
    return gene, cell, lines[2].to_numpy()


def _unlike(path, found):
    return input_error(
        str(path),
        found=found,
        expected="gene, cell and count in each line, or a MatrixMarket file of coordinates",
        remedy="give the counts of the sample, such as '..._UMI.count.matrix.gz' or matrix.mtx",
    )
