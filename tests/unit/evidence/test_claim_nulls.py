"""How often a claim is earned: by nothing at all, and by studies in which it is so."""

import claim_nulls as nulls
import numpy as np
import pytest
import scipy.stats

from keygenes.evidence.verdicts import HOLDS, PART

N_STUDIES = 25
ONE_OF_SIX = ("largest_norm", "largest_change")  # hold in part at best in a model of six layers


@pytest.mark.slow
@pytest.mark.parametrize("name", nulls.STUDIES)
def test_nothing_earns_little(name):
    found = nulls.verdicts(name, False, N_STUDIES)
    most = scipy.stats.binom.ppf([0.999, 0.999], N_STUDIES, [0.10, 0.25])
    assert np.sum(found == HOLDS) <= most[0]
    assert np.sum(np.isin(found, [HOLDS, PART])) <= most[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", nulls.STUDIES)
def test_what_is_so_is_found(name):
    found = nulls.verdicts(name, True, 10)
    wanted = PART if name in ONE_OF_SIX else HOLDS
    assert np.mean(found == wanted) >= 0.5
