"""What is compared with what: the classes of a task, and their references."""

import numpy as np
import pandas as pd

REST, VEHICLE = "rest", "vehicle"


def class_codes(labels):
    """Return the class names in order, and each cell's position among them (-1: no class).

    Parameters
    ----------
    labels : sequence [n_cells]
        None or NaN: not in the task. A categorical keeps its order.

    Returns
    -------
    list of str, int64 array [n_cells]
    """
    labels = pd.Series(labels).reset_index(drop=True)
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return [str(name) for name in labels.cat.categories], labels.cat.codes.to_numpy(np.int64)
    labels = labels.where(labels.isna(), labels.astype(str))
    codes, names = pd.factorize(labels, sort=True)
    return list(names), codes.astype(np.int64)
