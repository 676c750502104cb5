import logging

import numpy as np
import pandas as pd
import pytest
from stated import logged

from keygenes.cells.split import random_split, replicate_split, split_cells
from keygenes.cells.units import resampling_units

DOSES = [0.0, 1.25, 2.5, 12.5, 25.0]


def plate(cells_per_well=4, wells_per_replicate=2):
    """Return cells of 5 doses x 3 replicates x 2 wells, shuffled, as in the study."""
    rows = []
    for d, dose in enumerate(DOSES):
        for r in range(3):
            for w in range(wells_per_replicate):
                well = f"{'ABCDEFGH'[d]}{'AB'[w]}{r + 1:02d}"
                rows += [{"dose_um": dose, "replicate": f"rep{r + 1}", "well": well}] * (
                    cells_per_well
                )
    obs = pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True)
    obs.index = "cell" + obs.index.astype(str)
    return obs


def table_of(obs, **options):
    options = {"folds": [1, 2, 3], "by": "replicate", **options}
    fractions = {"test_fraction": 0.2, "valid_fraction": 0.25}
    return split_cells(obs, obs["dose_um"].astype(str).to_numpy(), **{**fractions, **options})


def with_obs(table, obs):
    return table.merge(obs, left_on="cell", right_index=True)


def test_fold_k_holds_out_replicate_k():
    frame = with_obs(table_of(plate()), plate())
    for fold in (1, 2, 3):
        held_out = frame[(frame["fold"] == fold) & (frame["split"] == "test")]
        assert set(held_out["replicate"]) == {f"rep{fold}"}
        assert len(held_out) == 5 * 2 * 4


def test_a_fourth_fold_starts_over_with_other_validation_wells():
    obs = plate(wells_per_replicate=2)
    frame = with_obs(table_of(obs, folds=[1, 4]), obs)
    tested = frame[frame["split"] == "test"].groupby("fold")["cell"].agg(set)
    assert tested[1] == tested[4]
    valid = frame[frame["split"] == "valid"].groupby("fold")["well"].agg(set)
    assert valid[1] != valid[4]


def test_three_folds_test_every_cell_once_and_every_well_once():
    obs = plate()
    tested = with_obs(table_of(obs), obs).query("split == 'test'")
    assert sorted(tested["cell"]) == sorted(obs.index)
    assert tested.groupby("well")["fold"].nunique().eq(1).all()
    assert set(tested["well"]) == set(obs["well"])


def test_no_well_lies_in_two_splits():
    frame = with_obs(table_of(plate()), plate())
    assert frame.groupby(["fold", "well"])["split"].nunique().eq(1).all()


def test_every_dose_is_in_every_split_with_one_of_four_wells_for_validation():
    frame = with_obs(table_of(plate()), plate())
    wells = frame.groupby(["fold", "dose_um", "split"])["well"].nunique().unstack()
    assert len(wells) == 15
    assert wells[["test", "train", "valid"]].to_numpy().tolist() == [[2, 3, 1]] * 15


def test_the_table_has_a_row_per_cell_and_fold_and_names_the_unit():
    obs = plate()
    table = table_of(obs)
    assert list(table.columns) == ["cell", "fold", "split", "unit"]
    assert len(table) == 3 * len(obs)
    assert set(table["unit"]) == {"well"}
    assert table["cell"].tolist()[: len(obs)] == list(obs.index)
    pd.testing.assert_frame_equal(table, table_of(obs))


def test_replicates_without_wells_hold_out_replicates_and_validate_by_cell():
    obs = plate().drop(columns="well")
    table = table_of(obs)
    assert set(table["unit"]) == {"replicate"}
    frame = with_obs(table, obs)
    assert frame[frame["split"] == "test"].groupby("fold")["replicate"].nunique().eq(1).all()
    share = frame[frame["split"] != "test"].groupby("fold")["split"].value_counts(normalize=True)
    assert share.xs("valid", level="split").between(0.2, 0.3).all()


def test_a_dose_with_one_well_left_is_validated_by_cell():
    obs = plate(wells_per_replicate=1)
    obs = obs[(obs["dose_um"] != 25) | (obs["replicate"] != "rep3")]
    frame = with_obs(table_of(obs, folds=[1]), obs)
    of_dose = frame[frame["dose_um"] == 25]["split"].value_counts().to_dict()
    assert of_dose == {"test": 4, "train": 3, "valid": 1}


@pytest.mark.parametrize("missing", ["absent", "one cell unknown", "all the same"])
def test_without_replicates_it_falls_back_to_cells_and_says_so(caplog, missing):
    obs = plate()
    if missing == "absent":
        obs = obs.drop(columns=["replicate", "well"])
    elif missing == "one cell unknown":
        obs.loc["cell0", "replicate"] = None
    else:
        obs["replicate"] = "rep1"
    with caplog.at_level(logging.WARNING, "keygenes"):
        table = table_of(obs)
    assert set(table["unit"]) == {"cell"}
    assert logged(caplog, "split.by", "replicate", "cell")
    assert set(table["split"]) == {"train", "valid", "test"}


def test_a_dataset_without_replicates_is_named(caplog):
    obs = plate().assign(dataset="lines")
    obs.loc[obs.index[:5], ["replicate", "dataset"]] = [None, "blood"]
    table = table_of(obs)
    assert set(table["unit"]) == {"cell"}
    assert f"5 of {len(obs):,} cells" in caplog.text and "blood" in caplog.text
    assert "lines" not in caplog.text


def test_a_random_split_is_the_thesis_s_and_needs_no_warning(caplog):
    with caplog.at_level(logging.WARNING, "keygenes"):
        table = table_of(plate(), by="random")
    assert set(table["unit"]) == {"cell"}
    assert not caplog.records


def test_the_fractions_of_a_random_split_hold_in_every_stratum():
    strata = np.repeat(["a", "b", "c"], [100, 40, 200])
    split = random_split(strata, 0.2, 0.25, fold=1)
    for stratum, n in (("a", 100), ("b", 40), ("c", 200)):
        counts = pd.Series(split[strata == stratum]).value_counts()
        # a fifth is test, a quarter of the other four fifths is validation
        assert counts.to_dict() == {"train": n * 3 // 5, "valid": n // 5, "test": n // 5}


def test_random_splits_differ_between_folds_and_repeat_for_one():
    strata = np.repeat(["a", "b"], 50)
    first = random_split(strata, 0.2, 0.25, 1)
    assert (first == random_split(strata, 0.2, 0.25, 1)).all()
    assert (first != random_split(strata, 0.2, 0.25, 2)).any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_strata_always_keep_a_training_cell(n):
    split = random_split(np.array(["a"] * n), 0.2, 0.25, fold=1)
    expected = {1: ["train"], 2: ["test", "train"], 3: ["test", "train", "valid"]}[n]
    assert sorted(split) == expected


def test_one_cell_of_a_dose_outside_the_test_replicate_trains():
    replicates = np.array(["rep1", "rep2"])
    split = replicate_split(replicates, None, np.array(["a", "a"]), 0.25, fold=1)
    assert split.tolist() == ["test", "train"]


def units_of(obs, unit):
    labels = pd.Series(pd.Categorical(["low"] * len(obs)), obs.index)
    splits = pd.DataFrame({"cell": obs.index, "fold": 1, "split": "test", "unit": unit})
    return resampling_units(obs, labels, splits)


def test_wells_are_resampled_within_their_dose():
    obs = plate()
    units = units_of(obs, "well")
    assert units.index.equals(obs.index)
    assert units["unit_id"].tolist() == obs["well"].tolist()
    assert set(units["unit"]) == {"well"}
    assert units["stratum"].tolist() == obs["dose_um"].astype(str).tolist()


def test_a_replicate_is_resampled_dose_by_dose():
    units = units_of(plate(), "replicate")
    assert units["unit_id"].nunique() == 15
    assert units.groupby("unit_id")["stratum"].nunique().eq(1).all()


def test_cells_are_their_own_units_and_the_class_is_the_stratum_without_doses():
    obs = plate().drop(columns="dose_um")
    units = units_of(obs, "cell")
    assert units["unit_id"].tolist() == list(obs.index)
    assert set(units["stratum"]) == {"low"}
