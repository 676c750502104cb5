import numpy as np
import pytest
from scipy.stats import nct
from scipy.stats import t as student_t

from keygenes.evidence.primary import (
    FEWEST,
    INCONCLUSIVE,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    SUPPORTED,
    Circumstances,
    detectable_effect,
    max_t,
    permuted_test,
    verdict,
)

LARGE = Circumstances(50, 0.001, True, "well", 1e6)


def test_p_effect_and_interval_are_the_formulas():
    permuted = np.array([0.1, 0.2, 0.3, 0.4])
    test = permuted_test(0.4, permuted)
    assert test.p == 2 / 5, "an equal value counts against"
    assert test.effect == pytest.approx(0.15)
    half = student_t.ppf(0.975, 3) * permuted.std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert (test.low, test.high) == pytest.approx((0.15 - half, 0.15 + half))


def test_without_relabellings_nothing_is_known():
    test = permuted_test(0.4, [])
    assert test.n == 0
    assert np.isnan([test.mean, test.sd, test.effect, test.low, test.high, test.detectable]).all()
    assert verdict(test, LARGE, 0.05)[0] == INCONCLUSIVE


@pytest.mark.slow
def test_nothing_behind_the_labels_is_rejected_at_the_level():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4000, 1 + FEWEST))
    p = [permuted_test(row[0], row[1:]).p for row in values]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.011)  # 3 standard errors


@pytest.mark.slow
def test_the_interval_holds_the_effect():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(4000, 21))
    tests = [permuted_test(3 + row[0], row[1:]) for row in values]
    covered = np.mean([test.low <= 3 <= test.high for test in tests])
    assert covered == pytest.approx(0.95, abs=0.011)


def test_the_detectable_effect_is_found_in_four_of_five_studies():
    assert detectable_effect(1.0, 20) == pytest.approx(2.65, abs=0.01)
    shift = detectable_effect(1.0, 20) / np.sqrt(1 + 1 / 20)
    power = nct.sf(student_t.ppf(0.95, 19), 19, shift)
    assert power == pytest.approx(0.8, abs=0.03)


def test_the_largest_of_many_tracks_is_rejected_at_the_level():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(1500, 1, 40))
    tracks = 0.7 * shared + rng.normal(size=(1500, 8, 40)) * np.arange(1, 9)[:, None]
    p = np.array([max_t(study[:, 0], study[:, 1:])[0].min() for study in tracks])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_a_track_that_does_not_vary_has_no_adjusted_p():
    p, threshold = max_t([0.5, 2.0], [[0.5, 0.5, 0.5], [0.1, 0.2, 0.3]])
    assert np.isnan(p[0])
    assert p[1] == 1 / 4
    assert np.isnan(threshold).all(), "no p of three relabellings is 0.05"
    assert np.isnan(max_t([0.5], [[0.1]])).all()


def shifted(effect, n=20, sd=0.01):
    """A test whose T lies `effect` above the mean of `n` relabellings of that sd."""
    permuted = np.linspace(-1, 1, n)
    permuted *= sd / permuted.std(ddof=1)
    return permuted_test(effect, permuted)


@pytest.mark.parametrize(
    ("effect", "sd", "outcome"),
    [
        (0.2, 0.01, SUPPORTED),
        (0.0, 0.01, NOT_SUPPORTED),
        (0.04, 0.005, INCONCLUSIVE),  # above all relabellings, smaller than is worth a claim
        (0.0, 0.1, INCONCLUSIVE),  # may be large
    ],
)
def test_outcomes(effect, sd, outcome):
    assert verdict(shifted(effect, sd=sd), LARGE, 0.05)[0] == outcome


@pytest.mark.parametrize(
    ("change", "refuted"),
    [
        ({"n_positive": 9}, INCONCLUSIVE),
        ({"learnt": False}, INCONCLUSIVE),
        ({"learnt": None}, INCONCLUSIVE),
        ({"matched_p": 0.2}, NOT_SUPPORTED),
        ({"unit": "cell"}, NOT_SUPPORTED),
    ],
)
def test_what_no_track_is_supported_in_spite_of(change, refuted):
    about = Circumstances(**{**LARGE.__dict__, **change})
    assert verdict(shifted(0.2), about, 0.05)[0] == INCONCLUSIVE
    assert verdict(shifted(0.0), about, 0.05)[0] == refuted


def test_a_classifier_from_elsewhere_is_not_testable():
    about = Circumstances(**{**LARGE.__dict__, "brought": True})
    assert verdict(shifted(0.2), about, 0.05)[0] == NOT_TESTABLE


@pytest.mark.parametrize(("possible", "remedy"), [(1e6, "evidence.permutations"), (5, "no more")])
def test_too_few_relabellings_support_nothing_and_say_why(possible, remedy):
    about = Circumstances(**{**LARGE.__dict__, "n_possible": possible})
    outcome, reason = verdict(shifted(0.2, n=5), about, 0.05)
    assert outcome == INCONCLUSIVE
    assert remedy in reason
    assert verdict(shifted(0.0, n=5), about, 0.05)[0] == NOT_SUPPORTED
