"""Whether the classes of a task can be told from the batches, donors or plates of its cells."""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

# How columns are named that say which cells were handled together; `dataset` comes of combining.
BATCH = re.compile(
    r"(?:^|[^a-z])(?:batch|donor|patient|individual|subject|participant|animal|mouse|sample|plate"
    r"|library|lane|channel|pool|flowcell|run(?![a-z])|chip(?![a-z])|orig\.?ident|dataset"
    r"|replicate)",
    re.IGNORECASE,
)
MOST_BATCHES = 0.1  # of the cells: what has more values than that names cells, not batches


class Confounding(NamedTuple):
    """How much of a task's classes the batches of a column give away.

    Attributes
    ----------
    column : str
    n_batches, n_cells : int
        Batches, and labelled cells that have one.
    told : float
        Share of the cells whose class is the commonest of their batch.
    commonest : float
        Share of the commonest class: what `told` is if batches say nothing.
    nested : bool
        Every batch has cells of one class alone.
    single : list of str
        Classes that lie in one batch alone, where batches are nested: nothing tells such a class
        from its batch.
    split : bool
        A batch has cells on both sides of a split: training and test.
    """

    column: str
    n_batches: int
    n_cells: int
    told: float
    commonest: float
    nested: bool
    single: list
    split: bool

    @property
    def gain(self):
        """Return the share of what there is to be told that batches tell: 0 nothing, 1 all."""
        return (self.told - self.commonest) / max(1e-12, 1 - self.commonest)


def batch_columns(obs, but=()):
    """Return the columns of obs that say which cells were handled together.

    Parameters
    ----------
    obs : DataFrame
    but : collection of str
        Columns that are not asked, such as the one that the classes come from.
    """
    return [
        column
        for column in obs
        if BATCH.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(column)))
        and column not in but
        and 2 <= obs[column].nunique() <= max(2, MOST_BATCHES * len(obs))
    ]


def confounding(classes, batches, splits):
    """Return the `Confounding` of classes with the batches of one column, or None.

    Parameters
    ----------
    classes : categorical Series [n_cells], indexed by cell
        Missing where a cell has no class.
    batches : Series [n_cells], named after its column, in the same order
        Missing where a cell's batch is not known.
    splits : DataFrame
        Table 'splits'.

    Returns
    -------
    Confounding or None
        None where fewer than two batches, or two classes, have cells.
    """
    known = classes.notna().to_numpy() & batches.notna().to_numpy()
    classes, batches = classes[known].astype(str), batches[known].astype(str)
    table = pd.crosstab(batches.to_numpy(), classes.to_numpy()).to_numpy()
    if min(table.shape, default=0) < 2:
        return None
    nested = bool(((table > 0).sum(axis=1) == 1).all())
    names = np.unique(classes)
    single = [str(names[i]) for i in np.flatnonzero((table > 0).sum(axis=0) == 1)]
    sides = splits.assign(batch=splits["cell"].map(dict(zip(classes.index, batches, strict=True))))
    sides = sides.assign(test=sides["split"] == "test").dropna(subset=["batch"])
    both = sides.groupby(["fold", "batch"], observed=True)["test"].nunique() > 1
    return Confounding(
        column=str(batches.name),
        n_batches=len(table),
        n_cells=int(table.sum()),
        told=float(table.max(axis=1).sum() / table.sum()),
        commonest=float(table.sum(axis=0).max() / table.sum()),
        nested=nested,
        single=single if nested else [],
        split=bool(both.any()),
    )
