import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.cells.columns import known_values, require_column, values_in, vehicle_cells
from keygenes.core.errors import InputError


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ([0.0, 1.25, np.nan, 12.5], [0], [True, False, False, False]),
        ([0.0, 1.25, np.nan, 12.5], ["1.25", 12.5], [False, True, False, True]),
        ([0, 1, 2], [1.0, "zwei"], [False, True, False]),
        (["nutlin", "0", None], ["nutlin"], [True, False, False]),
        (["nutlin", "0", "0.0"], [0], [False, True, False]),
        ([True, False], ["True"], [True, False]),
        ([True, False], [1], [False, False]),
    ],
)
def test_numbers_match_as_numbers_and_the_rest_as_text(column, values, expected):
    assert values_in(pd.Series(column), values).tolist() == expected


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
