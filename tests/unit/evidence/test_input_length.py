import numpy as np
import pandas as pd
import pytest

from keygenes.core.jackknife import design_of
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.input_length import (
    Compared,
    ModelTables,
    accuracy_rows,
    change_near_median,
    gene_group,
    hits_per_unit,
    input_length,
    share_rows,
    well_totals,
)
from keygenes.evidence.top_counts import in_top, rescaled_draws

GENES = ["ENSG01", "ENSG02", "ENSG03", "ENSG04"]
GROUPS = pd.Series(["mitochondrial", "ribosomal", "", ""], GENES)
WELLS = ["A", "B", "C", "D"]
STRATA = pd.Series(["low", "low", "high", "high"], WELLS)
COUNTERPARTS = {"full": None, "equal": "full"}


@pytest.mark.parametrize(
    ("group", "symbols"),
    [
        ("mitochondrial", ["MT-ND1", "MT-CO3", "mt-atp6"]),
        (
            "ribosomal",
            ["RPL3", "RPL7A", "RPS4X", "RPS4Y1", "RPS27L", "RPL22L1", "RPL36AL", "RPLP0", "RPSA"],
        ),
        ("", ["MTOR", "MRPL12", "RPS6KA1", "RPS19BP1", "RPL7P1", "RPL23AP53", "RPA1", None]),
    ],
)
def test_genes_of_mitochondria_and_ribosomes_by_symbol(group, symbols):
    assert gene_group(symbols).tolist() == [group] * len(symbols)


def by_well(sums, subset="test"):
    """Return table 'by_well' of sums [4 wells, 4 genes]."""
    rows = [
        {"subset": subset, "well": w, "ensembl_id": g, "n_cells": 3, "sum": sums[i, j]}
        for i, w in enumerate(WELLS)
        for j, g in enumerate(GENES)
        if sums[i, j]
    ]
    return pd.DataFrame(rows)


def test_totals_are_of_test_cells_without_special_tokens():
    sums = np.arange(16.0).reshape(4, 4)
    special = pd.DataFrame(
        {"subset": ["test"], "well": ["A"], "ensembl_id": ["<cls>"], "n_cells": [3], "sum": [50.0]}
    )
    totals = well_totals(pd.concat([by_well(sums), special, by_well(sums, "vehicle_train")]))
    assert totals.index.tolist() == WELLS
    np.testing.assert_array_equal(totals.to_numpy(), sums)


def test_genes_of_a_group_among_the_most_attended():
    totals = np.array([[4.0, 3.0, 2.0, 1.0], [0.0, 1.0, 2.0, 7.0]])
    groups = GROUPS.to_numpy(object)
    assert in_top(totals, groups == "mitochondrial", 2).tolist() == [1, 0]
    assert in_top(totals, groups == "ribosomal", 2).tolist() == [1, 0]
    assert in_top(totals, groups == "ribosomal", 30).tolist() == [1, 1]


def test_draws_vary_as_studies_do():
    design = design_of(np.repeat(["low", "high"], [2, 5]), 1, 3)
    units, models = rescaled_draws(design, np.random.default_rng(0))
    for code, n in enumerate(design.sizes):
        of_stratum = units[:, design.strata == code]
        np.testing.assert_allclose(of_stratum.sum(1), n)
        # the mean of n units has the variance of a unit over n
        values = np.random.default_rng(1).normal(0, 1, n)
        drawn = (of_stratum @ values / n).var()
        assert drawn == pytest.approx(values.var(ddof=1) / n, rel=0.2)
    np.testing.assert_allclose(models.sum(2), 3)


def shares_of(sums, groups=GROUPS, strata=STRATA):
    """Return rows of regimes that were trained once on one fold, or as {(fold, seed): sums}."""
    tables = {
        (name, *run): by_well(one)
        for name, values in sums.items()
        for run, one in (values if isinstance(values, dict) else {(1, 1): values}).items()
    }
    rows = share_rows(tables, COUNTERPARTS, groups, strata, 2)
    return pd.DataFrame(rows).set_index(["regime", "measure"])


def test_a_share_and_its_difference_have_intervals_over_wells():
    rng = np.random.default_rng(0)
    full = rng.uniform(1, 2, (4, 4))
    rows = shares_of({"full": full, "equal": full * [0.5, 1, 1, 1]})
    share = rows.loc[("full", "mitochondrial_share")]
    assert share["value"] == pytest.approx(full[:, 0].sum() / full.sum())
    assert share["ci_low"] < share["value"] < share["ci_high"]
    assert (share["n"], share["n_of"]) == (4, "well")
    assert np.isnan(share["difference"])
    fewer = rows.loc[("equal", "mitochondrial_share")]
    assert fewer["difference"] == pytest.approx(fewer["value"] - share["value"])
    # The same wells are left out of both, so that what differs in every well differs for certain.
    assert fewer["difference_high"] < 0
    assert fewer["difference_high"] - fewer["difference_low"] < share["ci_high"] - share["ci_low"]


def test_wells_are_left_out_within_their_dose():
    # No two wells of a dose differ: whichever is left out, the sums are the same.
    sums = np.repeat([[1.0, 1, 1, 1], [5.0, 1, 1, 1]], 2, axis=0)
    share = shares_of({"full": sums}).loc[("full", "mitochondrial_share")]
    assert share["ci_low"] == pytest.approx(share["ci_high"]) == pytest.approx(share["value"])


def test_attention_of_several_trainings_is_their_mean_and_widens_the_interval():
    rng = np.random.default_rng(0)
    wells = rng.uniform(1, 2, (4, 4))
    one, more = wells * [0.8, 1, 1, 1], wells * [1.25, 1, 1, 1]
    rows = shares_of({"full": {(1, 1): one, (1, 2): more}, "equal": one})
    both = shares_of({"full": (one + more) / 2})
    for measure in ("mitochondrial_share", "mitochondrial_in_top"):
        found, alone = rows.loc[("full", measure)], both.loc[("full", measure)]
        assert found["value"] == alone["value"]
        assert found["n"] == 4
        assert found["ci_high"] - found["ci_low"] >= alone["ci_high"] - alone["ci_low"]
    found, alone = (t.loc[("full", "mitochondrial_share")] for t in (rows, both))
    assert found["ci_high"] - found["ci_low"] > 1.2 * (alone["ci_high"] - alone["ci_low"])
    # the other was trained once, and is held against the mean of both
    difference = rows.loc[("equal", "mitochondrial_share"), "difference"]
    assert difference == pytest.approx(
        rows.loc[("equal", "mitochondrial_share"), "value"] - found["value"]
    )


def test_one_well_gives_no_interval_and_genes_not_measured_no_share():
    table = by_well(np.ones((4, 4))).assign(well="all")
    groups = GROUPS.replace("mitochondrial", "")
    one = share_rows({("full", 1, 1): table}, COUNTERPARTS, groups, STRATA, 2)
    rows = pd.DataFrame(one).set_index("measure")
    assert rows.loc["ribosomal_share", "value"] == 0.25
    assert np.isnan(rows.loc["ribosomal_share", "ci_low"])
    assert np.isnan(rows.loc["ribosomal_in_top", "ci_low"])
    assert np.isnan(rows.loc["mitochondrial_share", "value"])
    assert np.isnan(rows.loc["mitochondrial_in_top", "value"])


def predictions(right):
    """Return table 'predictions': a test cell per entry, right or wrong, and one training cell."""
    n = len(right)
    rows = {
        "cell": [f"c{i}" for i in range(n + 1)],
        "split": ["test"] * n + ["train"],
        "true": ["low"] * (n + 1),
        "predicted": ["low" if r else "high" for r in right] + ["high"],
    }
    return pd.DataFrame(rows)


def cells_of(n_wells=4, per_well=10):
    names = [f"c{i}" for i in range(n_wells * per_well + 1)]
    well = np.append(np.repeat(WELLS[:n_wells], per_well), "A")
    return pd.DataFrame(
        {"unit_id": well, "unit": "well", "stratum": STRATA[well].to_numpy(), "well": well}, names
    )


def test_hits_are_of_test_cells_by_unit():
    right = np.arange(40) % 4 > 0
    found = hits_per_unit(predictions(right), cells_of()["unit_id"])
    assert found["n"].tolist() == [10] * 4
    assert found["correct"].tolist() == [7, 8, 7, 8]


def test_the_difference_of_accuracies_is_paired():
    right = np.random.default_rng(1).random(40) < 0.7
    better = right.copy()
    better[np.flatnonzero(~right)[::2]] = True
    tables = {("full", 1, s): predictions(right) for s in (1, 2)}
    tables["equal", 1, 1] = predictions(better)
    rows = pd.DataFrame(accuracy_rows(tables, COUNTERPARTS, cells_of())).set_index("regime")
    assert rows.loc["full", "value"] == pytest.approx(right.mean())
    difference = rows.loc["equal"]
    assert difference["difference"] == pytest.approx(better.mean() - right.mean())
    ours = rows.loc["full"]
    width = difference["difference_high"] - difference["difference_low"]
    assert width < ours["ci_high"] - ours["ci_low"]
    assert rows["n_cells"].tolist() == [40, 40]
    assert set(rows["n_of"]) == {"well"}


def shift(change, n_cells, run=(1, 1), a="full", b="frozen"):
    ranks = np.arange(1, len(n_cells) + 1)
    return pd.DataFrame(
        {
            **{
                "a": a,
                "b": b,
                "fold": run[0],
                "seed": run[1],
                "layer": pd.array([None] * len(ranks), "Int64"),
            },
            **{"rank": ranks, "sum_a": n_cells * (1 + change / 100), "sum_b": n_cells * 1.0},
            **{"percent_change": change, "n_cells": n_cells},
        }
    )


def test_the_peak_below_the_median_length_and_the_loss_beyond_it():
    n_cells = np.append(np.full(100, 40), np.full(50, 20))  # half of the cells end at rank 100
    n_cells[100:] = 19
    change = np.zeros(150)
    change[90:100], change[100:] = 5, -8
    found = change_near_median(shift(change, n_cells))
    assert found["peak_below_median"] == pytest.approx(5)
    assert found["change_beyond_median"] == pytest.approx(-8)
    flat = change_near_median(shift(np.full(100, 3.0), np.full(100, 40)))
    assert flat["peak_below_median"] == pytest.approx(0)
    assert np.isnan(flat["change_beyond_median"]), "no cell is longer than the others"


def test_the_table_has_a_row_per_regime_and_measure(tmp_path):
    rng = np.random.default_rng(2)
    right = {name: rng.random(40) < 0.7 for name in COUNTERPARTS}
    n_cells = np.full(100, 40)
    pairs = [("full", "frozen"), ("equal", "frozen_equal")]
    runs = [(fold, seed) for fold in (1, 2, 3) for seed in (1, 2)]
    shifts = [shift(rng.normal(0, 1, 100), n_cells, run, a, b) for run in runs for a, b in pairs]
    models = ModelTables(
        {(name, 1, 1): predictions(r) for name, r in right.items()},
        {(name, 1, 1): by_well(rng.uniform(1, 2, (4, 4))) for name in right},
        pd.concat(shifts),
        max_cells=25,
    )
    counterparts = {**COUNTERPARTS, "frozen_equal": "frozen", "frozen": None}
    compared = Compared(counterparts, {"full": "main", "equal": "equal_length"}, pairs)
    table = input_length(models, compared, cells_of(), GROUPS, n_top=2)
    write_table(table, tmp_path / "table.parquet", "input_length")
    table = read_table(tmp_path / "table.parquet")
    assert table.columns.tolist() == TABLES["input_length"].names
    shares = [f"{g}_{m}" for g in ("mitochondrial", "ribosomal") for m in ("share", "in_top")]
    every = ["accuracy", *shares, "peak_below_median", "change_beyond_median"]
    for regime, rows in table.groupby("regime", observed=True):
        assert sorted(rows["measure"]) == sorted(every), regime
    peak = table[table["measure"] == "peak_below_median"].set_index("regime")
    assert peak["n"].tolist() == [3, 3]
    assert set(peak["n_of"]) == {"fold"}
    assert peak["against"].to_dict() == {"full": "frozen", "equal": "frozen_equal"}
    assert peak["difference"].isna().to_dict() == {"full": True, "equal": False}
    assert (peak["ci_low"] < peak["value"]).all()
    assert table.set_index("regime").loc["equal", "reference"].unique().tolist() == ["full"]
    shares = table["measure"].astype(str).isin(shares)
    assert set(table.loc[shares, "n_cells"]) == {25}, "not all test cells were looked at"
    assert set(table.loc[table["measure"] == "accuracy", "n_cells"]) == {40}
    assert set(peak["n_cells"]) == {120}, "three folds"
