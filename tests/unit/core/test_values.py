import datetime

import numpy as np
import pandas as pd
import pytest

from keygenes.core.values import are_names, plain_column, texts_of, value_text


@pytest.mark.parametrize(
    ("text", "values"),
    {
        "1": [1, 1.0, np.int8(1), np.float32(1), "1", "1.0", "1.", " 1 ", b"1"],
        "0": [0, -0.0, "0.0", "-0"],
        "0.1": [0.1, np.float32(0.1), np.float16(0.1), float(np.float32(0.1)), "0.1", ".1", "0.10"],
        "0.3": [0.1 * 3, np.float32(0.1) * np.float32(3), 0.3, "0.3"],
        "0.7": [0.7, np.float32(0.1) * np.float32(7)],
        "3.333333": [10 / 3, np.float32(10 / 3), "3.3333333333"],
        "1e-05": [1e-5, "1e-05", "1e-5", "0.00001"],
        "100000": [1e5, "1e+05", 100000],
        "9007199254740993": [2**53 + 1, "9007199254740993"],
        "1234567.25": [1234567.25],
        "True": [True, np.True_, "TRUE", "true", "True"],
        "False": [False, "FALSE"],
        "2024-01-02": [pd.Timestamp("2024-01-02"), datetime.date(2024, 1, 2), "2024-01-02"],
        "01": ["01"],
        "1E05": ["1E05"],
        "1e5": ["1e5"],
        "none": ["none"],
        "None": ["None"],
        "NA": ["NA"],
        "DMSO": ["DMSO", "DMSO "],
        None: [
            None,
            np.nan,
            np.float32("nan"),
            pd.NA,
            pd.NaT,
            "",
            " ",
            "nan",
            "NaN",
            "NAN",
            "<NA>",
        ],
    }.items(),
)
def test_a_value_has_one_text_however_it_is_stored(text, values):
    assert [value_text(value) for value in values] == [text] * len(values)


STORED = {
    "whole": np.array([2, 0, 10]),
    "float": [2.0, 0.0, 10.0],
    "float32": np.array([2, 0, 10], "f4"),
    "categories": pd.Categorical([2.0, 0.0, 10.0]),
    "text": ["2", "0", "10"],
    "text of floats": ["2.0", "0.0", "10.0"],
    "both": ["2", "0.0", "10.0"],
    "nullable": pd.array([2, 0, 10], dtype="Int64"),
    "nullable float": pd.array([2, 0, 10], dtype="Float32"),
    "string": pd.array(["2", "0", "10"], dtype="string"),
    "object": np.array([2, 0.0, "10"], object),
}


@pytest.mark.parametrize("column", STORED.values(), ids=STORED)
def test_texts_of_a_column(column):
    assert list(texts_of(column)) == ["2", "0", "10"]
    again = texts_of(texts_of(column))
    assert list(again) == ["2", "0", "10"]


@pytest.mark.parametrize(
    "column",
    [
        pd.array([True, None, False], dtype="boolean"),
        np.array([True, None, False], object),
        ["TRUE", "", "FALSE"],
        ["true", "nan", "0"],
        pd.Categorical(["True", None, "False"]),
    ],
)
def test_logicals_and_their_bits_are_one(column):
    texts = texts_of(column)
    assert [None if pd.isna(text) else text for text in texts] == ["True", None, "False"]
    assert texts.codes[1] == -1


def test_zeros_and_ones_alone_are_numbers():
    assert list(texts_of([1, 0])) == ["1", "0"]
    assert list(texts_of(["True", "2"])) == ["True", "2"]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["1.1", "1.10"], True),
        (["1.9", "1.10", "2"], True),
        (["1", "1.0", "1.1"], True),
        (["1.10", "1.11"], True),
        (["1.10"], True),
        (["1", "1.0", "2"], False),
        (["0.0", "2.5", "12.25"], False),  # as Python writes them
        (["0.00", "2.50", "12.25"], False),  # to two decimals
        (["0", "2.5", "1e-05"], False),  # as R does
        (["A01", "01", "low"], False),
        ([], False),
    ],
)
def test_decimals_that_are_names(texts, names):
    assert are_names(texts) is names
    if names:
        assert list(texts_of(texts)) == texts


def test_the_order_of_categories():
    assert list(texts_of([12.5, 0.0, 2.5, 10.0]).categories) == ["0", "2.5", "10", "12.5"]
    assert list(texts_of(["b", "10", "9"]).categories) == ["10", "9", "b"]
    given = pd.Categorical(["low", "high"], ["low", "mid", "high"], ordered=True)
    assert list(texts_of(given).categories) == ["low", "high"]
    assert texts_of(given).ordered


def test_columns_of_the_canonical_matrix_are_plain():
    kept = [np.array([1, 2]), np.array([1.5, np.nan]), np.array([True, False])]
    for column in kept:
        assert plain_column(pd.Series(column)).dtype == column.dtype
    of = {
        "int64": pd.array([1, 2], dtype="Int64"),
        "float64": pd.array([1, None], dtype="Int64"),
        "float32": pd.array([1.5, 2], dtype="Float32"),
        "bool": pd.array([True, False], dtype="boolean"),
        "category": pd.array([True, None], dtype="boolean"),
    }
    assert {kind: str(plain_column(pd.Series(column)).dtype) for kind, column in of.items()} == {
        kind: kind for kind in of
    }
    large = plain_column(pd.Series(pd.array([2**60 + 1, None], dtype="Int64")))
    assert large[0] == str(2**60 + 1), "float64 has no place for it"
    dates = plain_column(pd.Series(pd.to_datetime(["2024-01-02", None])))
    assert dates[0] == "2024-01-02" and pd.isna(dates[1])
