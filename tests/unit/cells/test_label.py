import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.cells.label import label_cells, task_labels
from keygenes.core.errors import InputError

LEVEL = {"name": "level", "column": "dose_um", "classes": {"low": [0, 2.5], "high": [25]}}


def obs_of(*n):
    doses = np.repeat([0.0, 2.5, 25.0, 250.0][: len(n)], n)
    return pd.DataFrame({"dose_um": doses}, index=[f"c{i}" for i in range(len(doses))])


def test_classes_keep_the_order_of_the_config_and_other_cells_have_none():
    labels = task_labels(obs_of(5, 5, 10, 2), LEVEL)
    assert list(labels.categories) == ["low", "high"]
    assert labels.ordered
    assert labels.codes.tolist() == [0] * 10 + [1] * 10 + [-1] * 2


def test_one_column_per_task():
    dose = {"name": "dose", "column": "dose_um", "classes": {"25": [25], "0": [0]}}
    table = label_cells(obs_of(10, 1, 10), [LEVEL, dose])
    assert list(table.columns) == ["cell", "level", "dose"]
    assert table["cell"].tolist()[:2] == ["c0", "c1"]
    assert list(table["dose"].cat.categories) == ["25", "0"]
    assert table["dose"].isna().sum() == 1
    assert table["level"].value_counts().to_dict() == {"low": 11, "high": 10}


def test_text_columns_make_classes_too():
    obs = pd.DataFrame({"treatment": ["nutlin"] * 10 + ["vehicle"] * 12})
    task = {"name": "treatment", "column": "treatment"}
    task["classes"] = {"vehicle": ["vehicle"], "nutlin": ["nutlin"]}
    assert task_labels(obs, task).codes.tolist() == [1] * 10 + [0] * 12


@pytest.mark.parametrize(
    ("n", "classes", "where", "parts"),
    [
        ((10, 10, 9), None, "high", ["a class of 9 cells", "at least 10", "merge"]),
        ((10, 10, 10), {"low": [0], "high": [5]}, "high", ["5, which no", "one of 0, 2.5, 25"]),
        (
            *((10, 10, 10), {"low": [0, 2.5], "high": [25, 0]}, "high"),
            ["0, which is in another class too", "every value in one class"],
        ),
    ],
)
def test_classes_that_cannot_be(n, classes, where, parts):
    task = {**LEVEL, "classes": classes or LEVEL["classes"]}
    with pytest.raises(InputError) as error:
        task_labels(obs_of(*n), task)
    assert_sentence(error, f"config key 'tasks.level.classes.{where}'", *parts)


def test_a_column_that_is_not_there():
    with pytest.raises(InputError) as error:
        task_labels(obs_of(10, 10, 10), {**LEVEL, "column": "dose"})
    assert_sentence(error, "config key 'tasks.level.column'", "'dose'", "dose_um")


def test_ten_cells_are_enough():
    assert task_labels(obs_of(10, 0, 10), {**LEVEL, "classes": {"a": [0], "b": [25]}}) is not None


def test_values_that_are_missing_are_in_no_class():
    obs = pd.DataFrame({"state": pd.Categorical(["x", None] * 20)})
    task = {"name": "t", "column": "state", "classes": {"x": ["x"], "rest": ["nan"]}}
    with pytest.raises(InputError) as error:
        task_labels(obs, task)
    assert_sentence(error, "config key 'tasks.t.classes.rest'", "nan", "one of x")


def test_a_dataset_without_a_cell_of_a_class_is_named(caplog):
    obs = obs_of(20, 0, 20).assign(dataset=["blood"] * 20 + ["lines"] * 20)
    task = {"name": "level", "column": "dose_um", "classes": {"low": [0], "high": [25]}}
    task_labels(obs, task)
    assert "'blood' has no cell of high" in caplog.text
    assert "'lines' has no cell of low" in caplog.text
    caplog.clear()
    obs["dataset"] = np.repeat(["blood", "lines", "more"], [10, 20, 10])
    obs.loc[obs["dataset"] == "more", "dose_um"] = np.nan
    task_labels(obs, task)
    assert "no cell of the dataset 'more' is in a class" in caplog.text


def test_a_value_written_twice_in_one_class_is_there_once():
    task = {**LEVEL, "classes": {"low": [0, 0.0, "0"], "high": [25]}}
    assert task_labels(obs_of(10, 0, 10), task).codes.tolist() == [0] * 10 + [1] * 10
