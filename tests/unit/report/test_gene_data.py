import numpy as np
import pandas as pd
import pytest

from keygenes.evidence.gene_table import explained_columns
from keygenes.report.gene_data import _rounded, class_unit, gene_details, gene_rows


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "ensembl_id": ["ENSG2", "ENSG1"],
            "symbol": ["MDM2", "<b>\x1bA</b>"],
            "n_cells": [10, 0],
            "in_p53": [True, False],
            "group": ["high", None],
            "log2fc": [1.23456, np.nan],
            "p_adj": [1.23456e-30, np.nan],
            "mean": [1.0, np.nan],
            "mean_reference": [0.5, np.nan],
            "attention_received_score": [1.5, np.nan],
            "attention_received_rank": pd.array([1, None], "Int64"),
            "attention_received_q": [0.01, np.nan],
            "attention_received_n": pd.array([10, None], "Int64"),
        }
    )


def test_numbers_have_four_digits_and_nothing_is_none():
    values = [[123456.0, 1.23456e-30], [np.nan, -0.000123456], [0.0, np.inf]]
    assert _rounded(values) == [[123500, 1.235e-30], [None, -0.0001235], [0, None]]


def test_a_row_per_gene_with_its_rank_on_every_track(table):
    shown = gene_rows(table, explained_columns(table, "all", {"p53": "targets"}))
    titles = [column["title"] for column in shown["columns"]]
    assert titles == [
        *("gene", "Ensembl id", "p53", "most different in", "its log2 fold change"),
        *("its adjusted p", "attention received, rank"),
    ]
    assert [column["kind"] for column in shown["columns"]] == [
        *("gene", "text", "flag", "text", "number", "number", "number")
    ]
    assert shown["rows"] == [
        ["MDM2", "ENSG2", 1, "high", 1.235, 1.235e-30, 1],
        ["<b> A</b>", "ENSG1", 0, None, None, None, None],
    ]
    assert all(column["hint"] for column in shown["columns"])


def test_only_classes_that_are_doses_have_a_unit(table):
    dose = {"name": "dose", "column": "dose_um"}
    assert class_unit(dose, ["0", "1.25", "25"]) == "µM"
    assert class_unit(dose, ["low", "high"]) == ""
    assert class_unit({"name": "age", "column": "weeks"}, ["1", "2"]) == ""
    shown = gene_rows(table, explained_columns(table, "all", {"p53": "targets"}), "µM")
    assert any("µM" in column["title"] for column in shown["columns"])


def test_details_stand_in_the_order_of_the_rows(table):
    classes = pd.Categorical(["low", "high"], ["low", "high"])
    ranks = pd.DataFrame({"ensembl_id": "ENSG2", "class": classes, "n_cells": [4, 6]})
    ranks = ranks.assign(rank_mean=[100.0, 20.0], rank_sd=[3.0, np.nan])
    tests = pd.DataFrame({"ensembl_id": "ENSG2", "group": classes, "reference": "rest"})
    tests = tests.assign(log2fc=[-1.0, 1.0], p_adj=0.5, n_cells=[30, 20], n_reference=[20, 30])
    vehicle = tests.assign(reference="vehicle", log2fc=9.0, n_cells=99, n_reference=99)
    heads = pd.DataFrame({"ensembl_id": "ENSG2", "layer": [1, 1, 2, 2], "head": [1, 2, 1, 2]})
    heads = heads.assign(mean=[1.0, 2.0, 3.0, 4.0], n_cells=10)
    explained = explained_columns(table, "all", {"p53": "targets"})
    both = pd.concat([tests, vehicle])
    found = gene_details(table, explained, both, ranks, heads, regime="last_layer", unit="µM")
    assert (found["regime"], found["unit"]) == ("last layer", "µM")
    assert found["tracks"] == ["attention received"]
    assert found["hints"] == [
        "mean attention received per cell, over layers and heads [multiples of uniform attention]"
    ]
    assert found["scores"] == [[[1.5, 1, 0.01, 10]], [[None] * 4]]
    assert found["classes"] == found["groups"] == ["low", "high"]
    assert found["ranks"] == [[[100, 3, 4], [20, None, 6]], [[None] * 3] * 2]
    assert found["tests"] == [[[-1, 0.5], [1, 0.5]], [[None] * 2] * 2]
    assert found["sizes"] == [[30, 20], [20, 30]]
    assert found["cells"] == [10, None]
    assert (found["layers"], found["heads"]) == (2, 2)
    assert found["attention"] == [[1, 2, 3, 4], [None] * 4]
