import logging
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from stated import logged, numbers_in, states
from token_cells import (
    GENES,
    V2,
    in_shards,
    random_cells,
    tokens_written,
    vocabulary_of,
)

from keygenes.core.errors import InputError
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_stamp, read_table, set_stamp
from keygenes.tokens.encode import Encoding, encode_cells
from keygenes.tokens.store import read_tokens
from keygenes.tokens.vocabulary import read_mapping


@pytest.mark.slow
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
    assert logged(caplog, 2, "cell5, cell2048")
    (said,) = logged(caplog, 2500, 280, 300)
    assert numbers_in(said)[:5] == [2500, 280, 300, 280, 20], "cells, genes, tokens, genes lost"
    lost = 1 - counts[:, :280].sum() / counts.sum()
    assert states(said, 100 * lost, digits=1)

    cells, ids, offsets = read_tokens(tokens_path)
    assert (ids.dtype, offsets.dtype) == (np.uint16, np.int64)
    assert cells == [f"cell{i}" for i in range(2500) if i not in (5, 2048)]
    direct, _ = encode_cells(
        counts,
        np.asarray(counts.sum(axis=1)).ravel(),
        genes,
        vocabulary,
        Encoding(max_length=90, version="v1"),
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
    total, kept = counts.sum(), counts[:, 100:280].sum()
    assert [numbers_in(text) for text in warnings] == [[round(100 * (1 - kept / total))]]

    folder = tmp_path / "symbols"
    folder.mkdir()
    symbols = [f"GENE{i}" for i in range(300)]
    with pytest.raises(InputError) as caught:
        tokens_written(folder, counts, symbols, vocabulary)
    text = str(caught.value)
    assert str(folder / "cells.h5ad") in text
    assert states(text, 100)
    assert "'GENE0'" in text
    assert "Ensembl" in text
    assert sorted(p.name for p in folder.iterdir()) == ["cells.h5ad", "vocabulary.parquet"]


def test_the_mapping_file_is_used(tmp_path):
    counts = sparse.csr_matrix(np.array([[3, 2]], dtype=np.float32))
    (tmp_path / "mapping.pkl").write_bytes(pickle.dumps({"TP53": GENES[0], "MDM2": GENES[1]}))
    tokens_path, _ = tokens_written(
        *(tmp_path, counts, ["MDM2", "TP53"], V2),
        version="v2",
        mapping=read_mapping(tmp_path / "mapping.pkl"),
    )
    assert read_tokens(tokens_path)[1].tolist() == [2, 5, 4, 3]


@pytest.mark.slow
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


def test_tokens_beyond_16_bits_are_read_as_they_are(tmp_path):
    counts = sparse.csr_matrix(np.array([[3, 2], [0, 0]], dtype=np.float32))
    for first, kind in ((2**16 - 2, np.uint16), (2**16 - 1, np.int32)):
        vocabulary = vocabulary_of(GENES[:2], specials=())
        vocabulary["token"] += first
        tokens_path, _ = tokens_written(tmp_path, counts, GENES[:2], vocabulary)
        ids = read_tokens(tokens_path)[1]
        assert ids.tolist() == [first, first + 1]
        assert ids.dtype == kind
