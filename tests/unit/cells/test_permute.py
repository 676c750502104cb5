import logging

import numpy as np
import pandas as pd
import pytest

from keygenes.cells.label import permuted_labels

DOSES = np.array(["0", "1", "2", "4"])
SPLITS = np.array(["test", "valid", "train", "train", "train"])


def study(cells_per_well=7):
    """Return labels, obs and splits: 4 doses x 5 wells, a well per dose tested and validated."""
    well = np.repeat(np.arange(20), cells_per_well)
    names = [f"c{i}" for i in range(len(well))]
    dose = DOSES[well // 5]
    labels = {"dose": pd.Categorical(dose, DOSES, ordered=True)}
    labels["level"] = pd.Categorical(
        np.where(np.isin(dose, ["0", "1"]), "low", "high"), ["low", "high"], ordered=True
    )
    obs = pd.DataFrame({"well": [f"W{w}" for w in well]}, index=names)
    splits = pd.DataFrame({"cell": names, "seed": 1, "split": SPLITS[well % 5], "unit": "well"})
    return pd.DataFrame({"cell": names, **labels}), obs, splits


def per_well(table, obs, task):
    return table.set_index("cell")[task].astype(str).groupby(obs["well"]).agg(set)


def test_each_well_has_one_class_and_each_split_as_many_of_each_as_before():
    labels, obs, splits = study()
    table = permuted_labels(labels, obs, splits, 1)
    assert list(table.columns) == ["cell", "dose", "level"]
    for task in ("dose", "level"):
        assert table[task].dtype == labels[task].dtype
        wells = per_well(table, obs, task)
        assert (wells.map(len) == 1).all()
        before = per_well(labels, obs, task)
        split = splits.set_index("cell")["split"].groupby(obs["well"]).first()
        for _, of_split in wells.groupby(split):
            assert sorted(of_split.map(min)) == sorted(before[of_split.index].map(min))


def test_the_seed_decides_and_on_average_nothing_is_left_of_the_classes():
    labels, obs, splits = study()
    assert permuted_labels(labels, obs, splits, 3).equals(permuted_labels(labels, obs, splits, 3))
    agree = [
        (permuted_labels(labels, obs, splits, seed)["dose"] == labels["dose"]).mean()
        for seed in range(400)
    ]
    # 4 doses in each split alike: a well keeps its dose by a chance of a quarter
    assert np.mean(agree) == pytest.approx(0.25, abs=4 * np.std(agree) / 20)
    assert np.std(agree) > 0.05


def test_the_order_of_the_cells_does_not_matter():
    labels, obs, splits = study()
    table = permuted_labels(labels, obs, splits, 1)
    rows = np.random.default_rng(0).permutation(len(labels))
    shuffled = permuted_labels(labels.iloc[rows].reset_index(drop=True), obs, splits, 1)
    assert shuffled.set_index("cell").loc[labels["cell"]].reset_index().equals(table)


@pytest.mark.parametrize("change", ["no wells", "one well", "two classes in a well"])
def test_without_wells_of_one_class_cells_are_permuted(change, caplog):
    labels, obs, splits = study()
    if change == "no wells":
        obs = obs.drop(columns="well")
    elif change == "one well":
        obs["well"] = "all"
    else:
        obs["well"] = np.tile(obs["well"].to_numpy()[::7], 7)
    with caplog.at_level(logging.INFO, "keygenes"):
        table = permuted_labels(labels, obs, splits, 1)
    assert "dose: classes permuted among 140 cells" in caplog.text
    split = splits["split"].to_numpy()
    for name in ("train", "valid", "test"):
        assert (
            table.loc[split == name, "dose"].value_counts().to_dict()
            == labels.loc[split == name, "dose"].value_counts().to_dict()
        )
    assert (table["dose"] == labels["dose"]).mean() < 0.5


def test_wells_that_lie_in_several_splits_keep_one_class():
    labels, obs, splits = study()
    splits["split"] = np.resize(["train", "train", "valid", "test"], len(splits))
    table = permuted_labels(labels, obs, splits, 2)
    assert (per_well(table, obs, "dose").map(len) == 1).all()
    assert (table["dose"] != labels["dose"]).any()


def test_cells_of_no_class_have_none():
    labels, obs, splits = study()
    labels.loc[obs["well"].isin(["W0", "W7"]).to_numpy(), "level"] = None
    table = permuted_labels(labels, obs, splits, 1)
    assert (table["level"].isna() == labels["level"].isna()).all()
    assert not table["dose"].isna().any()
