"""Simulated tables of scores: what every test says of them, with the package's own functions.

A gene has a detection and a rank, which go together, and a score in any model: its share of
detection, and a part of its own. Wells have an offset per gene; longer and deeper ones have others
of the genes that follow length and depth. A model that was trained on some labels scores a gene
higher the more it differs between the wells that had different labels, as far as they were trained
on, and no two trainings are alike. No model is trained here: whether real ones do so is what
`micro_worlds` asks.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from rates import mean, share

from keygenes.cells.relabel import n_relabellings, relabellings, units_of
from keygenes.core.progress import with_progress
from keygenes.evidence import primary
from keygenes.evidence.agreement import (
    against_draws,
    bootstrap_sets,
    dealt_sets,
    matched_draws,
    set_metrics,
    strata,
)
from keygenes.evidence.well_sums import well_tests

N_GENES, N_POSITIVE = 300, 30
N_REPLICATES, OF_CLASS = 3, 2  # replicates are folds; wells of a class in each
B, MORE, FEW = 20, 99, 10  # relabellings
MIN_EFFECT = 0.05
N_DRAWS, N_BOOTSTRAP = 499, 200
TRAINING_NOISE = 0.3  # of one fold's model
SENSITIVITY = np.array([1.0, 0.7, 0.4, 1.0])  # of each track, to what tells the classes apart
BASE = np.array([0.3, 0.5, 0.7, 0.1])  # its share of detection
OWN = 0.3  # what a gene has in every model


class Setting(NamedTuple):
    """What the treated wells of a study have, in the units of its wells' offsets."""

    length: float = 0.0
    depth: float = 0.0
    planted: float = 0.0
    tilt: float = 0.7  # how much more often the set's genes are widely detected


SIMULATED = {
    "nothing": Setting(),
    "length": Setting(length=1.0),
    "depth": Setting(depth=1.0),
    "detection": Setting(tilt=2.0),
    "weak": Setting(planted=0.2),
    "medium": Setting(planted=0.35),
    "strong": Setting(planted=0.7),
}


class Study(NamedTuple):
    """One simulated study.

    Attributes
    ----------
    positive : bool array [n_genes]
    detection, rank : float arrays [n_genes]
    base : float array [n_tracks, n_genes]
        What models score alike whatever their labels.
    wells : float array [n_wells, n_genes]
        What the wells express.
    """

    positive: np.ndarray
    detection: np.ndarray
    rank: np.ndarray
    base: np.ndarray
    wells: np.ndarray


def design():
    """Return the wells of every study: their `Units`, classes in turn, and their replicates."""
    codes = np.tile(np.repeat([0, 1], OF_CLASS), N_REPLICATES)
    replicates = np.repeat(np.arange(N_REPLICATES), 2 * OF_CLASS)
    wells = [f"W{i:02d}" for i in range(len(codes))]
    obs = pd.DataFrame({"well": wells, "replicate": replicates.astype(str)}, index=wells)
    return units_of(codes, obs), replicates


def signs(units, n):
    """Return the sign of each well's class, true and under n relabellings: [1 + n, n_wells]."""
    codes = [units.codes, *relabellings(units, n)]
    return 2.0 * np.array(codes) - 1


def new_study(rng, setting, treated):
    """Return a `Study`; `treated` is the sign of each well's class."""
    detection = rng.standard_normal(N_GENES)
    rank = 0.7 * detection + 0.7 * rng.standard_normal(N_GENES)
    weight = np.exp(setting.tilt * detection)
    chosen = rng.choice(N_GENES, N_POSITIVE, replace=False, p=weight / weight.sum())
    positive = np.isin(np.arange(N_GENES), chosen)
    own = OWN * rng.standard_normal((len(BASE), N_GENES))
    wells = rng.standard_normal((len(treated), N_GENES))
    for shift, follows in ((setting.length, detection), (setting.depth, rank)):
        loading = -0.7 * follows + 0.7 * rng.standard_normal(N_GENES)
        level = 0.5 * rng.standard_normal(len(treated)) + shift * treated
        wells += level[:, None] * loading
    effect = setting.planted * rng.uniform(0.5, 1.5, N_GENES) * positive
    wells += treated[:, None] * effect
    return Study(positive, detection, rank, BASE[:, None] * detection + own, wells)


def scores(rng, study, labels, replicates, tracks=slice(None), noise=TRAINING_NOISE):
    """Return what models trained on some labels score, pooled over folds.

    Parameters
    ----------
    labels : float array [n, n_folds or 1, n_wells]
        Signs of the classes that the models of each fold were told.
    noise : float
        What trainings of one fold differ by.

    Returns
    -------
    float array [n_tracks, n, n_genes]
    """
    folds = np.unique(replicates)
    trained = (replicates != folds[:, None]).astype(float)
    weights = labels * trained / trained.sum(1, keepdims=True)
    contrast = np.abs(weights @ study.wells).mean(1)
    base, sensitivity = study.base[tracks], SENSITIVITY[tracks]
    chance = rng.standard_normal((len(base), *contrast.shape)) * noise / np.sqrt(len(folds))
    return base[:, None] + sensitivity[:, None, None] * contrast + chance


def ranks_of(found):
    """Return ranks from 1 of scores [..., n_genes] by falling score; none are tied."""
    order = np.argsort(-found, axis=-1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, found.shape[-1] + 1), -1)
    return ranks


def auprc_of_sets(ranks, sets):
    """Return the AUPRC of sets [n, k] of genes on one score."""
    return set_metrics(sets, ranks, ranks, ranks)["auprc"]


def auprc_of_scores(ranks, genes):
    """Return the AUPRC of one set of genes on every score [..., n_genes], ranks end to end."""
    flat = ranks.reshape(-1)
    sets = np.arange(0, len(flat), ranks.shape[-1])[:, None] + genes
    return auprc_of_sets(flat, sets).reshape(ranks.shape[:-1])


def answers(rng, setting, units, replicates, labels):
    """Return what every test says of one study: dict {test: bool or number}."""
    study = new_study(rng, setting, labels[0])
    found = scores(rng, study, labels[:, None], replicates)
    ranks = ranks_of(found)
    every = auprc_of_scores(ranks, np.flatnonzero(study.positive))
    first, every = every[0], every[:, : 1 + B]
    stratum = strata(study.detection, study.rank)
    sets = (draw(study.positive, stratum, N_DRAWS, rng) for draw in (matched_draws, dealt_sets))
    matched_p = against_draws(first[0], *(auprc_of_sets(ranks[0, 0], drawn) for drawn in sets))[2]
    resampled = bootstrap_sets(study.positive, found[0, 0], ranks[0, 0], N_BOOTSTRAP, rng)["auprc"]
    about = primary.Circumstances(N_POSITIVE, matched_p, True, "well", n_relabellings(units))
    tests = {n: primary.permuted_test(first[0], first[1 : 1 + n]) for n in (FEW, 19, B, MORE)}
    outcomes = {n: primary.verdict(test, about, MIN_EFFECT)[0] for n, test in tests.items()}
    each = np.array([primary.permuted_test(row[0], row[1:]).p for row in every])
    adjusted, _ = primary.max_t(every[:, 0], every[:, 1:])
    by_well = study.base[0] + 0.3 * study.wells
    by_well = by_well + 0.1 * rng.standard_normal(study.wells.shape)
    names = [f"W{i:02d}" for i in range(len(by_well))]
    sides = {
        name: "contrast" if sign > 0 else "reference"
        for name, sign in zip(names, labels[0], strict=True)
    }
    genes_tested = well_tests(by_well, names, sides)
    moved = study.positive if setting.planted else np.zeros(N_GENES, bool)
    low_q = genes_tested["q"] < 0.05
    return {
        **{f"permuted {n}": test.p <= primary.ALPHA for n, test in tests.items()},
        "matched": matched_p <= primary.ALPHA,
        "above base rate": np.quantile(resampled, 0.025) > N_POSITIVE / N_GENES,
        **{
            f"{outcome} {n}": outcomes[n] == outcome
            for n in tests
            for outcome in primary.OUTCOMES[:3]
        },
        "any track": (each <= primary.ALPHA).any(),
        "any track, max-T": (adjusted <= primary.ALPHA).any(),
        "effect": tests[B].effect,
        "detectable": tests[B].detectable,
        "zero in interval": tests[B].low <= 0 <= tests[B].high,
        "any gene": low_q.any(),
        "genes at p": (genes_tested["p"][~moved] < 0.05).mean(),
        "planted at q": low_q[moved].mean() if moved.any() else np.nan,
        "false at q": (low_q & ~moved).sum() / max(1, low_q.sum()) if moved.any() else np.nan,
    }


MEANS = ("effect", "detectable", "genes at p", "planted at q", "false at q")


def table(name, n_studies, seed=0):
    """Return {test: entry} of one setting."""
    units, replicates = design()
    labels = signs(units, MORE)
    rng = np.random.default_rng([seed, 1, list(SIMULATED).index(name)])
    studies = with_progress(range(n_studies), f"score tables, {name}", "studies")
    rows = [answers(rng, SIMULATED[name], units, replicates, labels) for _ in studies]
    return {
        test: (mean if test in MEANS else share)([row[test] for row in rows]) for test in rows[0]
    }


def dealt_anew(n_studies, seed=0):
    """Return the permuted test where there is nothing to find, by how labels are dealt.

    Once: every relabelling is one deal, for all folds. Anew: each fold's is a deal of its own.

    Returns
    -------
    dict {what trainings of one fold differ by: {how: {'rejected' or 'sd' of the null: entry}}}
    """
    return {str(noise): _dealt_anew(n_studies, seed, noise) for noise in (TRAINING_NOISE, 0.0)}


def _dealt_anew(n_studies, seed, noise):
    units, replicates = design()
    every = signs(units, n_relabellings(units))
    rng = np.random.default_rng([seed, 2])
    tests = {"once": [], "anew": []}
    for _ in with_progress(range(n_studies), "labels dealt anew", "studies"):
        study = new_study(rng, Setting(), every[0])
        genes = np.flatnonzero(study.positive)
        once = 1 + rng.permutation(len(every) - 1)[:B]
        anew = 1 + rng.integers(len(every) - 1, size=(B, N_REPLICATES))
        true = scores(rng, study, every[:1, None], replicates, slice(1), noise)[0]
        for how, labels in (("once", every[once][:, None]), ("anew", every[anew])):
            null = scores(rng, study, labels, replicates, slice(1), noise)[0]
            found = auprc_of_scores(ranks_of(np.concatenate([true, null])), genes)
            tests[how].append(primary.permuted_test(found[0], found[1:]))
    return {
        how: {
            "rejected": share([test.p <= primary.ALPHA for test in of_deal]),
            "sd": mean([test.sd for test in of_deal]),
        }
        for how, of_deal in tests.items()
    }
