"""Faithfulness and randomisation of all models of a task, one table each."""

import numpy as np
import pandas as pd

from keygenes.evidence.intervals import means_by_unit, table_of


def collect_faithfulness(tables, units, n_bootstrap):
    """Return table 'faithfulness' from the tables 'cell_faithfulness' of a task's runs.

    Parameters
    ----------
    tables : dict {(regime, seed): DataFrame}
    units : DataFrame, indexed by cell
        From `keygenes.evidence.intervals.well_units`.
    n_bootstrap : int
    """
    frames = []
    for regime in dict.fromkeys(regime for regime, _ in tables):
        runs = pd.concat([t for (name, _), t in tables.items() if name == regime])
        runs = runs.assign(gain=runs["value"] - runs["matched"])
        means = means_by_unit(
            runs, ["order", "metric", "fraction"], ["value", "gain"], units, n_bootstrap
        )
        means = means.rename(columns={"value_low": "ci_low", "value_high": "ci_high"})
        frames.append(means.assign(regime=regime))
    return table_of(frames, "faithfulness")


def collect_randomisation(tables, units, n_bootstrap):
    """Return table 'randomisation' from the tables 'cell_randomisation' of a task's runs.

    Rows per seed have mean and sd over cells; rows of all seeds (seed missing) intervals as well.

    Parameters
    ----------
    tables : dict {(regime, seed): DataFrame}
    units : DataFrame, indexed by cell
        From `keygenes.evidence.intervals.well_units`.
    n_bootstrap : int
    """
    keys, frames = ["track", "stage", "depth"], []
    for regime in dict.fromkeys(regime for regime, _ in tables):
        seeds = {seed: t for (name, seed), t in tables.items() if name == regime}
        for seed, table in [*seeds.items(), (None, pd.concat(seeds.values()))]:
            means = means_by_unit(table, keys, ["spearman"], units, n_bootstrap)
            if means.empty:
                continue
            sd = table.groupby(keys, sort=False, observed=True)["spearman"].std()
            means["sd"] = sd.to_numpy()
            means = means.rename(columns={"spearman_low": "ci_low", "spearman_high": "ci_high"})
            if seed is not None:
                means[["ci_low", "ci_high"]] = np.nan
            frames.append(means.assign(regime=regime, seed=pd.array([seed] * len(means), "Int64")))
    return table_of(frames, "randomisation")
