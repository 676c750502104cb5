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
