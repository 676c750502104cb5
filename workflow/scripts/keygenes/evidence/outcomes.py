"""What a test of a claim answers, and how often a study with nothing behind it would earn that.

Every rule here takes arrays as well: the same rule that judges the study judges the studies with
nothing behind it, whose share of each verdict is `Null`.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from keygenes.evidence.verdicts import FAILS, HOLDS, PART, UNDECIDED

ALPHA = 0.05
SAME = 1e-6  # smaller differences between attention weights are rounding
N_DRAWS = 1000  # studies with nothing behind them, where they are drawn
MAX_NULL_HOLDS = 0.10  # what such a study earns more often than this is no 'holds'
MAX_NULL_PART = 0.25  # and, 'holds' included, more often than this no 'holds in part'


@dataclass(frozen=True)
class Found:
    """What a test measures: value, what it is, its n, interval, and p.

    A small p speaks for the claim, in every test; where a test has none it is missing.
    """

    value: float
    unit: str
    n: int
    n_of: str
    interval: tuple[float, float] | None = None
    p: float = np.nan


@dataclass(frozen=True)
class Null:
    """What a study with nothing behind it is, and how often it earns 'holds' and 'in part'."""

    study: str
    holds: float
    part: float


def null_of(study, verdicts):
    """Return a `Null` from the verdicts on studies with nothing behind them."""
    verdicts = np.asarray(verdicts)
    return Null(study, float((verdicts == HOLDS).mean()), float((verdicts == PART).mean()))


def outcome(verdict, why, found, *, null, control="none"):
    """Return a test's answer as part of a row of table 'claims'.

    What chance earns too often is worth less: 'holds' becomes 'in part', 'in part' undecided.
    """
    verdict, low_high = str(verdict), found.interval or (np.nan, np.nan)
    if verdict == HOLDS and null.holds > MAX_NULL_HOLDS:
        verdict = PART
    if verdict == PART and null.holds + null.part > MAX_NULL_PART:
        verdict = UNDECIDED
    return {
        "value": float(found.value),
        "ci_low": float(low_high[0]),
        "ci_high": float(low_high[1]),
        "unit": found.unit,
        "n": int(found.n),
        "n_of": found.n_of,
        "p": float(found.p),
        "null_holds": null.holds,
        "null_in_part": null.part,
        "null_study": null.study,
        "verdict": verdict,
        "why": why,
        "control": control,
    }


def over_models(values, unit, models="models"):
    """Return the range over single models (or 'seeds') and a unit that names it so."""
    values = np.asarray(list(values), float)
    if len(values) < 2:
        return None, f"{unit}; one {models[:-1]}, no interval"
    return (values.min(), values.max()), f"{unit}; range of {len(values)} single {models}"


def graded(so, nearly=False, *, runs=(), explained=False):
    """Return the verdict on something that is so, nearly so or not: str array.

    Holds if nothing is lacking, in part if one thing is: it is only nearly so, or not so in every
    run, or a control explains it. Not so in most runs counts twice, so nothing is left where
    runs and control both speak against.

    Parameters
    ----------
    so, nearly, explained : bool or bool array [...]
    runs : bool array [n_runs, ...]
        Whether each run has what is said of all together.
    """
    runs = np.asarray(runs, bool)
    share = runs.mean(0) if len(runs) else np.ones(1)
    lacks = np.where(so, 0, np.where(nearly, 1, 2)) + np.asarray(explained, int)
    lacks = lacks + (share < 1) + (share <= 0.5)
    return np.squeeze(np.select([lacks == 0, lacks == 1], [HOLDS, PART], FAILS))


def unless(verdict, explained):
    """Return the verdict, but no better than 'holds in part' where a control explains it."""
    return np.where((np.asarray(verdict) == HOLDS) & explained, PART, verdict)


@dataclass(frozen=True)
class Margin:
    """What counts as no different: values within `width` of `target`."""

    target: float
    width: float


def equivalent(value, error, df, margin):
    """Return the verdict on a claim of no difference, by two one-sided t-tests at 5 %: str array.

    Holds if the whole 90 % interval lies within the margin, fails if all of it lies outside,
    else undecided: a wide interval shows nothing.
    """
    off, half = np.abs(value - margin.target), scipy.stats.t.ppf(1 - ALPHA, df) * error
    inside, outside = off + half <= margin.width, off - half > margin.width
    return np.select([inside, outside], [HOLDS, FAILS], UNDECIDED)


def equivalence_p(value, error, df, margin):
    """Return the larger p of the two one-sided tests: small where the difference is none."""
    off = np.abs(value - margin.target)
    return scipy.stats.t.sf((margin.width - off) / np.maximum(error, 1e-12), df)


def upper_p(values, drawn):
    """Return the share of draws that reach each value, (1 + exceed) / (1 + draws)."""
    drawn = np.sort(drawn[~np.isnan(drawn)])
    reached = len(drawn) - np.searchsorted(drawn, values - 1e-12)
    return (1 + reached) / (1 + len(drawn))


def listed(names):
    """Return names as text."""
    return " and ".join(names)
