import numpy as np
import pandas as pd
import pytest

from keygenes.core.schemas import TABLES, gene_table_schema
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import TRACKS
from keygenes.evidence.gene_table import explained_columns, gene_table, sets_of, tracks_of

GENES = ["ENSG1", "ENSG2", "ENSG3", "ENSG4"]
SETS = {"known": {"S1", "ENSG4"}, "none": {"elsewhere"}}


def track_rows(track, regime, scores, seed=None, **columns):
    rows = [(gene, score) for gene, score in zip(GENES, scores, strict=False) if score is not None]
    frame = pd.DataFrame(rows, columns=["ensembl_id", "score"])
    frame["rank"] = frame["score"].rank(ascending=False).astype(int)
    named = {"track": track, "regime": regime, "seed": seed, "n_cells": 20, **columns}
    return frame.assign(symbol=frame["ensembl_id"].str.replace("ENSG", "S"), **named)


@pytest.fixture
def genes():
    """Return table 'genes': two models, one seed apart; ENSG4 is tested and never scored."""
    frames = [
        track_rows("wilcoxon", None, [3.0, 1.0, 2.0]),
        track_rows("detection", None, [20.0, 8.0, 9.0], n_cells=[20, 8, 9]),
        track_rows("attention_total", "full", [5.0, 7.0, None], q=[0.5, 0.01]),
        track_rows("attention_total", "full", [50.0, 1.0, 2.0], seed=1),
        track_rows("attention_total", "frozen", [9.0, 1.0, 30.0]),
        track_rows("rollout", "frozen", [9.0, 1.0, 30.0]),
    ]
    frame = pd.concat(frames, ignore_index=True).reindex(columns=TABLES["genes"].names)
    return frame.astype({"seed": "Int64", "n_wells": "Int64"})


@pytest.fixture
def tests():
    """Return table 'wilcoxon' of three classes; the comparison with untreated cells is left out."""
    rows = [
        (group, reference, gene, statistic)
        for reference, factor in (("rest", 1), ("vehicle", 100))
        for group, statistics in (
            ("a", [1, -9, 2, 0.5]),
            ("b", [3, 4, -8, 0.1]),
            ("c", [2, 2, 2, 0]),
        )
        for gene, statistic in zip(GENES, np.multiply(statistics, factor), strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["group", "reference", "ensembl_id", "statistic"])
    frame["symbol"] = frame["ensembl_id"].str.replace("ENSG", "S")
    numbers = {"log2fc": frame["statistic"] / 10, "p_adj": 0.1, "mean": 5.0, "mean_reference": 4.0}
    return frame.assign(**numbers).reindex(columns=TABLES["wilcoxon"].names)


def test_every_gene_has_a_row_in_the_order_of_the_models_first_track(genes, tests):
    table = gene_table(genes, tests, SETS, "full").set_index("ensembl_id")
    assert list(table.index) == ["ENSG2", "ENSG1", "ENSG3", "ENSG4"]
    assert table["symbol"].tolist() == ["S2", "S1", "S3", "S4"]
    assert table["n_cells"].tolist() == [8, 20, 9, 0]
    assert table["attention_total_score"].tolist()[:2] == [7, 5], "pooled, of this regime"
    assert table["attention_total_rank"].isna().tolist() == [False, False, True, True]
    assert table["attention_total_q"].tolist()[:2] == [0.01, 0.5]
    assert table["wilcoxon_n"].dropna().tolist() == [20, 20, 20]


def test_a_gene_stands_with_its_strongest_class_against_the_rest(genes, tests):
    table = gene_table(genes, tests, SETS, "full").set_index("ensembl_id").loc[GENES]
    assert table["group"].tolist() == ["b", "a", "b", "a"]
    assert table["log2fc"].tolist() == pytest.approx([0.3, -0.9, -0.8, 0.05])


def test_members_are_found_by_id_and_by_symbol(genes, tests):
    table = gene_table(genes, tests, SETS, "full").set_index("ensembl_id")
    assert table.index[table["in_known"]].tolist() == ["ENSG1", "ENSG4"]
    assert not table["in_none"].any()
    assert sets_of(table) == ["known", "none"]


def test_tracks_of_another_model_stay_out(genes, tests):
    assert tracks_of(gene_table(genes, tests, {}, "full")) == [
        *("wilcoxon", "detection", "attention_total")
    ]
    frozen = gene_table(genes, tests, {}, "frozen")
    assert "rollout" in tracks_of(frozen)
    assert frozen["ensembl_id"].iloc[0] == "ENSG3"


def test_without_a_track_of_a_model_the_tests_give_the_order(genes, tests):
    table = gene_table(genes, tests, {}, "another")
    assert table["ensembl_id"].tolist() == ["ENSG1", "ENSG3", "ENSG2", "ENSG4"]


def test_its_columns_follow_from_sets_and_tracks(genes, tests, tmp_path):
    table = gene_table(genes, tests, SETS, "full")
    schema = gene_table_schema(["known", "none"], ["wilcoxon", "detection", "attention_total"])
    assert list(table.columns) == schema.names
    write_table(table, tmp_path / "t.parquet", schema=schema)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), table)
    with pytest.raises(ValueError, match="in_known"):
        write_table(table.drop(columns="in_known"), tmp_path / "u.parquet", schema=schema)


def test_every_column_is_explained_with_its_unit_and_n(genes, tests):
    table = gene_table(genes, tests, SETS, "full")
    said = explained_columns(table, "the title", {"known": "what is known", "none": "nothing"})
    assert said["column"].tolist() == ["all", *table.columns]
    said = said.set_index("column")
    assert said.loc["all", "meaning"] == "the title"
    assert said["n_genes"]["all"] == 4
    assert said["n_genes"]["in_known"] == 2
    assert said["n_genes"]["attention_total_score"] == 2
    assert "what is known" in said["meaning"]["in_known"]
    assert said["unit"]["attention_total_score"] == TRACKS["attention_total"].unit
