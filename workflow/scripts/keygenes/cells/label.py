"""What each cell is to be predicted as, for every task."""

import logging

import numpy as np
import pandas as pd

from keygenes.cells.columns import cells_with, require_column
from keygenes.core.errors import input_error
from keygenes.core.values import value_text

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
        If a value occurs in no cell, may be one of several, is in two classes, or a class has
        fewer than 10 cells.
    """
    key = f"tasks.{task['name']}"
    require_column(obs, task["column"], f"{key}.column")
    names = list(task["classes"])
    codes = np.full(len(obs), -1)
    for code, name in enumerate(names):
        for value in task["classes"][name]:
            mask = cells_with(obs, task["column"], value, f"{key}.classes.{name}")
            if (~np.isin(codes[mask], [-1, code])).any():
                raise input_error(
                    f"config key '{key}.classes.{name}'",
                    found=f"{value_text(value)}, which is in another class too",
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
    _warn_of_datasets(obs, codes, task["name"], names)
    return pd.Categorical.from_codes(codes, names, ordered=True)


def _warn_of_datasets(obs, codes, task, names):
    """Warn of classes, and of the task, that have no cell of one of the combined datasets."""
    if "dataset" not in obs:
        return
    n_cells = pd.crosstab(obs["dataset"].astype(str).to_numpy(), codes)
    n_cells = n_cells.reindex(columns=range(len(names)), fill_value=0)
    for dataset, of_class in zip(n_cells.index, n_cells.to_numpy(), strict=True):
        without = [name for name, n in zip(names, of_class, strict=True) if not n]
        if len(without) == len(names):
            log.warning("%s: no cell of the dataset '%s' is in a class", task, dataset)
        elif without:
            log.warning("%s: the dataset '%s' has no cell of %s", task, dataset, ", ".join(without))


def label_cells(obs, tasks):
    """Return the table of labels: the cell's name and one categorical column per task."""
    labels = {task["name"]: task_labels(obs, task) for task in tasks}
    return pd.DataFrame({"cell": obs.index.astype(str), **labels})
