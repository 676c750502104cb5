import numpy as np
import pytest
import scipy.stats

from keygenes.core.jackknife import (
    design_of,
    interval,
    left_out_sums,
    merged_strata,
    two_sided_p,
    variance,
)


def means_of(values, strata, n_cells=None):
    """Return the design of units and the rows of their mean."""
    n_cells = np.ones(len(values)) if n_cells is None else n_cells
    parts = np.stack([values * n_cells, n_cells], -1)[:, None, None]
    design = design_of(strata)
    sums = left_out_sums(parts, design)
    return sums[:, 0] / sums[:, 1], design


@pytest.mark.parametrize(
    ("strata", "expected"),
    [
        (["0.0", "0.0", "25.0", "25.0"], [0, 0, 1, 1]),
        (["0.0", "2.5", "2.5", "12.5", "12.5"], [0, 0, 0, 1, 1]),
        # by size, not by spelling: 2.5 stands beside 12.5
        (["12.5", "2.5", "12.5", "0.0", "0.0"], [1, 1, 1, 0, 0]),
        (["0.0", "0.0", "2.5", "2.5", "25.0"], [0, 0, 1, 1, 1]),
        (["0.0", "2.5", "25.0"], [0, 0, 0]),
        (["b", "a", "a", "c", "c"], [1, 0, 0, 1, 1]),
        (["a"], [0]),
    ],
    ids=["pairs", "next", "numbers", "the last", "all single", "names", "one unit"],
)
def test_single_units_join_the_neighbouring_stratum(strata, expected):
    assert merged_strata(strata).tolist() == expected


def test_the_interval_of_one_stratum_is_students():
    values = np.random.default_rng(0).normal(3, 1, 7)
    low, high = interval(*means_of(values, [0] * 7))
    expected = scipy.stats.t.interval(0.95, 6, values.mean(), values.std(ddof=1) / np.sqrt(7))
    assert (low, high) == pytest.approx(expected)
    p = two_sided_p(*means_of(values - 2.5, [0] * 7))
    assert p == pytest.approx(scipy.stats.ttest_1samp(values, 2.5).pvalue)


def test_strata_of_two_give_half_the_squared_difference():
    values, strata = np.array([1.0, 3.0, 10.0, 10.5]), [0, 0, 1, 1]
    found, df = variance(*means_of(values, strata))
    within = [np.var(values[:2], ddof=1), np.var(values[2:], ddof=1)]
    assert found == pytest.approx((within[0] / 2 + within[1] / 2) / 4)
    assert 1 <= df <= 2


def test_equal_strata_have_the_degrees_of_freedom_of_all():
    values = np.tile([1.0, 3.0], 6)
    assert variance(*means_of(values, np.repeat(range(6), 2)))[1] == 6
    values[:2] = 0, 30  # one stratum carries all of it
    assert variance(*means_of(values, np.repeat(range(6), 2)))[1] < 1.5


def test_what_is_left_out_is_made_up_for_by_its_stratum():
    parts = np.array([[5, 10], [1, 4], [2, 2], [7, 8]])[:, None, None]
    sums = left_out_sums(parts, design_of(["a", "a", "b", "b"]))
    assert sums.tolist() == [[15, 24], [11, 18], [19, 30], [20, 30], [10, 18]]


def models_of(wells, models, noise=0.0, seed=0):
    """Return parts [n_units, n_folds, n_seeds, 2]; wells lie in the folds by turns."""
    rng = np.random.default_rng(seed)
    n, (folds, seeds) = len(wells), models.shape
    parts = np.zeros((n, folds, seeds, 2))
    for i in range(n):
        parts[i, i % folds, :, 0] = wells[i] + models[i % folds] + rng.normal(0, noise, seeds)
        parts[i, i % folds, :, 1] = 1
    return parts


def spread(parts, strata):
    design = design_of(strata, *parts.shape[1:3])
    sums = left_out_sums(parts, design)
    return variance(sums[:, 0] / sums[:, 1], design)


def test_models_that_differ_add_their_variance():
    wells, models = np.zeros(12), np.array([[0.0, 1, 2], [4, 4, 7]])
    found, df = spread(models_of(wells, models), [0] * 12)
    # units: the mean models of the folds differ by 4; models: var / 3 of half the wells each
    units = np.var(np.tile([1.0, 5.0], 6), ddof=1) / 12
    of_models = (1 / 3 + 3 / 3) / 4
    overlap = (6 * 1 + 6 * 3) / 3 / 144
    assert found == pytest.approx(units + of_models - overlap)
    assert 11 < df < 15


def test_equal_models_add_nothing():
    wells = np.random.default_rng(1).normal(0, 1, 12)
    alone, df = spread(models_of(wells, np.zeros((2, 1))), [0] * 12)
    repeated = spread(models_of(wells, np.zeros((2, 3))), [0] * 12)
    assert repeated == pytest.approx((alone, df))


def test_noise_of_model_and_well_counts_once():
    found = [
        spread(models_of(np.zeros(40), np.zeros((2, 3)), noise=1, seed=s), [0] * 40)[0]
        for s in range(200)
    ]
    # a little more, as what models add is never taken to be less than nothing; not twice
    assert 1 / 120 < np.mean(found) < 1.3 / 120


def test_a_count_of_nothing_stays_nothing():
    # three seeds: thirds that add up to nothing but nearly
    parts = np.random.default_rng(0).integers(0, 9, (6, 2, 3, 2))
    parts[2:, ..., 1] = 0
    sums = left_out_sums(parts, design_of([0, 0, 1, 1, 1, 1], 2, 3))
    without_both = left_out_sums(parts * [1, 0], design_of([0, 0, 1, 1, 1, 1], 2, 3))
    assert (without_both[:, 1] == 0).all()
    assert (sums[:, 1] > 0).all()


def test_one_unit_in_all_has_no_interval():
    found = means_of(np.array([2.0]), ["0.0"])
    assert np.isnan(interval(*found)).all()
    assert np.isnan(two_sided_p(*found))


def test_intervals_end_where_the_statistic_does():
    low, high = interval(*means_of(np.array([0.2, 0.99, 1.0, 1.0]), [0] * 4), (0.0, 1.0))
    assert high == 1
    assert low < 0.8


def test_units_that_do_not_differ_leave_the_sign_test():
    assert two_sided_p(*means_of(np.full(6, 0.25), [0] * 6)) == 0.5**5
    assert two_sided_p(*means_of(np.zeros(6), [0] * 6)) == 1
