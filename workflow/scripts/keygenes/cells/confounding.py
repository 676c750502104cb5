"""Whether the classes of a task can be told from the batches, donors or plates of its cells."""

import re
from typing import NamedTuple

import pandas as pd
from scipy.stats import entropy

# How columns are named that say which cells were handled together; `dataset` comes of combining.
BATCH = re.compile(
    r"(?:^|[^a-z])(?:batch|donor|patient|individual|subject|participant|animal|mouse|sample|plate"
    r"|library|lane|channel|pool|flowcell|run(?![a-z])|chip(?![a-z])|orig\.?ident|dataset"
    r"|replicate)",
    re.IGNORECASE,
)
# So much of a class in one batch, and no more of the other classes: they nearly are one another.
GATHERED, OTHERS = 0.9, 0.75
MOST_BATCHES = 0.1  # of the cells: what has more values than that names cells, not batches


class Confounding(NamedTuple):
    """How much of a task's classes the batches of a column give away.

    Attributes
    ----------
    column : str
    n_batches, n_cells : int
        Batches, and labelled cells that have one.
    gain : float
        Share of the classes' entropy that batches take away (mutual information over entropy): 0
        where they say nothing of a cell's class, 1 where they name it.
    gathered : list of (str, str, float, float)
        Classes that lie in one batch, or nearly: class, batch, the share of its cells that are in
        the batch, and that of the other classes' cells. Not asked where batches are nested.
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
    gain: float
    gathered: list[tuple[str, str, float, float]]
    nested: bool
    single: list[str]
    split: bool


def _gathered(table):
    """Yield class, batch and two shares, as in `Confounding`; `table` counts batches x classes."""
    n_of_class, n_of_batch = table.sum(axis=0), table.sum(axis=1)
    for name, top in table.idxmax().items():
        inside = table.loc[top, name]
        share = inside / n_of_class[name]
        others = (n_of_batch[top] - inside) / (n_of_class.sum() - n_of_class[name])
        if share >= GATHERED and others <= OTHERS:
            yield str(name), str(top), float(share), float(others)


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
    table = pd.crosstab(batches.to_numpy(), classes.to_numpy())
    if min(table.shape) < 2:
        return None
    n_batches, n_classes = (table > 0).sum(axis=0), (table > 0).sum(axis=1)
    nested, counts = bool((n_classes == 1).all()), table.to_numpy(float)
    weights = counts.sum(axis=1) / counts.sum()
    sides = splits.assign(batch=splits["cell"].map(dict(zip(classes.index, batches, strict=True))))
    sides = sides.assign(test=sides["split"] == "test").dropna(subset=["batch"])
    both = sides.groupby(["fold", "batch"], observed=True)["test"].nunique() > 1
    return Confounding(
        column=str(batches.name),
        n_batches=len(table),
        n_cells=int(counts.sum()),
        gain=float(1 - weights @ entropy(counts, axis=1) / entropy(counts.sum(axis=0))),
        gathered=[] if nested else list(_gathered(table)),
        nested=nested,
        single=list(map(str, table.columns[n_batches == 1])) if nested else [],
        split=bool(both.any()),
    )
