import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.reader_tables import read_predictions, read_scores
from keygenes.evidence.score import reader_tracks
from keygenes.models.cells import labelled_cells

CLASSES = ["low", "high"]
GENES = ["ENSG01", "ENSG02", "ENSG03"]


@pytest.fixture
def cells():
    names = [f"c{i}" for i in range(6)]
    labels = pd.DataFrame({"cell": names, "level": pd.Categorical(CLASSES * 3, CLASSES)})
    splits = ["train", "train", "valid", "test", "test", "test"]
    return labelled_cells(labels, pd.DataFrame({"cell": names, "split": splits}), "level")[0]


WELLS = {"A": 2, "B": 2, "C": 2}  # and how many cells of each are tested


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a table of text, and its path."""

    def write(name, **columns):
        path = tmp_path / f"{name}.tsv"
        pd.DataFrame(columns).to_csv(path, sep="\t", index=False)
        return path

    return write


GOOD = {"cell": ["c3", "c5", "c4", "c0"], "low": [0.9, 0.2, 0.5, 1], "high": [0.1, 0.8, 0.5, 0]}


def test_predictions_are_taken_over_with_split_and_classes(cells, written):
    table = read_predictions(written("predictions", **GOOD), cells, CLASSES).set_index("cell")
    assert table["split"].to_dict() == {"c3": "test", "c5": "test", "c4": "test", "c0": "train"}
    assert table["true"].astype(str).to_dict() == dict(
        zip(["c3", "c5", "c4", "c0"], ["high", "high", "low", "low"], strict=True)
    )
    assert table["predicted"].astype(str).tolist() == ["low", "high", "low", "low"]
    np.testing.assert_allclose(table.loc["c3", "probabilities"], [0.9, 0.1])


def changed(column, row, value):
    rows = list(GOOD[column])
    rows[row] = value
    return {**GOOD, column: rows}


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({k: v for k, v in GOOD.items() if k != "high"}, ["column 'high'", "no such column"]),
        ({**GOOD, "hihg": 0}, ["column 'hihg'"]),
        (changed("cell", 1, "stranger"), ["column 'cell'", "line 3", "'stranger'"]),
        (changed("cell", 2, "c3"), ["column 'cell'", "line 4", "'c3'"]),
        (changed("low", 1, 0.3), ["column 'high'", "line 3", "1.1"]),
        (changed("low", 0, np.nan), ["column 'low'", "line 2", "''"]),
        (changed("low", 0, "NaN"), ["column 'low'", "line 2", "'NaN'"]),
        (changed("high", 0, -0.1), ["column 'high'", "line 2", "'-0.1'"]),
        (changed("high", 3, "inf"), ["column 'high'", "line 5", "'inf'"]),
        ({k: v[:2] for k, v in GOOD.items()}, ["column 'cell'", "1 of the 3", "'c4'"]),
    ],
)
def test_a_mistake_in_predictions_names_column_and_line(cells, written, columns, named):
    path = written("predictions", **columns)
    with pytest.raises(InputError) as error:
        read_predictions(path, cells, CLASSES)
    assert_sentence(error, "predictions.tsv", *named)


@pytest.mark.parametrize(
    "text",
    [
        *("", "cell\tlow\n\n", '"cell\n', "cell,low,high\n", "cell\tlow\tlow\thigh\n"),
        *("cell\tlow\thigh\nc3\t1\t0\t5\n", "cell\tlow\thigh\nc3\t1\n"),
    ],
)
def test_what_is_no_table_is_refused(cells, tmp_path, text):
    path = tmp_path / "predictions.tsv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_predictions(path, cells, CLASSES)
    assert_sentence(error, "predictions.tsv")


SCORES = {"gene": GENES, "score": [3.0, 1.0, 2.0]}
OF_WELLS = {
    "well": ["A", "A", "B", "C"],
    "gene": ["ENSG01", "ENSG02", "ENSG01", "ENSG01"],
    "n_cells": [2, 1, 2, 1],
    "score": [1.0, 5.0, 2.0, 4.0],
    "signed": [-1.0, 5.0, 2.0, 4.0],
}


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"gene": GENES}, ["column 'score'"]),
        ({**SCORES, "well": "A"}, ["column 'n_cells'"]),
        ({**SCORES, "gene": ["ENSG01", "MDM2", "ENSG03"]}, ["column 'gene'", "line 3", "'MDM2'"]),
        ({**SCORES, "gene": ["ENSG01", "ENSG02", "ENSG01"]}, ["column 'gene'", "line 4"]),
        ({**SCORES, "score": [1, None, 2]}, ["column 'score'", "line 3", "''"]),
        ({**OF_WELLS, "well": ["A", "A", "B", "Z"]}, ["column 'well'", "line 5", "'Z'"]),
        ({**OF_WELLS, "n_cells": [2, 0, 2, 1]}, ["column 'n_cells'", "line 3", "'0'"]),
        ({**OF_WELLS, "n_cells": [2, 1, 1.5, 1]}, ["column 'n_cells'", "line 4", "'1.5'"]),
        ({**OF_WELLS, "n_cells": [2, 1, 3, 1]}, ["column 'n_cells'", "line 4", "'3'"]),
        ({"gene": [], "score": []}, ["no line"]),
        ({"": [1, 2, 3], **SCORES}, ["column ''", "nobody reads"]),
    ],
)
def test_a_mistake_in_scores_names_column_and_line(written, columns, named):
    path = written("scores", **columns)
    with pytest.raises(InputError) as error:
        read_scores(path, "forest", GENES, WELLS)
    assert_sentence(error, "scores.tsv", *named)


def tracks_of(tmp_path, tables, groups):
    paths = {}
    for run, table in tables.items():
        paths[run] = tmp_path / f"{run[0]}.{run[1]}.parquet"
        write_table(table, paths[run], "well_scores")
        assert len(read_table(paths[run])) == len(table)
    n_cells = pd.Series({"ENSG01": 40, "ENSG02": 30})
    return reader_tracks("forest", paths, groups, n_cells)


def test_scores_of_models_are_a_track_without_an_interval(written, tmp_path):
    tables = {}
    for fold, factor in ((1, 1.0), (2, 3.0)):
        path = written("scores", gene=GENES, score=[factor * s for s in SCORES["score"]])
        tables[fold, 1] = read_scores(path, "forest", GENES, WELLS)
    [track] = tracks_of(tmp_path, tables, {})
    track = track.set_index("ensembl_id")
    assert track["score"].to_dict() == {"ENSG01": 6.0, "ENSG02": 2.0, "ENSG03": 4.0}
    assert track["rank"].to_dict() == {"ENSG01": 1, "ENSG02": 3, "ENSG03": 2}
    assert track["n_cells"].to_dict() == {"ENSG01": 40, "ENSG02": 30, "ENSG03": 0}
    assert track[["ci_low", "p", "direction", "regime", "n_wells"]].isna().all().all()


SIDES = {"A": "reference", "B": "contrast", "C": "contrast", "D": "reference"}


def of_four_wells(written, **columns):
    more = {"well": "D", "gene": "ENSG01", "n_cells": 1, "score": 3.0, "signed": -3.0}
    columns = {name: [*OF_WELLS[name], more[name]] for name in columns or OF_WELLS}
    return read_scores(written("scores", **columns), "forest", GENES, {**WELLS, "D": 1})


def test_scores_of_wells_are_means_over_cells_with_a_sign_and_an_interval(written, tmp_path):
    table = of_four_wells(written)
    [track] = tracks_of(tmp_path, {(1, 1): table}, SIDES)
    row = track.set_index("ensembl_id").loc["ENSG01"]
    assert row["score"] == pytest.approx((2 * 1 + 2 * 2 + 1 * 4 + 3) / 6)
    assert (row["n_cells"], row["n_wells"], row["direction"]) == (6, 4, 1)
    assert row["ci_low"] < row["score"] < row["ci_high"]
    assert row["effect"] == pytest.approx((2 + 4) / 2 - (-1 - 3) / 2)


def test_scores_of_wells_without_a_sign_are_not_tested(written, tmp_path):
    table = of_four_wells(written, well=[], gene=[], n_cells=[], score=[])
    [track] = tracks_of(tmp_path, {(1, 1): table}, SIDES)
    assert track[["effect", "p", "q", "direction"]].isna().all().all()
    assert track.set_index("ensembl_id").loc["ENSG01", "ci_low"] > 0
