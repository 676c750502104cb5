import itertools
import time

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score, roc_auc_score

from keygenes.evidence.agreement import (
    SET_METRICS,
    against_draws,
    bootstrap_sets,
    dealt_sets,
    matched_draws,
    nearest_strata,
    numbers_drawn,
    positions,
    precision_positions,
    set_metrics,
    strata,
    wilson,
)
from keygenes.evidence.rankings import bootstrap_overlap, rank_biased_overlap, spearman


def metrics(positive, score):
    ids = np.array([f"g{i:04d}" for i in range(len(score))])
    found = set_metrics(
        np.flatnonzero(positive)[None], *positions(score), precision_positions(score, ids)
    )
    return {name: value[0] for name, value in found.items()}


@pytest.mark.parametrize("tied", [False, True])
def test_areas_are_sklearns(tied):
    rng = np.random.default_rng(0)
    for _ in range(20):
        positive = rng.random(300) < 0.1
        score = positive + rng.standard_normal(300)
        if tied:
            score = np.round(np.maximum(score, 0))  # few values, most of them zero
        found = metrics(positive, score)
        assert found["auroc"] == pytest.approx(roc_auc_score(positive, score))
        assert found["auprc"] == pytest.approx(average_precision_score(positive, score))


def test_precision_of_the_first_genes():
    score = -np.arange(200.0)
    positive = np.zeros(200, bool)
    positive[[0, 2, 9, 10, 60]] = True
    found = metrics(positive, score)
    assert [found[f"precision_at_{k}"] for k in (10, 25, 50, 100)] == [0.3, 4 / 25, 4 / 50, 5 / 100]


def test_many_sets_at_once_are_each_alone():
    rng = np.random.default_rng(1)
    score = np.round(rng.standard_normal(80), 1)
    sets = np.array([rng.choice(80, 7, replace=False) for _ in range(50)])
    ids = np.array([f"g{i:04d}" for i in range(80)])
    together = set_metrics(sets, *positions(score), precision_positions(score, ids))
    for i, chosen in enumerate(sets):
        alone = metrics(np.isin(np.arange(80), chosen), score)
        assert {name: together[name][i] for name in SET_METRICS} == pytest.approx(alone)


def test_strata_are_deciles_times_quintiles():
    rng = np.random.default_rng(2)
    codes = strata(rng.random(1000), rng.random(1000))
    assert set(codes) == set(range(50))
    np.testing.assert_array_equal(np.bincount(codes // 5), [100] * 10)
    assert len(set(strata(np.ones(30), np.arange(30)) // 5)) == 1, "equal values stay together"


def test_draws_match_the_strata_of_the_set_and_hold_none_of_it():
    rng = np.random.default_rng(3)
    stratum = rng.integers(0, 6, 120)
    positive = rng.random(120) < 0.2
    assert np.bincount(stratum[~positive]).min() > np.bincount(stratum[positive]).max()
    wanted = np.bincount(stratum[positive], minlength=6)
    others, dealt = (f(positive, stratum, 500, rng) for f in (matched_draws, dealt_sets))
    assert not positive[others].any()
    expected = (wanted**2 / np.bincount(stratum)).sum() / wanted.sum()
    assert positive[dealt].mean() == pytest.approx(expected, abs=0.02)
    for draw in (*others, *dealt):
        assert len(set(draw)) == len(draw)
        np.testing.assert_array_equal(np.bincount(stratum[draw], minlength=6), wanted)


def test_the_nearest_strata_are_a_decile_away_before_they_are_a_quintile_away():
    codes = np.arange(50)
    assert nearest_strata(codes, 22)[:5].tolist() == [22, 17, 27, 12, 21]
    assert nearest_strata(codes[::7], 21)[0] == 21


def test_what_a_stratum_lacks_comes_from_its_neighbours_and_only_then_from_the_set():
    # stratum 0 has three positives and one other; 5 (the next decile) has two to spare, 49 many
    stratum = np.array([0] * 4 + [5] * 3 + [49] * 6)
    positive = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], bool)
    others, wanting = numbers_drawn(positive, stratum)
    assert others == {0: 1, 5: 2, 49: 1}, "what 5 needs itself it keeps"
    assert not any(wanting.values())
    few = np.arange(13) < 9
    others, wanting = numbers_drawn(few, stratum)
    assert sum(others.values()) == 4, "every other gene"
    assert sum(wanting.values()) == 5
    draws = matched_draws(few, stratum, 50, np.random.default_rng(0))
    assert few[draws].mean() == pytest.approx(5 / 9), "the overlap that remains"
    assert all(len(set(draw)) == 9 for draw in draws)


@pytest.mark.parametrize("sets", [matched_draws, dealt_sets])
def test_every_set_is_drawn_as_often(sets):
    """Against a list of all sets: two strata, of which one has to borrow from the other."""
    positive = np.array([1, 1, 0, 0, 0, 1, 1, 0], bool)
    stratum = np.array([0, 0, 0, 0, 0, 5, 5, 5])
    quotas = {matched_draws: {0: 3, 5: 1}, dealt_sets: {0: 2, 5: 2}}[sets]
    drawable = ~positive if sets is matched_draws else np.ones(8, bool)
    parts = [
        itertools.combinations(np.flatnonzero(drawable & (stratum == code)), k)
        for code, k in quotas.items()
    ]
    counts = {(*a, *b): 0 for a, b in itertools.product(*parts)}
    for draw in sets(positive, stratum, 20_000, np.random.default_rng(4)):
        counts[tuple(sorted(draw))] += 1
    if len(counts) > 1:
        assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3
    assert min(counts.values()) > 0


def test_many_sets_are_drawn_in_a_moment():
    rng = np.random.default_rng(4)
    detection, rank = rng.random((2, 5000))
    positive = np.zeros(5000, bool)
    positive[np.argsort(-detection)[:200]] = True  # a stratum of a hundred, all of them positive
    started = time.process_time()
    draws = matched_draws(positive, strata(detection, rank), 10_000, rng)
    assert time.process_time() - started < 3
    assert draws.shape == (10_000, 200)
    assert not positive[draws].any()


@pytest.mark.slow
def test_the_matched_null_is_calibrated_where_detection_alone_tells_the_set():
    """Scores that follow detection beat chance at genes of high detection, but no matched null.

    In some strata a third of the genes is positive: against others alone the test would be lax.
    """
    rng = np.random.default_rng(5)
    n, tests = 1000, 300
    detection, rank = rng.random(n), rng.random(n)
    levels, none = strata(detection, rank), np.zeros(n, int)
    ids = np.array([f"g{i:04d}" for i in range(n)])
    rejected = {}
    for _ in range(tests):
        positive = rng.random(n) < 0.4 * detection**4
        score = 3 * detection + rng.standard_normal(n)
        places = (*positions(score), precision_positions(score, ids))
        others, dealt, plain = (
            set_metrics(sets(positive, by, 200, rng), *places)
            for sets, by in ((matched_draws, levels), (dealt_sets, levels), (dealt_sets, none))
        )
        for metric in ("auroc", "auprc"):
            value = metrics(positive, score)[metric]
            for name, null in (("others alone", others), ("matched", dealt), ("plain", plain)):
                p = against_draws(value, others[metric], null[metric])[2]
                rejected[name, metric] = rejected.get((name, metric), 0) + (p <= 0.05)
    low, high = scipy.stats.binom.interval(0.999, tests, 0.05)
    for metric in ("auroc", "auprc"):
        assert low <= rejected["matched", metric] <= high
        assert rejected["others alone", metric] > rejected["matched", metric]
        assert rejected["plain", metric] > tests / 2


def test_p_counts_the_observed_set_as_one_of_the_sets_dealt():
    drawn, dealt = np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 3.0, 2.0, 4.0])
    mean, sd, p = against_draws(3.0, drawn, dealt)
    assert (mean, p) == (2.5, 4 / 5)
    assert sd == pytest.approx(np.std([1, 2, 3, 4], ddof=1))


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
def test_resamples_are_those_of_genes_drawn_one_by_one(tied):
    """The short cut (only members and the runs between them) against weights on every gene."""
    rng = np.random.default_rng(6)
    n = 400
    positive = np.arange(n) < 40
    score = positive * 0.8 + rng.standard_normal(n)
    if tied:
        score = np.round(score)
    ids = np.array([f"g{i:04d}" for i in range(n)])
    rank = precision_positions(score, ids)
    fast = bootstrap_sets(positive, score, rank, 3000, rng)
    slow = {"auroc": [], "auprc": []}
    for _ in range(1500):
        weights = rng.poisson(1.0, n)
        slow["auroc"].append(roc_auc_score(positive, score, sample_weight=weights))
        slow["auprc"].append(average_precision_score(positive, score, sample_weight=weights))
    for name, values in slow.items():
        for q in (2.5, 50, 97.5):
            close = 0.15 * (np.percentile(values, 97.5) - np.percentile(values, 2.5))
            assert np.percentile(fast[name], q) == pytest.approx(
                np.percentile(values, q), abs=close
            )
    at = metrics(positive, score)["precision_at_50"]
    assert np.mean(fast["precision_at_50"]) == pytest.approx(at, abs=0.04)
    assert fast["precision_at_10"].min() >= 0
    assert fast["precision_at_10"].max() <= 1


def test_overlap_of_a_worked_example():
    # lists abcd and badc: of the first d = 1, 2, 3, 4 genes 0, 2, 2, 4 are in both
    a, b, p = np.array([1, 2, 3, 4]), np.array([2, 1, 4, 3]), 0.9
    weighted = 0 * p + 2 / 2 * p**2 + 2 / 3 * p**3 + 4 / 4 * p**4
    assert rank_biased_overlap(a, b, p) == pytest.approx(p**4 + (1 - p) / p * weighted)
    # a list that holds other genes: abc and axy agree on the first alone; extrapolated by 1/3
    a, b = np.array([1, 2, 3, 0, 0]), np.array([1, 0, 0, 2, 3])
    weighted = 1 * p + 1 / 2 * p**2 + 1 / 3 * p**3
    assert rank_biased_overlap(a, b, p) == pytest.approx(p**3 / 3 + (1 - p) / p * weighted)


def test_overlap_of_the_same_and_of_random_orders():
    rng = np.random.default_rng(7)
    same = np.arange(1, 5001)
    assert rank_biased_overlap(same, same) == pytest.approx(1)
    chance = [rank_biased_overlap(same, rng.permutation(same)) for _ in range(50)]
    assert np.mean(chance) == pytest.approx(0.01, abs=0.01)
    assert np.isnan(rank_biased_overlap(np.array([], int), np.array([], int)))


def test_resampled_overlaps_lie_around_the_observed_one():
    rng = np.random.default_rng(8)
    signal = rng.exponential(1.0, 4000)
    ids = np.array([f"g{i:04d}" for i in range(4000)])
    a, b = (precision_positions(signal + 0.3 * rng.standard_normal(4000), ids) for _ in range(2))
    observed = rank_biased_overlap(a, b)
    resampled = bootstrap_overlap(a, b, 300, rng)
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert low < observed < high
    assert 0.02 < high - low < 0.4
    assert bootstrap_overlap(a, a, 20, rng) == pytest.approx(np.ones(20))


def test_a_resample_without_any_of_few_genes_has_no_overlap():
    rank = np.array([1, 2])
    resampled = bootstrap_overlap(rank, rank, 200, np.random.default_rng(0))
    assert 0 < np.isnan(resampled).sum() < 100
    assert resampled[~np.isnan(resampled)] == pytest.approx(1)


def test_spearman_and_what_is_left_of_it_given_a_common_cause():
    rng = np.random.default_rng(9)
    cause = rng.standard_normal(2000)
    a, b = (cause + 0.5 * rng.standard_normal(2000) for _ in range(2))
    rho, low, high = spearman(a, b)
    assert rho == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    assert low < rho < high
    partial, low, high = spearman(a, b, [np.exp(cause)])
    assert abs(partial) < 0.1
    assert low < partial < high
    residuals = []
    ranks = [scipy.stats.rankdata(v) for v in (a, b, cause)]
    for r in ranks[:2]:
        fit = scipy.stats.linregress(ranks[2], r)
        residuals.append(r - fit.intercept - fit.slope * ranks[2])
    assert partial == pytest.approx(np.corrcoef(residuals)[0, 1])


def test_correlations_that_do_not_exist():
    assert np.isnan(spearman(np.ones(50), np.arange(50.0))).all()
    assert np.isnan(spearman(np.arange(5.0), np.arange(5.0))).all()
    values = np.random.default_rng(0).random(50)
    assert np.isnan(spearman(values, values[::-1], [values])).all(), "nothing is left of it"
    assert spearman(values, values) == (1, 1, 1)


def test_an_interval_of_a_share():
    assert wilson(0, 0) == pytest.approx((np.nan, np.nan), nan_ok=True)
    for found, expected in zip(
        wilson(5, 40),
        scipy.stats.binomtest(5, 40).proportion_ci(method="wilson"),
        strict=True,
    ):
        assert found == pytest.approx(expected)
