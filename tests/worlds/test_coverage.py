"""Simulated studies: how often the interval of an accuracy holds what it is said to hold.

``python tests/worlds/test_coverage.py`` (with workflow/scripts on PYTHONPATH) prints the table;
`coverage_table` returns it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from keygenes.models.evaluate import accuracy_difference, confusion_metrics, metric_intervals

N_DOSES = 6
OF_DOSES = np.linspace(0.9, 0.55, N_DOSES)  # expected accuracy
SD_WELLS, SD_MODELS = 0.06, 0.05
CELLS = (40, 61)  # per well
N_STUDIES, N_BOOTSTRAP = 2000, 400
HOLDS = (0.93, 0.97)


@dataclass(frozen=True)
class Design:
    """What a simulated study looks like: wells of a dose lie in the folds by turns."""

    wells: int  # per dose
    folds: int
    seeds: int
    sd_models: float = 0.0


DESIGNS = [
    Design(wells, folds, seeds, sd)
    for wells, folds in ((2, 2), (4, 2), (6, 3))
    for seeds in (1, 3)
    for sd in (0.0, SD_MODELS)
]
SMALLEST = Design(wells=2, folds=2, seeds=1)
TRAINED_OFTEN = [d for d in DESIGNS if d.wells == 2 and d.seeds > 1]


def simulated(design, rng):
    """Return one study of two classes.

    Returns
    -------
    confusions : int array [n_wells, n_folds, n_seeds, 2, 2]
    doses : int array [n_wells]
    of_models : float
        The accuracy of these models over all wells that there could be.
    """
    doses = np.repeat(np.arange(N_DOSES), design.wells)
    folds = np.tile(np.arange(design.wells) % design.folds, N_DOSES)
    n, wells = len(doses), np.arange(len(doses))
    hard = OF_DOSES[doses] + rng.normal(0, SD_WELLS, n)
    models = rng.normal(0, design.sd_models, (design.folds, design.seeds))
    cells = rng.integers(*CELLS, n)[:, None]
    hits = rng.binomial(cells, np.clip(hard[:, None] + models[folds], 0, 1))
    confusions = np.zeros((n, design.folds, design.seeds, 2, 2), int)
    true = (doses >= N_DOSES // 2).astype(int)  # the class of a dose
    confusions[wells, folds, :, true, true] = hits
    confusions[wells, folds, :, true, 1 - true] = cells - hits
    return confusions, doses, OF_DOSES.mean() + models.mean()


def percentile_bootstrap(confusions, doses, rng):
    """Return the interval that was there before: wells drawn within doses, percentiles."""
    of_wells = confusions.mean(2).sum(1)
    total = np.zeros((N_BOOTSTRAP, 2, 2))
    for dose in np.unique(doses):
        members = of_wells[doses == dose]
        n = len(members)
        weights = rng.multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP).astype(float)
        total += np.tensordot(weights, members, axes=1)
    return np.quantile(confusion_metrics(total)["accuracy"], [0.025, 0.975])


def coverage(design, n_studies=N_STUDIES, seed=0):
    """Return how often intervals of a design hold the truth.

    Returns
    -------
    dict
        jackknife, bootstrap: of the accuracy over wells and trainings; own_models: jackknife, of
        the accuracy of the very models that were trained, over wells; half_width: mean.
    """
    rng, found = np.random.default_rng([seed, 31]), []
    for _ in range(n_studies):
        confusions, doses, of_models = simulated(design, rng)
        _, low, high = metric_intervals(confusions, doses)["accuracy"]
        below, above = percentile_bootstrap(confusions, doses, rng)
        truth = OF_DOSES.mean()
        holds = low <= truth <= high, below <= truth <= above, low <= of_models <= high
        found.append((*holds, (high - low) / 2))
    names = ["jackknife", "bootstrap", "own_models", "half_width"]
    return dict(zip(names, np.mean(found, axis=0), strict=True))


def coverage_table(n_studies=N_STUDIES):
    """Return the coverage of all designs: a row per `Design`, shares of `n_studies` studies."""
    return pd.DataFrame([vars(design) | coverage(design, n_studies) for design in DESIGNS])


def rejected(design, n_studies=N_STUDIES, seed=0):
    """Return how often two regimes that are equally good differ at p < 0.05."""
    rng, found = np.random.default_rng([seed, 32]), 0
    for _ in range(n_studies):
        (one, doses, _), (other, _, _) = simulated(design, rng), simulated(design, rng)
        found += accuracy_difference(one, other, doses)[3] < 0.05
    return found / n_studies


def main():
    """Print the table of coverage."""
    table = coverage_table()
    shares = ["jackknife", "bootstrap", "own_models"]
    table[shares] = (100 * table[shares]).round(1)
    print(f"Coverage (%) of nominal 95 % intervals, {N_STUDIES} studies of {N_DOSES} doses")
    print(table.round(3).to_string(index=False))


@pytest.mark.slow
def test_intervals_hold_what_they_say(capsys):
    table = coverage_table()
    with capsys.disabled():
        print("\n" + table.round(3).to_string(index=False))
    many = table["seeds"] > 1
    of_trainings = table[many | (table["sd_models"] == 0)]
    assert of_trainings["jackknife"].between(*HOLDS).all()
    # One training each: nothing can be said of others, only of these models over other wells.
    assert table.loc[~many, "own_models"].between(HOLDS[0], 0.985).all()
    assert (table.loc[~many & (table["sd_models"] > 0), "jackknife"] < HOLDS[0]).all()
    assert (table.loc[table["wells"] == 2, "bootstrap"] < 0.9).all(), "too narrow, as it was"


@pytest.mark.slow
@pytest.mark.parametrize("design", [SMALLEST, *TRAINED_OFTEN], ids=str)
def test_two_regimes_that_are_equally_good_rarely_differ(design):
    assert 0.03 <= rejected(design) <= 0.07


if __name__ == "__main__":
    main()
