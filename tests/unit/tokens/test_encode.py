import logging
import pickle

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from keygenes.core.errors import InputError
from keygenes.core.tables import TABLES, read_stamp, read_table, set_stamp, write_table
from keygenes.tokens.encode import (
    encode_cells,
    falling_order,
    merge_tokens,
    read_tokens,
    vocabulary_ids,
    write_tokens,
)

GENES = [f"ENSG{i:011d}" for i in range(6)]


def vocabulary_of(genes=GENES, medians=None, specials=("<pad>", "<mask>")):
    ids = [*specials, *genes]
    medians = np.ones(len(genes)) if medians is None else np.asarray(medians, dtype=float)
    return pd.DataFrame(
        {
            "token": np.arange(len(ids)),
            "ensembl_id": ids,
            "symbol": ids,
            "median": np.concatenate([[np.nan] * len(specials), medians]),
        }
    )


V2 = vocabulary_of(specials=("<pad>", "<mask>", "<cls>", "<eos>"))


def encoded(counts, genes=GENES, vocabulary=None, max_length=10, special_tokens="v1", **more):
    counts = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
    n_counts = more.pop("n_counts", np.asarray(counts.sum(axis=1)).ravel())
    vocabulary = vocabulary_of() if vocabulary is None else vocabulary
    settings = {"max_length": max_length, "special_tokens": special_tokens, **more}
    cells, report = encode_cells(counts, n_counts, genes, vocabulary, **settings)
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
        counts, [1.0], GENES, vocabulary_of(), max_length=5, special_tokens="v1"
    )
    assert cells[0].tolist() == [2]
    assert report["n_genes"].tolist() == [1]
    assert counts.nnz == 2  # the caller's matrix is left alone


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"special_tokens": "v3"}, "'v3'"),
        ({"special_tokens": "v2"}, "<cls>"),
        ({"max_length": 0}, "tokens.max_length"),
        ({"special_tokens": "v2", "vocabulary": V2, "max_length": 2}, "at least 3"),
        ({"n_counts": [0.0]}, "n_counts"),
        ({"n_counts": [np.nan]}, "n_counts"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, found):
    with pytest.raises(InputError, match=found):
        encoded([[1, 0, 0, 0, 0, 0]], **settings)


def random_cells(n_cells=2500, n_genes=300, seed=0):
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(rng.poisson(0.4, (n_cells, n_genes)).astype(np.float32))
    genes = np.array([f"ENSG{i:011d}" for i in range(n_genes)])
    vocabulary = vocabulary_of(list(genes[: n_genes - 20]), rng.gamma(2, 2, n_genes - 20))
    return counts, genes, vocabulary


def test_many_cells_over_several_blocks_match_the_definition():
    counts, genes, vocabulary = random_cells()
    n_counts = np.asarray(counts.sum(axis=1)).ravel() * 1.1
    cells, report = encode_cells(
        counts, n_counts, genes, vocabulary, max_length=90, special_tokens="v1"
    )
    assert len(cells) == len(report) == 2500
    medians = vocabulary["median"].to_numpy()[2:]
    for i in (0, 1023, 1024, 2047, 2048, 2499):
        row = counts[i].toarray()[0, : len(medians)].astype(float)
        scores = row * (1 / n_counts[i]) * 10_000 * (1 / medians)
        columns = sorted(np.flatnonzero(row), key=lambda j: (-scores[j], j))[:90]
        assert cells[i].tolist() == [j + 2 for j in columns]


def write_cells(path, counts, genes):
    adata = anndata.AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.var_names = list(genes)
    adata.obs["n_counts"] = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    adata.write_h5ad(path)


def tokens_written(folder, counts, genes, vocabulary, **settings):
    write_cells(folder / "cells.h5ad", counts, genes)
    write_table(vocabulary, folder / "vocabulary.parquet", "vocabulary")
    outputs = folder / "tokens.parquet", folder / "report.parquet"
    settings = {"max_length": 90, "version": "v1", **settings}
    write_tokens(folder / "cells.h5ad", folder / "vocabulary.parquet", *outputs, **settings)
    return outputs


def test_tables_have_their_schema_row_groups_and_stamp_and_read_back(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="keygenes")
    counts, genes, vocabulary = random_cells()
    counts = counts.tolil()
    counts[5], counts[2048] = 0, 0
    counts = counts.tocsr()
    set_stamp({"rule": "tokenize_cells"})
    try:
        tokens_path, report_path = tokens_written(tmp_path, counts, genes, vocabulary)
    finally:
        set_stamp({})
    for path, table in ((tokens_path, "tokens"), (report_path, "token_report")):
        assert pq.read_schema(path).remove_metadata().equals(TABLES[table])
        assert read_stamp(path) == {"rule": "tokenize_cells"}
    stored = pq.ParquetFile(tokens_path).metadata
    sizes = [stored.row_group(i).num_rows for i in range(stored.num_row_groups)]
    assert sizes == [1023, 1024, 451]

    report = read_table(report_path)
    assert report["cell"].tolist() == [f"cell{i}" for i in range(2500)]
    assert report.loc[report["length"] == 0, "cell"].tolist() == ["cell5", "cell2048"]
    assert "2 cells without a gene of the vocabulary left out: cell5, cell2048" in caplog.text
    lines = [r.getMessage() for r in caplog.records if "in the vocabulary" in r.getMessage()]
    assert len(lines) == 1
    known = "2500 cells, 280 of 300 genes in the vocabulary (280 tokens), 20 genes out of it with "
    assert lines[0].startswith(known)
    lost = 1 - counts[:, :280].sum() / counts.sum()
    assert f"{100 * lost:.1f} % of the counts" in lines[0]

    cells, ids, offsets = read_tokens(tokens_path)
    assert (ids.dtype, offsets.dtype) == (np.uint16, np.int64)
    assert cells == [f"cell{i}" for i in range(2500) if i not in (5, 2048)]
    direct, _ = encode_cells(
        counts,
        np.asarray(counts.sum(axis=1)).ravel(),
        genes,
        vocabulary,
        max_length=90,
        special_tokens="v1",
    )
    direct = [cell for cell in direct if len(cell)]
    for i, cell in enumerate(direct):
        np.testing.assert_array_equal(ids[offsets[i] : offsets[i + 1]], cell)
    table = read_table(tokens_path)
    assert table["length"].tolist() == np.diff(offsets).tolist()
    np.testing.assert_array_equal(table["input_ids"].iloc[7], direct[7])


def test_equal_input_gives_equal_bytes(tmp_path):
    cells = random_cells(n_cells=200)
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written.append([p.read_bytes() for p in tokens_written(tmp_path / name, *cells)])
    assert written[0] == written[1]


def test_a_large_loss_is_warned_of_and_a_nearly_total_one_refused(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="keygenes")
    counts, genes, vocabulary = random_cells(n_cells=50)
    partly = [f"GENE{i}" if i < 100 else gene for i, gene in enumerate(genes)]
    tokens_written(tmp_path, counts, partly, vocabulary)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "% of the counts lie outside the vocabulary" in warnings[0]

    folder = tmp_path / "symbols"
    folder.mkdir()
    symbols = [f"GENE{i}" for i in range(300)]
    with pytest.raises(InputError) as caught:
        tokens_written(folder, counts, symbols, vocabulary)
    text = str(caught.value)
    assert str(folder / "cells.h5ad") in text
    assert "100 % of the counts" in text
    assert "'GENE0'" in text
    assert "Ensembl gene ids" in text
    assert sorted(p.name for p in folder.iterdir()) == ["cells.h5ad", "vocabulary.parquet"]


def test_the_mapping_file_is_used(tmp_path):
    counts = sparse.csr_matrix(np.array([[3, 2]], dtype=np.float32))
    (tmp_path / "mapping.pkl").write_bytes(pickle.dumps({"TP53": GENES[0], "MDM2": GENES[1]}))
    tokens_path, _ = tokens_written(
        *(tmp_path, counts, ["MDM2", "TP53"], V2),
        version="v2",
        mapping_path=tmp_path / "mapping.pkl",
    )
    assert read_tokens(tokens_path)[1].tolist() == [2, 5, 4, 3]


def in_shards(folder, n_shards, cells, name="merged", **settings):
    """Encode cells in shards, put them together and return the paths of both tables."""
    parts = []
    for shard in range(n_shards):
        (folder / f"shard{shard}").mkdir()
        parts.append(
            tokens_written(folder / f"shard{shard}", *cells, shard=[shard, n_shards], **settings)
        )
    merged = folder / f"{name}.parquet", folder / f"{name}_report.parquet"
    options = {"max_length": 90, "where": "cells.h5ad", **settings}
    options.pop("version", None)
    merge_tokens(*zip(*parts, strict=True), *merged, **options)
    return merged


@pytest.mark.parametrize(
    ("n_shards", "settings"),
    [(3, {}), (2, {"version": "v2"}), (7, {})],
)
def test_shards_merge_to_the_same_bytes_and_log(tmp_path, caplog, n_shards, settings):
    caplog.set_level(logging.INFO, logger="keygenes")
    counts, genes, vocabulary = random_cells()
    if settings:
        vocabulary = vocabulary_of(genes[:280], specials=("<pad>", "<mask>", "<cls>", "<eos>"))
    counts = counts.tolil()
    counts[:1024] = 0  # a whole block without a gene
    counts[2400] = 0
    cells = counts.tocsr(), genes, vocabulary
    set_stamp({"rule": "tokenize_cells"})
    try:
        whole = tokens_written(tmp_path, *cells, **settings)
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        merged = in_shards(tmp_path, n_shards, cells, **settings)
    finally:
        set_stamp({})
    for ours, theirs in zip(merged, whole, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert [r.getMessage() for r in caplog.records if "shard " not in r.getMessage()] == said


def test_a_nearly_total_loss_is_refused_when_shards_are_put_together(tmp_path):
    counts, _, vocabulary = random_cells(n_cells=50)
    with pytest.raises(InputError, match=r"cells.h5ad: found 100 % .*'GENE0'"):
        in_shards(tmp_path, 2, (counts, [f"GENE{i}" for i in range(300)], vocabulary))
    assert not (tmp_path / "merged.parquet").exists()


def test_one_shard_may_lose_what_the_whole_does_not(tmp_path):
    counts, genes, vocabulary = random_cells(n_cells=1100)
    counts = counts.tolil()
    counts[1024:, :280] = 0  # the second shard has nothing that the vocabulary knows
    merged = in_shards(tmp_path, 2, (counts.tocsr(), genes, vocabulary))
    assert len(read_tokens(merged[0])[0]) == 1024


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


def test_tokens_beyond_16_bits_are_read_as_they_are(tmp_path):
    counts = sparse.csr_matrix(np.array([[3, 2], [0, 0]], dtype=np.float32))
    for first, kind in ((2**16 - 2, np.uint16), (2**16 - 1, np.int32)):
        vocabulary = vocabulary_of(GENES[:2], specials=())
        vocabulary["token"] += first
        tokens_path, _ = tokens_written(tmp_path, counts, GENES[:2], vocabulary)
        ids = read_tokens(tokens_path)[1]
        assert ids.tolist() == [first, first + 1]
        assert ids.dtype == kind
