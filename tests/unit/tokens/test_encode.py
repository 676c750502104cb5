import numpy as np
import pytest
from scipy import sparse
from token_cells import GENES, V2, random_cells, vocabulary_of

from keygenes.core.errors import InputError
from keygenes.tokens.encode import Encoding, encode_cells, falling_order
from keygenes.tokens.plan import vocabulary_ids


def encoded(counts, genes=GENES, vocabulary=None, max_length=10, special_tokens="v1", **more):
    counts = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
    n_counts = more.pop("n_counts", np.asarray(counts.sum(axis=1)).ravel())
    vocabulary = vocabulary_of() if vocabulary is None else vocabulary
    settings = {"max_length": max_length, "version": special_tokens, **more}
    cells, report = encode_cells(counts, n_counts, genes, vocabulary, Encoding(**settings))
    assert all(ids.dtype == np.int32 for ids in cells)
    return [ids.tolist() for ids in cells], report


def test_genes_fall_by_count_over_median_and_ties_keep_the_column_order():
    vocabulary = vocabulary_of(medians=[1, 2, 4, 1, 1, 1])
    cells, report = encoded([[1, 4, 20, 0, 1, 2], [0, 3, 0, 0, 0, 0]], vocabulary=vocabulary)
    # scores 1, 2, 5, -, 1, 2 (times a factor of the cell); tokens are columns + 2
    assert cells == [[4, 3, 7, 2, 6], [3]]
    assert report["length"].tolist() == [5, 1]
    assert report["n_genes"].tolist() == [5, 1]
    assert report["n_truncated"].tolist() == [0, 0]


def test_the_order_does_not_depend_on_the_total_but_the_report_holds_it():
    counts = [[5, 1, 4, 2, 3, 6]]
    cells, report = encoded(counts, n_counts=[12345.0])
    assert cells == encoded(counts)[0]
    assert report["n_counts"].tolist() == [12345.0]


@pytest.mark.parametrize(
    ("factor", "order"), [(0.3, [0, 1, 2, 3, 4, 5, 7, 6]), (1.1, [4, 0, 1, 2, 3, 5, 7, 6])]
)
def test_scores_are_rounded_as_upstream_rounds_them(factor, order):
    # Count over median is the same for all eight genes, so that rounding alone ranks them. The
    # order is that of ((x * (1/n)) * 10,000) * (1/median) in float64; dividing instead, folding
    # the factors or float32 totals each give another.
    genes, counts = [f"ENSG{i:011d}" for i in range(8)], np.arange(1.0, 9.0)
    vocabulary = vocabulary_of(genes, counts * factor)
    cells, _ = encoded([counts], genes=genes, vocabulary=vocabulary, n_counts=[737.0])
    assert [token - 2 for token in cells[0]] == order


def test_cutting_keeps_the_top_and_counts_the_rest():
    cells, report = encoded([[5, 1, 4, 2, 3, 6]], max_length=4)
    assert cells == [[7, 2, 4, 6]]
    assert report["n_truncated"].tolist() == [2]
    assert report["n_in_vocabulary"].tolist() == [6]


def test_v2_frames_the_genes_and_the_frame_counts_as_length():
    cells, report = encoded([[5, 1, 4, 0, 0, 0]], vocabulary=V2, max_length=4, special_tokens="v2")
    assert cells == [[2, 4, 6, 3]]
    assert report[["length", "n_truncated"]].iloc[0].tolist() == [4, 1]


def test_versions_are_stripped_and_columns_of_one_gene_summed():
    genes = [GENES[0] + ".12", GENES[1], GENES[0] + ".7", GENES[2]]
    cells, report = encoded([[2, 3, 2, 1], [0, 1, 2, 0]], genes=genes)
    assert cells == [[2, 3, 4], [2, 3]]
    assert report["n_genes"].tolist() == [4, 2]
    assert report["n_in_vocabulary"].tolist() == [3, 2]
    assert report["counts_lost"].tolist() == [0, 0]


def test_mapping_knows_aliases_case_and_clone_names():
    mapping = {"MDM2": GENES[0], "AC01.1": GENES[1], GENES[2]: GENES[2], "OLD": "ENSG9"}
    genes = ["mdm2", "AC01.1", GENES[2] + ".3", GENES[3], "OLD", "AC01"]
    found = vocabulary_ids(genes, set(GENES), mapping)
    assert found == [GENES[0], GENES[1], GENES[2], GENES[3], None, None]
    assert vocabulary_ids(genes, set(GENES)) == [None, None, GENES[2], GENES[3], None, None]
    cells, _ = encoded(
        [[1, 2, 3, 4, 9, 9]], genes, V2, special_tokens="v2", mapping=mapping, max_length=9
    )
    assert cells == [[2, 7, 6, 5, 4, 3]]


def test_lost_counts_are_shares_of_the_matrix():
    genes = [*GENES[:2], "unknown"]
    _, report = encoded([[1, 2, 1], [0, 0, 0], [0, 0, 5]], genes=genes, n_counts=[40, 0, 50])
    assert report["counts_lost"].tolist() == [0.25, 0, 1]
    assert report["n_in_vocabulary"].tolist() == [2, 0, 0]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_cells_without_a_known_gene_are_empty(version):
    cells, report = encoded(
        [[0, 0], [0, 7]], genes=[GENES[0], "x"], vocabulary=V2, special_tokens=version
    )
    assert cells == [[], []]
    assert report["length"].tolist() == [0, 0]


def test_stored_zeros_are_no_genes():
    counts = sparse.csr_matrix(([1.0, 0.0], [0, 1], [0, 2]), shape=(1, 6))
    cells, report = encode_cells(
        counts, [1.0], GENES, vocabulary_of(), Encoding(max_length=5, version="v1")
    )
    assert cells[0].tolist() == [2]
    assert report["n_genes"].tolist() == [1]
    assert counts.nnz == 2  # the caller's matrix is left alone


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"version": "v3"}, "'v3'"),
        ({"version": "v2"}, "<cls>"),
        ({"max_length": 0}, "tokens.max_length"),
        ({"version": "v2", "vocabulary": V2, "max_length": 2}, "at least 3"),
        ({"n_counts": [0.0]}, "n_counts"),
        ({"n_counts": [np.nan]}, "n_counts"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, found):
    with pytest.raises(InputError, match=found):
        encoded([[1, 0, 0, 0, 0, 0]], **settings)


def test_many_cells_over_several_blocks_match_the_definition():
    counts, genes, vocabulary = random_cells()
    n_counts = np.asarray(counts.sum(axis=1)).ravel() * 1.1
    cells, report = encode_cells(
        counts, n_counts, genes, vocabulary, Encoding(max_length=90, version="v1")
    )
    assert len(cells) == len(report) == 2500
    medians = vocabulary["median"].to_numpy()[2:]
    for i in (0, 1023, 1024, 2047, 2048, 2499):
        row = counts[i].toarray()[0, : len(medians)].astype(float)
        scores = row * (1 / n_counts[i]) * 10_000 * (1 / medians)
        columns = sorted(np.flatnonzero(row), key=lambda j: (-scores[j], j))[:90]
        assert cells[i].tolist() == [j + 2 for j in columns]


def test_falling_order_is_a_stable_sort_row_by_row():
    rng = np.random.default_rng(3)
    lengths = [0, 5, 1, 0, 300, 2, 40, 0]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    close = 1 + np.arange(starts[-1])[::-1] % 7 * 2.0**-52  # differ in their last bits alone
    tied = rng.integers(0, 4, starts[-1]) / 3
    special = np.where(rng.random(starts[-1]) < 0.2, np.inf, tied)
    undefined = np.where(rng.random(starts[-1]) < 0.2, np.nan, tied)
    for values in (rng.lognormal(0, 3, starts[-1]), tied, close, special, undefined, tied - 0.5):
        expected = [
            start + np.argsort(-values[start:stop], kind="stable")
            for start, stop in zip(starts[:-1], starts[1:], strict=True)
        ]
        np.testing.assert_array_equal(falling_order(values, starts), np.concatenate(expected))
