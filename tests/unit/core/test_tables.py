import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_stamp, read_table, set_stamp, write_table, write_tsv

# values that a column must come back with: categories in an order that is not alphabetical
FILLED = {
    pa.string(): ["b", None, "ä"],
    pa.int64(): pd.array([3, None, 2**53 + 1], "Int64"),
    pa.float64(): [0.1, np.nan, -1e300],
    pa.bool_(): [True, False, True],
    pa.dictionary(pa.int32(), pa.string()): pd.Categorical(["low", None, "high"], ["low", "high"]),
    pa.list_(pa.int32()): [np.array([1, 2], np.int32), np.array([], np.int32), np.array([7])],
    pa.list_(pa.float64()): [[0.25, 0.75], [1.0], []],
}


def frame_of(table):
    return pd.DataFrame({field.name: FILLED[field.type] for field in TABLES[table]})


@pytest.fixture(autouse=True)
def no_stamp():
    set_stamp(None)
    yield
    set_stamp(None)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_every_schema_round_trips(tmp_path, table):
    path = tmp_path / "table.parquet"
    frame = frame_of(table)
    write_table(frame[frame.columns[::-1]], path, table)  # columns in any order
    stored = pq.read_schema(path)
    assert stored.names == TABLES[table].names
    assert stored.types == TABLES[table].types
    back = read_table(path)
    assert list(back.columns) == TABLES[table].names
    for field in TABLES[table]:
        given, column = pd.Series(FILLED[field.type]), back[field.name]
        if isinstance(given.dtype, pd.CategoricalDtype):
            assert list(column.cat.categories) == ["low", "high"]
            assert column.astype(object).where(column.notna(), None).tolist() == [
                *("low", None, "high")
            ]
        elif pa.types.is_list(field.type):
            assert [list(v) for v in column] == [list(v) for v in given]
        elif field.type == pa.int64():
            assert str(column.dtype) == "Int64", "a missing integer must not make floats"
            assert column.isna().tolist() == [False, True, False]
            assert int(column[2]) == 2**53 + 1
        elif field.type == pa.float64():
            np.testing.assert_array_equal(column.to_numpy(), np.array(given, float))
        else:
            assert column.where(column.notna(), None).tolist() == given.tolist()


def test_whole_integers_stay_plain_integers(tmp_path):
    frame = pd.DataFrame({"step": ["a"], "n_cells": [3], "n_genes": [4], "note": [""]})
    write_table(frame, tmp_path / "t.parquet", "selection")
    assert read_table(tmp_path / "t.parquet")["n_cells"].dtype == np.int64


def test_text_becomes_the_category_its_schema_wants(tmp_path):
    frame = pd.DataFrame(
        {"cell": ["x", "y"], "fold": 1, "split": ["train", "test"], "unit": "well"}
    )
    write_table(frame, tmp_path / "t.parquet", "splits")
    assert isinstance(read_table(tmp_path / "t.parquet")["split"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize("change", ["missing", "unknown", "type"])
def test_a_wrong_column_is_refused_and_nothing_is_written(tmp_path, change):
    frame = pd.DataFrame({"cell": ["x"], "umap1": [0.5], "umap2": [1.5]})
    if change == "missing":
        frame = frame.drop(columns="umap2")
    elif change == "unknown":
        frame["umap3"] = 1.0
    else:
        frame["umap1"] = "left"
    with pytest.raises((ValueError, pa.ArrowInvalid)) as error:
        write_table(frame, tmp_path / "t.parquet", "umap")
    assert {"missing": "umap2", "unknown": "umap3", "type": "umap1"}[change] in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", ["metrics", "predictions", "by_gene", "tokens"])
def test_equal_tables_have_equal_bytes(tmp_path, table):
    for name in "ab":
        write_table(frame_of(table), tmp_path / name, table)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_index_of_a_frame_leaves_no_trace(tmp_path):
    frame = frame_of("metrics")
    write_table(frame, tmp_path / "a", "metrics")
    write_table(frame.set_index(pd.Index([7, 8, 9])), tmp_path / "b", "metrics")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_table_without_schema_keeps_its_types_and_the_order_of_classes(tmp_path):
    labels = pd.Categorical(["2.5", None, "0"], ["0", "2.5", "12.5"], ordered=True)
    write_table(pd.DataFrame({"cell": ["a", "b", "c"], "dose": labels}), tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")["dose"]
    assert list(back.cat.categories) == ["0", "2.5", "12.5"]
    assert back.cat.ordered
    assert back.cat.codes.tolist() == [1, -1, 0]


def test_only_the_asked_columns_are_read(tmp_path):
    write_table(frame_of("umap"), tmp_path / "t.parquet", "umap")
    assert list(read_table(tmp_path / "t.parquet", columns=["umap2"]).columns) == ["umap2"]


def test_the_stamp_lies_in_the_metadata_and_not_in_the_columns(tmp_path):
    write_table(frame_of("umap"), tmp_path / "plain", "umap")
    set_stamp({"rule": "embed_cells", "wildcards": {}})
    write_table(frame_of("umap"), tmp_path / "stamped", "umap")
    assert read_stamp(tmp_path / "plain") == {}
    assert read_stamp(tmp_path / "stamped") == {"rule": "embed_cells", "wildcards": {}}
    pd.testing.assert_frame_equal(read_table(tmp_path / "plain"), read_table(tmp_path / "stamped"))


def test_text_for_a_spreadsheet_keeps_whole_numbers_whole(tmp_path):
    frame = pd.DataFrame(
        {
            "=name": ["=1+1", None],
            "class": pd.Categorical(["@x", "low"]),
            "rank": pd.array([123456, None], "Int64"),
            "score": [1.23456789, np.nan],
        }
    )
    write_tsv(frame, tmp_path / "t.tsv")
    lines = (tmp_path / "t.tsv").read_text().splitlines()
    assert lines == ["'=name\tclass\trank\tscore", "'=1+1\t'@x\t123456\t1.23457", "\tlow\t\t"]
    write_tsv(frame[["score"]], tmp_path / "t.tsv", digits=17)
    assert pd.read_csv(tmp_path / "t.tsv", sep="\t")["score"][0] == 1.23456789


def test_a_table_of_simulated_cells_says_so(tmp_path):
    frame = pd.DataFrame({"gene": ["A"]})
    for simulated, columns in ((False, ["gene"]), ("no cell is real", ["gene", "simulated"])):
        write_tsv(frame, tmp_path / "t.tsv", simulated=simulated)
        assert list(pd.read_csv(tmp_path / "t.tsv", sep="\t")) == columns
