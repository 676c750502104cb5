import itertools
import logging
import math

import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence
from stated import logged

from keygenes.cells.label import label_cells
from keygenes.cells.relabel import (
    labelled_units,
    n_relabellings,
    partition,
    relabelled_cells,
    relabellings,
    units_of,
)
from keygenes.cells.split import split_cells
from keygenes.core.errors import InputError

DOSES = [0.0, 1.0, 2.0, 4.0, 8.0]
TASKS = [
    {"name": "dose", "column": "dose_um", "classes": {f"{d:g}": [d] for d in DOSES}},
    {"name": "level", "column": "dose_um", "classes": {"low": DOSES[:3], "high": DOSES[3:]}},
    {"name": "ends", "column": "dose_um", "classes": {"none": DOSES[:1], "most": DOSES[4:]}},
]


def study(cells_per_well=10, wells=2, replicates=3, doses=DOSES):
    """Return obs, labels and splits of a plate: wells per dose and replicate, cells shuffled."""
    rows = [
        {"dose_um": dose, "replicate": f"rep{r}", "well": f"{dose:g}.{r}.{w}"}
        for dose in doses
        for r in range(1, replicates + 1)
        for w in range(wells)
        for _ in range(cells_per_well)
    ]
    obs = pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True)
    obs.index = "c" + obs.index.astype(str)
    tasks = [t for t in TASKS if set().union(*t["classes"].values()) <= set(doses)]
    return obs, label_cells(obs, tasks), splits_of(obs, replicates)


def splits_of(obs, n_folds=3, by="replicate"):
    fractions = {"test_fraction": 0.2, "valid_fraction": 0.25}
    strata = obs["dose_um"].astype(str).to_numpy()
    return split_cells(obs, strata, folds=range(1, n_folds + 1), by=by, **fractions)


def relabelled(number, task="level", **options):
    obs, labels, splits = study(**options)
    return relabelled_cells(labels, obs, splits, task, number, 0.25)


def per_unit(table, obs, task):
    """Return the one class of each well."""
    return (
        table.set_index("cell")[task]
        .astype(str)
        .groupby(obs["well"])
        .agg(lambda v, /: "".join(sorted(set(v))))
    )


def possible(labels, obs, task):
    """Return what the classes of a task are dealt to, and in how many ways."""
    units, _ = labelled_units(labels, obs, task)
    return units.unit, n_relabellings(units)


def brute_force(codes, blocks, alike):
    """Return all distinct partitions but that of the labels as they are."""
    deals = [set(itertools.permutations(codes[block])) for block in blocks]
    found = set()
    for deal in itertools.product(*deals):
        dealt = codes.copy()
        for block, classes in zip(blocks, deal, strict=True):
            dealt[block] = classes
        found.add(partition(dealt, alike))
    return found - {partition(codes, alike)}


# wells of each class in each replicate -> how many partitions there are beside the true one
DESIGNS = {
    "two classes of equally many wells": ([[2, 2], [1, 1]], 6 * 2 // 2 - 1),
    "equally many in one replicate alone": ([[2, 2], [2, 1]], 6 * 3 - 1),
    "as many over all, not in each": ([[2, 1], [1, 2]], 3 * 3 - 1),
    "three wells against two": ([[3, 2]], 10 - 1),
    "three classes, two of them alike": ([[1, 1, 2], [1, 1, 1]], 12 * 6 // 2 - 1),
    "three alike": ([[2, 2, 2]], 90 // 6 - 1),
    "a well of each class": ([[1, 1]], 0),
}


def design(n_wells):
    """Return codes and obs of wells of one cell, from wells per replicate and class."""
    rows = [
        {"replicate": f"r{r}", "code": c, "well": f"{r}.{c}.{w}"}
        for r, classes in enumerate(n_wells)
        for c, n in enumerate(classes)
        for w in range(n)
    ]
    obs = pd.DataFrame(rows).sample(frac=1, random_state=1)
    obs.index = [f"c{i}" for i in range(len(obs))]
    return obs["code"].to_numpy(), obs


@pytest.mark.parametrize("name", DESIGNS)
def test_all_distinct_relabellings_are_listed_once_and_no_more(name):
    n_wells, expected = DESIGNS[name]
    codes, obs = design(n_wells)
    units = units_of(codes, obs)
    everything = brute_force(units.codes, units.blocks, units.alike)
    assert len(everything) == expected
    listed = [partition(dealt, units.alike) for dealt in relabellings(units, expected)]
    assert len(set(listed)) == len(listed)
    assert set(listed) == everything
    with pytest.raises(InputError) as error:
        relabellings(units, expected + 1)
    assert_sentence(error, "'evidence.permutations'", "'seeds'", f"at most {expected}")


def test_the_complement_is_the_same_partition_only_where_both_classes_are_alike():
    codes = np.array([0, 1, 1, 0])
    assert partition(codes, [np.array([0, 1])]) == partition(1 - codes, [np.array([0, 1])])
    apart = [np.array([0]), np.array([1])]
    assert partition(codes, apart) != partition(1 - codes, apart)


@pytest.mark.parametrize(
    ("task", "n"),
    [
        ("level", math.comb(10, 4) ** 3 - 1),
        ("dose", (math.factorial(10) // 2**5) ** 3 // math.factorial(5) - 1),
        ("ends", math.comb(4, 2) ** 3 // 2 - 1),
    ],
)
def test_how_many_there_are_of_the_study_s_tasks(task, n):
    obs, labels, _ = study()
    assert possible(labels, obs, task) == ("well", n)


def test_donors_of_one_class_each_are_dealt_whole():
    """Six donors, three of each class, and no wells: 20 ways, of which pairs are the same."""
    obs, labels, _ = study(wells=1, replicates=1)
    donor = np.arange(len(obs)) % 6
    obs = obs.drop(columns="well").assign(replicate=[f"d{d}" for d in donor])
    labels["level"] = pd.Categorical.from_codes(donor % 2, dtype=labels["level"].dtype)
    assert possible(labels, obs, "level") == ("replicate", 20 // 2 - 1)
    units, _ = labelled_units(labels, obs, "level")
    every = {partition(dealt, units.alike) for dealt in relabellings(units, 9)}
    assert len(every) == 9
    assert partition(units.codes, units.alike) not in every


def test_cells_are_dealt_in_more_ways_than_a_float_holds():
    obs, labels, _ = study(cells_per_well=60)
    assert possible(labels, obs.drop(columns="well"), "level") == ("cell", math.inf)


def test_over_all_relabellings_each_well_has_each_class_in_proportion():
    codes, obs = design([[3, 2], [2, 1]])
    units = units_of(codes, obs)
    n = 10 * 3
    every = np.array([units.codes, *relabellings(units, n - 1)])
    for block in units.blocks:
        share = units.codes[block].mean()
        np.testing.assert_allclose(every[:, block].mean(0), share)


def test_each_replicate_keeps_its_wells_of_each_class_and_each_well_has_one():
    obs, labels, _ = study()
    of_well = obs.groupby("well")["replicate"].first()
    for task in ("dose", "level"):
        table, _ = relabelled(1, task)
        assert list(table.columns) == ["cell", task]
        assert table[task].dtype == labels[task].dtype
        before, after = (per_unit(t, obs, task) for t in (labels, table))
        assert set(after) == set(before)
        assert (after != before).any()
        for _, wells in of_well.groupby(of_well):
            assert sorted(after[wells.index]) == sorted(before[wells.index])


def test_test_cells_stay_and_wells_to_choose_by_are_drawn_from_the_dealt_classes():
    obs, labels, splits = study()
    table, own = relabelled(2)
    pd.testing.assert_frame_equal(own[["cell", "fold", "unit"]], splits[["cell", "fold", "unit"]])
    assert ((own["split"] == "test") == (splits["split"] == "test")).all()
    dealt = own.merge(table, on="cell").merge(obs, left_on="cell", right_index=True)
    assert dealt.groupby(["fold", "well"])["split"].nunique().eq(1).all()
    wells = dealt.groupby(["fold", "level", "split"], observed=True)["well"].nunique().unstack()
    # of 12 wells of the low doses outside a test replicate a quarter, of 8 of the high ones too
    assert wells.loc[1].to_dict("index") == {
        "low": {"test": 6, "train": 9, "valid": 3},
        "high": {"test": 4, "train": 6, "valid": 2},
    }
    assert (wells.loc[2] == wells.loc[1]).all(axis=None)


def test_the_sequence_does_not_depend_on_its_length_or_the_order_of_the_cells():
    obs, labels, splits = study()
    table, own = relabelled(3)
    rows = np.random.default_rng(0).permutation(len(labels))
    mixed = labels.iloc[rows].reset_index(drop=True)
    again, _ = relabelled_cells(mixed, obs.iloc[rows[::-1]], splits, "level", 3, 0.25)
    assert again.set_index("cell").loc[labels["cell"]].reset_index().equals(table)
    assert relabelled(3)[1].equals(own)
    others = [per_unit(relabelled(b)[0], obs, "level") for b in (1, 2, 4)]
    assert all((per_unit(table, obs, "level") != other).any() for other in others)


@pytest.mark.parametrize("change", ["no wells", "one well", "two classes in a well"])
def test_without_wells_of_one_class_cells_are_dealt_within_each_replicate(change, caplog):
    obs, labels, splits = study()
    if change == "no wells":
        obs = obs.drop(columns="well")
    elif change == "one well":
        obs["well"] = "all"
    else:
        obs["well"] = obs["replicate"] + np.resize(["a", "b"], len(obs))
    with caplog.at_level(logging.INFO, "keygenes"):
        table, own = relabelled_cells(labels, obs, splits, "level", 1, 0.25)
    assert logged(caplog, "level", 300)
    before, after = (t.set_index("cell")["level"].astype(str) for t in (labels, table))
    counts = [s.groupby(obs["replicate"]).value_counts().to_dict() for s in (before, after)]
    assert counts[0] == counts[1]
    assert 0.4 < (before == after).mean() < 0.65  # 0.6 ** 2 + 0.4 ** 2 = 0.52
    assert ((own["split"] == "test") == (splits["split"] == "test")).all()
    share = own[own["split"] != "test"].groupby("fold")["split"].value_counts(normalize=True)
    np.testing.assert_allclose(share.xs("valid", level="split"), 0.25)


def test_without_replicates_all_wells_are_dealt_together():
    obs, labels, _ = study()
    obs = obs.drop(columns="replicate")
    splits = splits_of(obs)
    assert possible(labels, obs, "level") == ("well", math.comb(30, 12) - 1)
    table, own = relabelled_cells(labels, obs, splits, "level", 1, 0.25)
    assert set(own["unit"]) == {"cell"}
    assert set(per_unit(table, obs, "level")) == {"low", "high"}


def test_cells_of_no_class_have_none():
    obs, labels, splits = study()
    table, own = relabelled_cells(labels, obs, splits, "ends", 1, 0.25)
    assert (table["ends"].isna() == labels["ends"].isna()).all()
    assert len(own) == len(splits)
    assert own["split"].notna().all()
