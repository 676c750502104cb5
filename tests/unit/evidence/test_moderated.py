import numpy as np
import pytest
import scipy.stats
from scipy.special import polygamma

from keygenes.evidence.moderated import fit_prior, moderated_t, trigamma_inverse, two_groups

N_GENES = 4000


def wells(rng, n, d0=4.0, s0_squared=1.0):
    """Return two groups of n wells whose variances are drawn from the prior; no effect."""
    variance = s0_squared * d0 / rng.chisquare(d0, N_GENES)
    return [np.sqrt(variance) * rng.standard_normal((n, N_GENES)) for _ in range(2)]


@pytest.mark.parametrize("x", [1e-4, 0.01, 0.5, 1.0, 3.7, 40.0, 1e4])
def test_the_inverse_of_the_trigamma_function(x):
    assert trigamma_inverse(polygamma(1, x)) == pytest.approx(x, rel=1e-5)
    assert trigamma_inverse(np.pi**2 / 6) == pytest.approx(1), "trigamma(1) is pi^2 / 6"


def test_without_a_prior_it_is_the_ordinary_t():
    a, b = wells(np.random.default_rng(0), 5)
    found = moderated_t(a, b, prior=(0.0, 0.0))
    expected = scipy.stats.ttest_ind(a, b)
    np.testing.assert_allclose(found["t"], expected.statistic)
    np.testing.assert_allclose(found["p"], expected.pvalue)
    assert (found["df"] == 8).all()
    assert (found["n_wells"] == 10).all()


def test_under_an_endless_prior_all_genes_share_one_variance():
    a, b = wells(np.random.default_rng(1), 3)
    found = moderated_t(a, b, prior=(2.0, np.inf))
    z = (a.mean(0) - b.mean(0)) / np.sqrt(2.0 * (1 / 3 + 1 / 3))
    np.testing.assert_allclose(found["t"], z)
    np.testing.assert_allclose(found["p"], 2 * scipy.stats.norm.sf(abs(z)), rtol=5e-3, atol=1e-7)


def test_a_prior_in_between_by_hand():
    a, b = np.array([[3.0], [5.0]]), np.array([[0.0], [2.0], [1.0]])
    # squares 2 + 2 on 3 degrees of freedom; with 6 more of variance 2: (12 + 4) / 9
    found = moderated_t(a, b, prior=(2.0, 6.0))
    assert found["effect"] == 3
    assert found["t"] == pytest.approx(3 / np.sqrt(16 / 9 * (1 / 2 + 1 / 3)))


def test_the_prior_is_found_again():
    rng = np.random.default_rng(2)
    _, variance, df, _ = two_groups(wells(rng, 6, d0=5.0, s0_squared=3.0))
    s0_squared, d0 = fit_prior(variance, df)
    assert s0_squared == pytest.approx(3.0, rel=0.1)
    assert d0 == pytest.approx(5.0, rel=0.25)
    equal = [2 * rng.standard_normal((6, 20)) for _ in range(2)]
    _, variance, df, _ = two_groups(equal)
    variance[:] = 4.0  # they differ less than chance would have it
    assert fit_prior(variance, df) == (pytest.approx(4.0, rel=0.15), np.inf)


@pytest.mark.parametrize("sizes", [(6, 6), (12, 6), (3, 2)])
def test_p_is_uniform_where_there_is_nothing(sizes):
    rng = np.random.default_rng(3)
    a, b = wells(rng, 12)
    p = moderated_t(a[: sizes[0]], b[: sizes[1]])["p"]
    below = (p < 0.05).sum()
    low, high = scipy.stats.binom.interval(0.999, N_GENES, 0.05)
    assert low <= below <= high
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3


def test_it_finds_more_than_the_ordinary_t():
    a, b = wells(np.random.default_rng(4), 6, d0=50.0)
    a[:, :400] += 1.8
    moderated = moderated_t(a, b)["p"]
    ordinary = scipy.stats.ttest_ind(a, b).pvalue
    cut = 0.001
    assert (moderated[:400] < cut).sum() > 1.3 * (ordinary[:400] < cut).sum()
    assert (moderated[400:] < cut).mean() < 0.003


def test_missing_wells_leave_a_gene_its_others():
    rng = np.random.default_rng(5)
    a, b = wells(rng, 4)
    a[0, 0] = b[1, 0] = np.nan
    a[1:, 1] = np.nan  # a single well is left
    found = moderated_t(a, b, prior=(0.0, 0.0))
    expected = scipy.stats.ttest_ind(a[1:, 0], b[[0, 2, 3], 0])
    assert found["t"][0] == pytest.approx(expected.statistic)
    assert (found["df"][0], found["n_wells"][0]) == (4, 6)
    assert np.isnan([found[name][1] for name in ("effect", "t", "p")]).all()
    assert np.isfinite(moderated_t(a, b)["p"][[0, 2]]).all()


def test_a_gene_that_does_not_vary_is_judged_by_the_others():
    rng = np.random.default_rng(6)
    a, b = wells(rng, 4)
    a[:, 0] = b[:, 0] = 1.0
    found = moderated_t(a, b)
    assert (found["t"][0], found["p"][0]) == (0, 1)
    same = np.ones((3, 5))
    assert np.isnan(moderated_t(same, same)["p"]).all(), "nothing varies at all"
    assert moderated_t(np.ones((0, 3)), same[:, :3])["p"].shape == (3,)
