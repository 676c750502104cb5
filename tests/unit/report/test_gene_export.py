import openpyxl
import pandas as pd
import pytest
from gene_set_tables import matched_set

from keygenes.attention.expected import LIMIT
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.report.gene_export import Shown, write_gene_table, write_workbook

HOSTILE = ["=1+1", "@SUM(A1)", "https://example.org", "a\tb", "-5e3", "{=A1}"]


def frame():
    return pd.DataFrame(
        {
            "ensembl_id": [f"ENSG{i}" for i in range(len(HOSTILE))],
            "symbol": HOSTILE,
            "in_known": [True, False] * 3,
            "x_rank": pd.array([12345, None, 3, 4, 5, 6], "Int64"),
            "x_q": [1e-30, float("nan"), 0.5, float("inf"), 1.0, 0.25],
        }
    )


def opened(path, **how):
    return openpyxl.load_workbook(path, **how)


def test_a_workbook_holds_the_values_in_full(tmp_path):
    write_workbook({"genes": frame()}, tmp_path / "g.xlsx", "title")
    rows = list(opened(tmp_path / "g.xlsx")["genes"].iter_rows(values_only=True))
    assert rows[0] == tuple(frame().columns)
    assert rows[1][2:] == (True, 12345, 1e-30)
    assert rows[2][3:] == (None, None)
    assert rows[4][4] is None, "no finite number"


def test_text_of_others_stays_text(tmp_path):
    write_workbook({"genes": frame()}, tmp_path / "g.xlsx", "title")
    sheet = opened(tmp_path / "g.xlsx")["genes"]
    cells = [sheet.cell(i + 2, 2) for i in range(len(HOSTILE))]
    assert [cell.value for cell in cells] == [
        *("'=1+1", "'@SUM(A1)", "https://example.org", "a b", "-5e3", "{=A1}")
    ]
    assert {cell.data_type for cell in cells} == {"s"}
    assert not any(cell.hyperlink for cell in cells)


def test_the_header_stays_in_sight_and_filters(tmp_path):
    write_workbook({"genes": frame(), "columns": frame()}, tmp_path / "g.xlsx", "title")
    for sheet in opened(tmp_path / "g.xlsx"):
        assert sheet.freeze_panes == "C2"
        assert sheet.auto_filter.ref == "A1:E7"
        assert sheet["A1"].font.bold
        assert sheet["E2"].number_format == "0.0E+00"
        widths = [sheet.column_dimensions[name].width for name in "ABCDE"]
        assert all(8 < width < 30 for width in widths)


def test_equal_workbooks_have_equal_bytes_whenever_they_are_written(tmp_path):
    for name in "ab":
        write_workbook({"genes": frame()}, tmp_path / f"{name}.xlsx", "title")
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    assert opened(tmp_path / "a.xlsx").properties.created.year == 2000


@pytest.fixture
def written(tmp_path):
    """Return a function that exports a task of two genes; it returns the folder."""
    ids = {"ensembl_id": ["ENSG1", "ENSG2"], "symbol": ["S1", "=S2"]}
    rows = {**ids, "score": [2.0, 1.23456789], "rank": [1, 2], "n_cells": 12345, "regime": None}
    genes = [pd.DataFrame({**rows, "track": track}) for track in ("wilcoxon", "detection")]
    genes = pd.concat(genes).reindex(columns=TABLES["genes"].names)
    genes = genes.astype({"seed": "Int64", "n_wells": "Int64"})
    tests = pd.DataFrame({**ids, "group": "high", "reference": "rest", "statistic": [3.0, 1.0]})
    tests = pd.concat(
        tests.assign(task=task, log2fc=fold) for task, fold in (("level", 1.0), ("dose", 9.0))
    )
    tests = tests.assign(n_cells=5, n_reference=7).reindex(columns=TABLES["wilcoxon"].names)
    write_table(tests, tmp_path / "in.wilcoxon.parquet", "wilcoxon")
    (tmp_path / "set.tsv").write_text("symbol\nS1\n")
    matched = matched_set(tmp_path / "set.tsv", *ids.values())
    entry = {"title": "what was planted", "simulated": True}

    def write(simulated, *more, regime="full", readers=None):
        of_model = [
            genes[genes["track"] == "wilcoxon"].assign(
                track=t, regime=None if t in (readers or {}) else regime
            )
            for t in more
        ]
        write_table(pd.concat([genes, *of_model]), tmp_path / "in.genes.parquet", "genes")
        leading = next(iter(readers or {}), "wilcoxon")
        names = {"table": "genes.parquet", "tsv": "genes.tsv", "xlsx": "genes.xlsx"}
        names["columns"] = "columns.tsv"
        write_gene_table(
            tmp_path / "in.genes.parquet",
            tmp_path / "in.wilcoxon.parquet",
            {"planted": (matched, entry)},
            Shown("tiny", "level", regime, leading, readers or {}, simulated),
            {name: tmp_path / path for name, path in names.items()},
        )
        return tmp_path

    return write


def test_the_limit_of_residual_attention_stands_where_its_q_is(written):
    folder = written(False, "attention_residual")
    columns = pd.read_csv(folder / "columns.tsv", sep="\t").set_index("column")
    assert columns.loc["attention_residual_q", "meaning"].endswith(LIMIT)
    assert LIMIT not in columns.loc["wilcoxon_q", "meaning"]


@pytest.mark.parametrize("regime", [None, "forest", "full"])
def test_what_reads_the_cells_is_said_where_it_does(written, regime):
    trees = {"forest": {"title": "a forest of trees", "score": "impurity", "unit": "share"}}
    readers = trees if regime else {}
    folder = written(False, *readers, regime=regime, readers=readers)
    said = pd.read_csv(folder / "columns.tsv", sep="\t").set_index("column")
    title = opened(folder / "genes.xlsx").properties.title
    assert title == said.loc["all", "meaning"]
    assert ("regime full" in title) == (regime == "full")
    assert ("regime" in title) == (regime == "full") and "None" not in title
    assert ("a forest of trees" in title) == bool(readers)
    if readers:
        assert said.loc["forest_score", ["meaning", "unit"]].tolist() == ["impurity", "share"]
        table = read_table(folder / "genes.parquet")
        assert table["forest_rank"].is_monotonic_increasing


def test_the_three_forms_say_the_same(written):
    folder = written(False)
    table = read_table(folder / "genes.parquet")
    assert table["log2fc"].tolist() == [1, 1], "of this task"
    assert table["in_planted"].tolist() == [True, False]
    text = pd.read_csv(folder / "genes.tsv", sep="\t")
    assert text["wilcoxon_score"].tolist() == [2, 1.23457]
    assert text["wilcoxon_n"].tolist() == [12345, 12345]
    sheet = pd.read_excel(folder / "genes.xlsx", sheet_name="genes")
    assert sheet["wilcoxon_score"].tolist() == table["wilcoxon_score"].tolist()
    assert text["symbol"].tolist() == sheet["symbol"].tolist() == ["S1", "'=S2"]
    assert list(text.columns) == list(sheet.columns) == list(table.columns)


@pytest.mark.parametrize(
    ("simulated", "said"),
    [
        ("no cell is real", "SIMULATED DATA: no cell is real. Study"),
        (True, "SIMULATED DATA. Study"),
    ],
)
def test_simulated_data_are_marked_in_the_sheets_and_the_text(written, simulated, said):
    folder = written(simulated)
    book = opened(folder / "genes.xlsx")
    assert book.sheetnames == ["genes (SIMULATED)", "columns"]
    assert book["columns"]["B2"].value.startswith(said)
    text = pd.read_csv(folder / "columns.tsv", sep="\t").set_index("column")["meaning"]
    assert text["all"].startswith(said)
    assert text["in_planted"] == "member of: what was planted (SIMULATED)"


def test_real_data_are_not(written):
    folder = written(False)
    assert opened(folder / "genes.xlsx").sheetnames == ["genes", "columns"]
    assert "SIMULATED DATA" not in (folder / "columns.tsv").read_text()
