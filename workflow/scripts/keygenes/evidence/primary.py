"""The one confirmatory test: does a track rank the genes of a set higher than models that learned
nothing about them do?

T is the average precision (AUPRC) of a set of genes on a track. Its null is the same track of
models trained on relabelled wells (`cells.relabel`): B of them, and p = (1 + #{T_b >= T}) / (B + 1)
(Phipson & Smyth 2010). The effect is T less the mean T_b; its interval is that of one more T_b
predicted from B of them, by the t distribution, the gene set held fixed: it assumes that T has the
spread of the T_b. `outcome` turns these numbers into a verdict.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from keygenes.core.runs import ALPHA, FEWEST

MIN_POSITIVES = 10  # genes of a set, below which an AUPRC says nothing
POWER = 0.8
OF_WILCOXON = 999  # relabellings that differential expression is held against, or all there are
SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
INCONCLUSIVE, NOT_TESTABLE = "inconclusive", "not testable"
OUTCOMES = (SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_TESTABLE)


def detectable_effect(sd, n):
    """Return the effect that 80 % power at p <= 0.05, one-sided, takes: about 2.7 sd at n = 20.

    Parameters
    ----------
    sd : float
        Of T under relabelling.
    n : int
        Relabellings; with fewer than two it is not known (NaN).
    """
    if n < 2:
        return np.nan
    return float(scipy.stats.t.ppf([1 - ALPHA, POWER], n - 1).sum() * sd * np.sqrt(1 + 1 / n))


@dataclass(frozen=True)
class PermutedTest:
    """A statistic of true labels against the same of relabelled ones; NaN where B is too small."""

    mean: float
    sd: float
    n: int
    p: float
    effect: float
    low: float
    high: float
    detectable: float


def permuted_test(observed, permuted):
    """Return the `PermutedTest` of a statistic.

    Parameters
    ----------
    observed : float
    permuted : float array [B]

    Returns
    -------
    PermutedTest
        p : one-sided, (1 + exceeding) / (B + 1).
        low, high : 95 % interval of the effect, ``t_{B-1} sd sqrt(1 + 1/B)`` to either side.
        detectable : the effect that has 80 % power at 0.05, one-sided, with this sd.
    """
    permuted = np.asarray(permuted, float)
    n = len(permuted)
    p = (1 + int((permuted >= observed - 1e-12).sum())) / (n + 1)
    mean = float(permuted.mean()) if n else np.nan
    sd = float(permuted.std(ddof=1)) if n > 1 else np.nan
    spread = sd * np.sqrt(1 + 1 / n) if n else np.nan
    half = scipy.stats.t.ppf(0.975, max(1, n - 1)) * spread
    effect = observed - mean
    detectable = detectable_effect(sd, n)
    return PermutedTest(mean, sd, n, p, effect, effect - half, effect + half, detectable)


def max_t(observed, permuted):
    """Return p-values adjusted over tracks by the largest of their standardised statistics.

    Westfall & Young's single-step max-T: every track is standardised over true and relabelled
    values alike, so that all are exchangeable, and each is held against the largest of a
    relabelling's tracks.

    Parameters
    ----------
    observed : float array [n_tracks]
    permuted : float array [n_tracks, B]

    Returns
    -------
    p : float array [n_tracks]
        NaN without two relabellings, and where a track does not vary.
    threshold : float array [n_tracks]
        The statistic beyond which p is at most 0.05; NaN where no p of B relabellings can be.
    """
    observed, permuted = np.asarray(observed, float), np.asarray(permuted, float)
    p, threshold = np.full((2, len(observed)), np.nan)
    every = np.concatenate([observed[:, None], permuted], axis=1)
    mean, sd = every.mean(axis=1), every.std(axis=1, ddof=1) if every.shape[1] > 2 else 0 * observed
    varies = sd > 0
    if not varies.any():
        return p, threshold
    mean, sd, n = mean[varies], sd[varies], permuted.shape[1]
    scaled = (every[varies] - mean[:, None]) / sd[:, None]
    largest = np.sort(scaled[:, 1:].max(axis=0))[::-1]
    p[varies] = (1 + (largest >= scaled[:, :1] - 1e-12).sum(axis=1)) / (n + 1)
    if allowed := int(ALPHA * (n + 1) + 1e-9):  # of B + 1 values, the true one among them
        threshold[varies] = mean + sd * largest[allowed - 1]
    return p, threshold


@dataclass(frozen=True)
class Circumstances:
    """What a verdict on the primary track rests on besides its test."""

    n_positive: int
    matched_p: float
    learnt: bool | None  # None: the model's accuracy has no interval
    unit: str  # what was relabelled: 'well', 'replicate' or 'cell'
    n_possible: float  # distinct relabellings that there are
    brought: bool = False  # fine-tuned elsewhere


def smallest_p(n):
    """Return the smallest p that `n` relabellings can give."""
    return 1 / (n + 1)


def verdict(test, about, min_effect):
    """Return outcome and reason of the primary test.

    Supported: p <= 0.05, the effect reaches `min_effect`, and p against matched random sets is
    <= 0.05. Not supported: the interval's upper end lies below `min_effect`. Else inconclusive.
    Where the model has not learnt, the set is too small or cells were relabelled, nothing is
    supported; with the first two nothing is refuted either.

    Parameters
    ----------
    test : PermutedTest
    about : Circumstances
    min_effect : float
        Difference of AUPRC that is worth a claim.
    """
    if about.brought:
        return NOT_TESTABLE, "the classifier was fine-tuned elsewhere, so it cannot be retrained"
    if about.n_positive < MIN_POSITIVES:
        return INCONCLUSIVE, (
            f"{about.n_positive} genes of the set are scored, and an AUPRC takes {MIN_POSITIVES}"
        )
    if not about.learnt:
        unknown = about.learnt is None
        return INCONCLUSIVE, (
            "whether the model has learnt is not known: its accuracy has no interval"
            if unknown
            else "the model has not learnt: its accuracy is not clearly above the commonest class"
        )
    passes = test.p <= ALPHA and test.effect >= min_effect
    if passes and about.matched_p <= ALPHA and about.unit != "cell":
        return SUPPORTED, "it passes both nulls, and its effect is large enough"
    if test.high < min_effect:
        return NOT_SUPPORTED, f"the whole interval of the effect lies below {min_effect:g}"
    if test.n < FEWEST:
        return INCONCLUSIVE, _too_few(test.n, about.n_possible)
    if passes and about.unit == "cell":
        return INCONCLUSIVE, "cells were relabelled, not replicates: the cells have no wells"
    if passes:
        return INCONCLUSIVE, (
            "random sets of as widely detected and as highly ranked genes do as well "
            f"(p = {about.matched_p:.2g})"
        )
    if test.p <= ALPHA and test.effect < min_effect:
        return INCONCLUSIVE, (
            f"the effect of {test.effect:.2g} is less than {min_effect:g}, which its interval holds"
        )
    return INCONCLUSIVE, (
        f"the effect may be as large as {test.high:.2g}, and 80 % power would need "
        f"{test.detectable:.2g}"
    )


def _too_few(n, n_possible):
    what = f"{n} relabellings cannot give p <= {ALPHA:g} (the smallest is {smallest_p(n):.2g})"
    if n_possible < FEWEST:
        return f"{what}, and the design has no more than {n_possible:.0f}"
    return f"{what}: set evidence.permutations to {FEWEST} or more"
