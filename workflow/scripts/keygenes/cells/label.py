"""What each cell is to be predicted as, for every task."""

import logging

import numpy as np
import pandas as pd

from keygenes.cells.columns import known_values, require_column, values_in
from keygenes.core.errors import input_error

log = logging.getLogger("keygenes")

MIN_CELLS_PER_CLASS = 10


def task_labels(obs, task):
    """Return the class of every cell as an ordered categorical; cells of no class are missing.

    Parameters
    ----------
    obs : DataFrame
    task : dict
        ``name``, ``column`` and ``classes`` ({class name: [values of the column]}).

    Raises
    ------
    InputError
        If a value occurs in no cell, in two classes, or a class has fewer than 10 cells.
    """
    key = f"tasks.{task['name']}"
    require_column(obs, task["column"], f"{key}.column")
    column = obs[task["column"]]
    names = list(task["classes"])
    codes = np.full(len(obs), -1)
    for code, name in enumerate(names):
        for value in task["classes"][name]:
            mask = values_in(column, [value])
            if not mask.any():
                raise input_error(
                    f"config key '{key}.classes.{name}'",
                    found=f"{value}, which no selected cell has in '{task['column']}'",
                    expected=f"values among {known_values(column)}",
                    remedy="remove the value, or select the cells that have it",
                )
            if (codes[mask] >= 0).any():
                raise input_error(
                    f"config key '{key}.classes.{name}'",
                    found=f"{value}, which is in another class too",
                    expected="every value in one class",
                    remedy="remove it from one of them",
                )
            codes[mask] = code
        n = int((codes == code).sum())
        if n < MIN_CELLS_PER_CLASS:
            raise input_error(
                f"config key '{key}.classes.{name}'",
                found=f"a class of {n} cells",
                expected=f"at least {MIN_CELLS_PER_CLASS} cells per class",
                remedy="merge it with another class or leave it out",
            )
        log.info("%s: class %s has %d cells", task["name"], name, n)
    return pd.Categorical.from_codes(codes, names, ordered=True)


def label_cells(obs, tasks):
    """Return the table of labels: the cell's name and one categorical column per task."""
    labels = {task["name"]: task_labels(obs, task) for task in tasks}
    return pd.DataFrame({"cell": obs.index.astype(str), **labels})


def permuted_classes(codes, units, splits, rng):
    """Return class codes dealt anew to whole units: as many units of each class as before.

    Parameters
    ----------
    codes : int array [n_cells]
    units : array of str [n_cells]
        Wells, of one class each, or the cells themselves.
    splits : array of str [n_cells]
        Units that lie in one split each are permuted within it, so that each split keeps its
        classes; otherwise all at once, lest a unit have two classes.
    rng : numpy.random.Generator

    Returns
    -------
    int array [n_cells]
    """
    frame = pd.DataFrame({"code": codes, "unit": units, "split": splits})
    if frame.groupby("unit")["split"].nunique().max() > 1:
        frame["split"] = "all"
    whole = frame.drop_duplicates("unit").sort_values(["split", "unit"])
    dealt = {}
    for _, part in whole.groupby("split"):
        dealt |= dict(zip(part["unit"], rng.permutation(part["code"].to_numpy()), strict=True))
    return frame["unit"].map(dealt).to_numpy()


def permuted_labels(labels, obs, splits, seed):
    """Return the table of labels with every task's classes permuted among the wells.

    All cells of a well get the class of one well of the same split. Where no wells are known, or a
    well has cells of two classes, the classes of single cells are permuted.

    Parameters
    ----------
    labels : table of labels
    obs : DataFrame, indexed by cell
    splits : table 'splits' of this seed
    seed : int
    """
    table = labels.copy()
    split = splits.set_index("cell")["split"].astype(str).reindex(table["cell"]).to_numpy()
    for number, task in enumerate(table.columns.drop("cell")):
        rng = np.random.default_rng([seed, 103, number])
        labelled = np.flatnonzero(table[task].notna())
        codes = table[task].cat.codes.to_numpy()[labelled]
        unit, units = "cells", table["cell"].to_numpy()
        if "well" in obs and obs["well"].nunique() > 1:
            wells = obs["well"].astype(str).reindex(table["cell"]).to_numpy()
            if pd.Series(codes).groupby(wells[labelled]).nunique().max() == 1:
                unit, units = "wells", wells
        permuted = table[task].cat.codes.to_numpy().copy()
        permuted[labelled] = permuted_classes(codes, units[labelled], split[labelled], rng)
        log.info(
            "%s: classes permuted among %d %s; %.1f %% of the cells keep theirs",
            *(task, len(np.unique(units[labelled])), unit),
            100 * (permuted[labelled] == codes).mean(),
        )
        table[task] = pd.Categorical.from_codes(permuted, dtype=table[task].dtype)
    return table
