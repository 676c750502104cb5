import numpy as np

from keygenes.cells.units import resample_weights


def test_each_stratum_keeps_its_number_of_units():
    strata = np.array(["a", "b", "a", "c", "b", "a"])
    weights = resample_weights(strata, 500, np.random.default_rng(0))
    for stratum, n in (("a", 3), ("b", 2), ("c", 1)):
        assert (weights[:, strata == stratum].sum(1) == n).all()
    # with replacement: a unit of three is left out in (2/3)^3 of the draws
    assert abs((weights[:, 0] == 0).mean() - 8 / 27) < 0.08
