"""The encoding of arbitrary counts against its definition, written out cell by cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from token_cells import vocabulary_of

from keygenes.core.errors import InputError
from keygenes.tokens.encode import Encoding, encode_cells

GENES = [f"ENSG{i:011d}" for i in range(7)]
TYPES = ("uint8", "int8", "uint16", "int32", "int64", "float32", "float64")
# what float64 rounds the same whatever the order of the factors: ties are ties
MEDIANS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])


@st.composite
def cells_of(draw):
    """Return counts as CSR with every freedom of the format, and the same as a dense array.

    Entries are unsorted, stored twice, stored as zero; rows are empty; types are small.
    """
    kind = np.dtype(draw(st.sampled_from(TYPES)))
    most = 100 if kind == "int8" else 200
    n_cells = draw(st.integers(0, 5))
    n_genes = draw(st.integers(1, len(GENES)))
    one = st.tuples(st.integers(0, n_genes - 1), st.integers(0, most))
    rows = [draw(st.lists(one, max_size=10)) for _ in range(n_cells)]
    dense = np.zeros((n_cells, n_genes))
    for i, row in enumerate(rows):
        for column, value in row:
            dense[i, column] += value
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    indices = np.array([c for row in rows for c, _ in row], np.int32)
    data = np.array([v for row in rows for _, v in row], kind)
    return sparse.csr_matrix((data, indices, indptr), dense.shape), dense


@st.composite
def studies(draw):
    """Return (counts, the same dense, gene ids, vocabulary, max_length, version)."""
    counts, dense = draw(cells_of())
    versions = st.sampled_from(["", "", ".3", ".12"])
    # a gene may have several columns, or stand in no vocabulary
    ids = [draw(st.sampled_from(GENES)) + draw(versions) for _ in range(dense.shape[1])]
    known = draw(st.lists(st.sampled_from(GENES), unique=True, max_size=len(GENES)))
    medians = [draw(MEDIANS) for _ in known]
    vocabulary = vocabulary_of(known, medians, ("<pad>", "<mask>", "<cls>", "<eos>"))
    return counts, dense, ids, vocabulary, draw(st.integers(3, 9)), draw(st.sampled_from("12"))


def by_definition(row, ids, vocabulary, max_length, framed):
    """Return the tokens of one cell: count over median, falling; ties by first column."""
    genes = vocabulary.set_index("ensembl_id")
    sums, first = {}, {}
    for column, (gene_id, count) in enumerate(zip(ids, row, strict=True)):
        gene = gene_id.split(".")[0]
        if gene in genes.index:
            sums[gene] = sums.get(gene, 0) + count
            first.setdefault(gene, column)
    there = [gene for gene in sums if sums[gene] > 0]
    there.sort(key=lambda gene: (-sums[gene] / genes.loc[gene, "median"], first[gene]))
    room = max_length - 2 * framed
    tokens = [int(genes.loc[gene, "token"]) for gene in there[:room]]
    return ([2, *tokens, 3] if framed and tokens else tokens), len(there)


@pytest.mark.slow
@settings(max_examples=150)
@given(studies())
def test_cells_are_encoded_as_defined(study):
    counts, dense, ids, vocabulary, max_length, version = study
    totals = dense.sum(1)
    before = [part.copy() for part in (counts.data, counts.indices, counts.indptr)]
    cells, report = encode_cells(
        counts, totals, ids, vocabulary, Encoding(max_length=max_length, version=f"v{version}")
    )
    assert len(cells) == len(report) == len(dense)
    for i, (tokens, row) in enumerate(zip(cells, dense, strict=True)):
        expected, n_known = by_definition(row, ids, vocabulary, max_length, version == "2")
        assert tokens.tolist() == expected
        assert len(set(expected)) == len(expected) <= max_length
        of_cell = report.iloc[i]
        assert of_cell["length"] == len(expected)
        assert of_cell["n_genes"] == (row > 0).sum()
        assert of_cell["n_in_vocabulary"] == n_known
        assert of_cell["n_truncated"] == max(n_known - (max_length - 2 * (version == "2")), 0)
        known = set(vocabulary["ensembl_id"])
        lost = sum(c for g, c in zip(ids, row, strict=True) if g.split(".")[0] not in known)
        assert of_cell["counts_lost"] == pytest.approx(lost / max(row.sum(), 1))
    for part, copy in zip((counts.data, counts.indices, counts.indptr), before, strict=True):
        np.testing.assert_array_equal(part, copy)  # the caller's matrix is left alone


@pytest.mark.slow
@settings(max_examples=50)
@given(studies(), st.randoms())
def test_a_cell_is_encoded_alike_whatever_stands_beside_it(study, random):
    counts, dense, ids, vocabulary, max_length, version = study
    order = list(range(len(dense)))
    random.shuffle(order)
    settings = {"max_length": max_length, "version": f"v{version}"}
    cells, _ = encode_cells(counts, dense.sum(1), ids, vocabulary, Encoding(**settings))
    again, _ = encode_cells(
        counts[order], dense.sum(1)[order], ids, vocabulary, Encoding(**settings)
    )
    assert [cells[i].tolist() for i in order] == [tokens.tolist() for tokens in again]


@pytest.mark.slow
@settings(max_examples=50)
@given(studies(), st.sampled_from([0.0, -1.0, np.nan, -np.inf]))
def test_a_cell_with_counts_has_a_total(study, total):
    counts, dense, ids, vocabulary, max_length, _ = study
    totals = np.where(dense.sum(1) > 0, total, 0.0)
    settings = {"max_length": max_length, "version": "v1"}
    if (dense.sum(1) > 0).any():
        with pytest.raises(InputError, match="n_counts"):
            encode_cells(counts, totals, ids, vocabulary, Encoding(**settings))
    else:
        cells, _ = encode_cells(counts, totals, ids, vocabulary, Encoding(**settings))
        assert all(len(tokens) == 0 for tokens in cells)
