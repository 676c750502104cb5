import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from keygenes.core.schemas import TABLES
from keygenes.core.tables import write_table
from keygenes.expression.pseudobulk import comparisons, pseudobulk, well_sums

N_WELLS, PER_WELL, N_GENES, UP = 12, 8, 300, 15


def cells(seed=0, well_sd=0.3):
    """Return counts, wells, labels and vehicle; the first genes rise fourfold in class high.

    Wells 0 to 3 are untreated (class low), 4 and 5 low, 6 to 11 high.
    """
    rng = np.random.default_rng(seed)
    base = rng.gamma(2, 2, N_GENES)
    rate = base * np.exp(well_sd * rng.standard_normal((N_WELLS, N_GENES)))
    rate[6:, :UP] *= 4
    wells = np.repeat(np.arange(N_WELLS), PER_WELL)
    counts = rng.poisson(rate[wells])
    counts[:, -1] = 0
    labels = pd.Categorical(np.where(wells < 6, "low", "high"), ["low", "high"])
    return sparse.csr_matrix(counts), [f"W{w:02d}" for w in wells], labels, wells < 4


def by_wells(counts, wells, labels, vehicle):
    ids = [f"ENSG{j:011d}" for j in range(counts.shape[1])]
    return pseudobulk(counts, wells, labels, vehicle, ids, ids, task="level")


@pytest.fixture(scope="module")
def table():
    return by_wells(*cells())


def test_sums_per_well_and_class():
    counts = sparse.csr_matrix([[1, 0], [2, 5], [4, 0], [8, 1], [16, 0]])
    wells = ["W1", "W2", "W1", None, "W1"]
    vehicle = np.array([True, False, True, False, False])
    sums, samples = well_sums(counts, wells, np.array([0, 1, 0, 1, -1]), vehicle)
    assert samples.to_dict("list") == {
        **{"code": [0, 1], "vehicle": [True, False], "well": ["W1", "W2"]}
    }
    assert sums.tolist() == [[5, 0], [2, 5]], "cells without a well or a side are left out"


def test_a_side_needs_two_wells():
    samples = pd.DataFrame({"code": [0, 0, 0, 1], "vehicle": [True, True, False, False]})
    assert comparisons(samples, 2) == []
    samples = pd.DataFrame({"code": [0, 0, 1, 1], "vehicle": [True, True, False, False]})
    found = [(code, reference) for code, reference, _, _ in comparisons(samples, 2)]
    assert found == [(0, "rest"), (1, "rest"), (1, "vehicle")]


@pytest.mark.slow
def test_what_was_planted_is_found_and_little_else(table):
    assert list(table.columns) == TABLES["pseudobulk"].names
    high = table[(table["group"] == "high") & (table["reference"] == "vehicle")]
    assert (high["n_wells"].iloc[0], high["n_reference"].iloc[0]) == (6, 4)
    planted = high["ensembl_id"] < f"ENSG{UP:011d}"
    assert (high.loc[planted, "p_adj"] < 0.05).mean() > 0.9
    assert (high.loc[~planted, "p"] < 0.05).mean() < 0.12
    # wells share 300 genes, of which 15 rise: size factors by the median are hardly moved
    assert high.loc[planted, "log2fc"].mean() == pytest.approx(2, abs=0.25)
    assert (high.loc[planted, "statistic"] > 0).all()
    assert f"ENSG{N_GENES - 1:011d}" not in set(table["ensembl_id"]), "no count, no test"


@pytest.mark.slow
def test_of_two_classes_the_tests_mirror_each_other(table):
    rest = table[table["reference"] == "rest"].set_index("ensembl_id")
    low, high = rest[rest["group"] == "low"], rest[rest["group"] == "high"]
    np.testing.assert_allclose(low["statistic"], -high["statistic"].reindex(low.index))
    assert (low["n_wells"] == 6).all()


@pytest.mark.slow
def test_wells_of_one_class_are_no_replicates_of_cells():
    """Cell-level tests call differences between wells significant; these tests do not."""
    counts, wells, labels, vehicle = cells(seed=3, well_sd=0.5)
    frame = by_wells(counts, wells, labels, vehicle)
    low = frame[(frame["group"] == "low") & (frame["reference"] == "vehicle")]
    assert (low["p_adj"] < 0.05).sum() <= 3


@pytest.mark.parametrize("wells", [None, ["all"] * (N_WELLS * PER_WELL)])
def test_without_wells_there_is_an_empty_table(wells, tmp_path, caplog):
    caplog.set_level("INFO", logger="keygenes")
    counts, _, labels, vehicle = cells()
    frame = by_wells(counts, wells, labels, vehicle)
    assert frame.empty
    assert any("wells" in message for message in caplog.messages)
    write_table(frame, tmp_path / "x.parquet", "pseudobulk")


@pytest.mark.slow
def test_it_is_quiet_and_says_the_same_twice(table, capfd):
    again = by_wells(*cells())
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    assert capfd.readouterr().out == ""
