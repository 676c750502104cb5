import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.cells.columns import (
    cells_with,
    known_values,
    passing_cells,
    require_column,
    values_in,
    vehicle_cells,
)
from keygenes.core.errors import InputError


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ([0.0, 1.25, np.nan, 12.5], [0], [True, False, False, False]),
        ([0.0, 1.25, np.nan, 12.5], ["1.25", 12.5], [False, True, False, True]),
        ([0, 1, 2], [1.0, "zwei"], [False, True, False]),
        (["nutlin", "0", None], ["nutlin"], [True, False, False]),
        (["nutlin", "0", "0.0"], [0], [False, True, True]),
        (["nutlin", "0", "2.50"], [2.5], [False, False, True]),
        (["1", "2"], ["1.0", 2.0], [True, True]),
        (["01", "1"], [1], [False, True]),
        (["01", "1"], ["01"], [True, False]),
        ([True, False], ["True"], [True, False]),
        ([True, False], [True], [True, False]),
        ([True, False], [1], [True, False]),
        (["True", "False"], [True, "0"], [True, True]),
        ([1, 0], [True], [True, False]),
        (["yes", "no"], [False], [False, False]),
        (["x", "nan", None, ""], ["nan"], [False] * 4),
        (["x", None], ["None", "nan", "<NA>", ""], [False, False]),
        ([1.0, np.nan], ["nan"], [False, False]),
        (["none", "NA", None], ["none"], [True, False, False]),
        (["1.1", "1.10"], ["1.1"], [True, False]),
        (["1.1", "1.10"], ["1.10"], [False, True]),
    ],
)
def test_which_cells_have_a_value(column, values, expected):
    for stored in (pd.Series(column), pd.Series(pd.Categorical(column))):
        assert values_in(stored, values).tolist() == expected


def test_a_name_is_no_other_name_where_that_one_is_not_among_the_cells():
    part = pd.Series(pd.Categorical(["1.10", "2", "2"], ["1.1", "1.10", "2"]))
    assert not values_in(part, ["1.1"]).any()
    assert known_values(part) == "1.10, 2"


@pytest.mark.parametrize(
    "column", [np.array([0, 0.1, 0.7], "f4"), [0.1 * 3, 1 / 3, 1e-5, 2**53 + 1]]
)
def test_what_is_shown_is_what_matches(column):
    shown = known_values(pd.Series(column)).split(", ")
    assert len(shown) == len(column)
    for text in shown:
        assert values_in(pd.Series(column), [text]).sum() == 1
        assert values_in(pd.Series(column), [float(text)]).sum() == 1


def test_a_number_that_may_be_one_of_two_names_is_refused():
    obs = pd.DataFrame({"cluster": ["1.1", "1.10", "2"]})
    assert cells_with(obs, "cluster", "1.10", "key").tolist() == [False, True, False]
    assert cells_with(obs, "cluster", 2, "key").tolist() == [False, False, True]
    with pytest.raises(InputError) as error:
        cells_with(obs, "cluster", 1.1, "tasks.t.classes.a")
    assert_sentence(
        error, "config key 'tasks.t.classes.a'", "1.1 or 1.10", "'cluster'", "in quotes"
    )


def test_what_yaml_reads_as_a_logical_is_to_be_quoted():
    obs = pd.DataFrame({"responds": ["yes", "no"]})
    with pytest.raises(InputError) as error:
        cells_with(obs, "responds", False, "select.vehicle.value")
    assert_sentence(error, "config key 'select.vehicle.value'", "one of no, yes", "quotes")


def test_categories_match_as_text():
    column = pd.Series(pd.Categorical(["b", "a", None], ["b", "a"]))
    assert values_in(column, ["a"]).tolist() == [False, True, False]


def test_known_values_are_sorted_short_and_without_the_missing():
    assert known_values(pd.Series([12.5, 0.0, np.nan, 2.5])) == "0, 2.5, 12.5"
    assert known_values(pd.Series(["b", None, "a", "b"])) == "a, b"
    assert known_values(pd.Series(pd.Categorical(["b", "a"]))) == "a, b"
    assert known_values(pd.Series(range(30))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..."


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    obs = pd.DataFrame({"drug": ["a"], "n_counts": [1]})
    require_column(obs, "drug", "select.drug")
    with pytest.raises(InputError) as error:
        require_column(obs, "dose_um", "select.doses_um")
    assert_sentence(error, "config key 'select.doses_um'", "'dose_um'", "drug, n_counts")


def test_vehicle_cells_and_a_value_that_no_cell_has():
    obs = pd.DataFrame({"dose_um": [0.0, 2.5, 0.0]})
    vehicle = vehicle_cells(obs, {"column": "dose_um", "value": 0})
    assert vehicle.tolist() == [True, False, True]
    with pytest.raises(InputError) as error:
        vehicle_cells(obs, {"column": "dose_um", "value": 5})
    assert_sentence(error, "config key 'select.vehicle.value'", "5", "one of 0, 2.5")
    with pytest.raises(InputError) as error:
        vehicle_cells(obs, {"column": "solvent", "value": "DMSO"})
    assert_sentence(error, "config key 'select.vehicle.column'", "'solvent'", "dose_um")


PASSED = [1, True, 1.0, "1", "True", "TRUE", "true", "1.0"]


@pytest.mark.parametrize("value", PASSED, ids=map(repr, PASSED))
def test_one_and_true_pass_however_they_are_stored(value):
    failed = {bool: False, int: 0, float: 0.0, str: "0"}[type(value)]
    for column in (pd.Series([value, failed, value]), pd.Categorical([value, failed, value])):
        assert passing_cells(pd.DataFrame({"filter_pass": column})).tolist() == [True, False, True]


def test_cells_of_a_dataset_that_was_never_filtered_pass():
    obs = pd.DataFrame(
        {"dataset": ["a", "a", "a", "b", "b"], "filter_pass": [1, 0, None, None, None]}
    )
    assert passing_cells(obs).tolist() == [True, False, False, True, True]
    assert passing_cells(obs.drop(columns="dataset")).sum() == 1
