"""What a test of a claim answers, and how several seeds become one verdict."""

import numpy as np

from keygenes.evidence.verdicts import FAILS, HOLDS, PART

ALPHA = 0.05
SAME = 1e-6  # smaller differences between attention weights are rounding


def outcome(verdict, value, why, *, unit, n, n_of, interval=None, p=np.nan, control="none"):
    """Return a test's answer as part of a row of table 'claims'."""
    low, high = interval or (np.nan, np.nan)
    return {
        "value": float(value),
        "ci_low": float(low),
        "ci_high": float(high),
        "unit": unit,
        "n": int(n),
        "n_of": n_of,
        "p": float(p),
        "verdict": verdict,
        "why": why,
        "control": control,
    }


def over_seeds(values, unit):
    """Return the range over seeds and a unit that names it so; no range of a single seed."""
    values = np.asarray(list(values), float)
    if len(values) < 2:
        return None, f"{unit}; one seed, no interval"
    return (values.min(), values.max()), f"{unit}; range of {len(values)} single seeds"


def graded(every, some):
    """Return the verdict on something that is wholly, partly or not so."""
    return HOLDS if every else PART if some else FAILS


def by_seeds(pooled, seeds):
    """Return the verdict on something that is so or not, pooled and in each seed.

    Holds if so in all, in part if so pooled or in most seeds.
    """
    return graded(pooled and all(seeds), pooled or 2 * sum(seeds) > len(seeds))


def by_pool_and_seeds(pooled, seeds):
    """Return the verdict on a sign, which chance alone gives half of the time.

    Holds if so in all, in part if so pooled and in most seeds.
    """
    return graded(pooled and all(seeds), pooled and 2 * sum(seeds) > len(seeds))


def unless(verdict, explained):
    """Return the verdict, but no better than 'holds in part' where a control explains it."""
    return PART if verdict == HOLDS and explained else verdict


def listed(names):
    """Return names as text."""
    return " and ".join(names)
