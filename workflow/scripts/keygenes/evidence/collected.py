"""Faithfulness and randomisation of all models of a task, one table each."""

import pandas as pd

from keygenes.evidence.intervals import means_by_unit, table_of

RANGE = (0.05, 0.95)  # of F over a model's cells: what its logits span, but for outliers


def by_regime(tables):
    """Return the tables of each regime as one, with columns fold and seed.

    Parameters
    ----------
    tables : dict {(regime, fold, seed): DataFrame}
    """
    found = {}
    for (regime, fold, seed), table in tables.items():
        found.setdefault(regime, []).append(table.assign(fold=fold, seed=seed))
    return {regime: pd.concat(frames, ignore_index=True) for regime, frames in found.items()}


def logit_ranges(cells):
    """Return how far the logits of every model reach: the 5 to 95 % range of F over its cells.

    Parameters
    ----------
    cells : DataFrame
        Tables 'attributed_cells' with columns fold and seed: the test cells that a model scored.

    Returns
    -------
    Series, indexed by fold and seed
        Missing where F is the same in all cells.
    """
    each = cells.drop_duplicates(["fold", "seed", "cell"]).groupby(["fold", "seed"])["contrast"]
    width = each.quantile(RANGE[1]) - each.quantile(RANGE[0])
    return width.where(width > 0).rename("range")


def collect_faithfulness(tables, cells, units):
    """Return table 'faithfulness' from the tables 'cell_faithfulness' of a task's runs.

    A gain is also given in units of the model's own range of logits (`gain_scaled`), cell by cell
    before the mean: of models whose logits hardly move, an equal gain in logits means more. The
    interval takes the range as known.

    Parameters
    ----------
    tables : dict {(regime, fold, seed): DataFrame}
    cells : dict {(regime, fold, seed): table 'attributed_cells'}
    units : DataFrame, indexed by cell
        From `keygenes.evidence.intervals.well_units`.
    """
    keys, frames, scored = ["order", "metric", "fraction"], [], by_regime(cells)
    for regime, runs in by_regime(tables).items():
        runs = runs.join(logit_ranges(scored[regime]), on=["fold", "seed"])
        gain = runs["value"] - runs["matched"]
        runs = runs.assign(gain=gain, gain_scaled=gain / runs["range"])
        means = means_by_unit(runs, keys, ["value", "gain", "gain_scaled"], units)
        means = means.rename(columns={"value_low": "ci_low", "value_high": "ci_high"})
        frames.append(means.assign(regime=regime))
    return table_of(frames, "faithfulness")


def collect_randomisation(tables, units):
    """Return table 'randomisation' from the tables 'cell_randomisation' of a task's runs.

    Rows per training seed pool its folds and have intervals over wells; those of all seeds (seed
    missing) cover trainings as well, where there are several.

    Parameters
    ----------
    tables : dict {(regime, fold, seed): DataFrame}
    units : DataFrame, indexed by cell
        From `keygenes.evidence.intervals.well_units`.
    """
    keys, frames = ["track", "stage", "depth"], []
    for regime, runs in by_regime(tables).items():
        for seed, table in [*runs.groupby("seed"), (None, runs)]:
            means = means_by_unit(table, keys, ["spearman"], units, bounds=(-1.0, 1.0))
            if means.empty:
                continue
            sd = table.groupby(keys, sort=False, observed=True)["spearman"].std()
            means = means.rename(columns={"spearman_low": "ci_low", "spearman_high": "ci_high"})
            means = means.assign(sd=sd.to_numpy(), regime=regime)
            frames.append(means.assign(seed=pd.array([seed] * len(means), "Int64")))
    return table_of(frames, "randomisation")
