"""Labels with nothing behind them: the classes of a task dealt anew to its wells.

A relabelling deals the classes among the wells of each replicate, once for all folds: every
replicate keeps as many wells of each class as it had, and what a model of one fold was told of a
well, those of the others were told too. Where wells are not known, but each replicate has cells of
one class (donors, say), classes are dealt to replicates; else to single cells, within replicates.
"""

import logging
import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from keygenes.cells.split import known, with_validation
from keygenes.core.errors import input_error

log = logging.getLogger("keygenes")


class Units(NamedTuple):
    """What the classes of a task are dealt to.

    Attributes
    ----------
    unit : {'well', 'replicate', 'cell'}
    of_cell : int array [n_cells]
        The unit of each labelled cell.
    codes : int array [n_units]
        Its class.
    blocks : list of int arrays
        The units of each replicate; all of them where replicates are not known.
    alike : list of int arrays
        Classes that have equally many units in every replicate, a group each: relabellings that
        differ by an exchange of such classes are the same partition of the units.
    """

    unit: str
    of_cell: np.ndarray
    codes: np.ndarray
    blocks: list[np.ndarray]
    alike: list[np.ndarray]


def units_of(codes, obs):
    """Return the `Units` of labelled cells.

    Parameters
    ----------
    codes : int array [n_cells]
        Class of every cell, from 0 on.
    obs : DataFrame [n_cells], indexed by cell
    """
    names, unit = obs.index.astype(str).to_numpy(), "cell"
    for column in ("well", "replicate"):
        if known(obs, column) and _of_one_class(codes, obs[column]):
            names, unit = obs[column].astype(str).to_numpy(), column
            break
    _, first, of_cell = np.unique(names, return_index=True, return_inverse=True)
    block = np.zeros(len(first), int)
    if known(obs, "replicate") and unit != "replicate":
        replicates = obs["replicate"].astype(str).to_numpy()
        if pd.Series(replicates).groupby(names).nunique().max() == 1:
            block = pd.Categorical(replicates[first]).codes
    blocks = [np.flatnonzero(block == b) for b in np.unique(block)]
    n_units = pd.crosstab(codes[first], block)  # classes x replicates
    alike = [group.to_numpy() for group in n_units.groupby(list(n_units)).groups.values()]
    return Units(unit, of_cell, codes[first], blocks, alike)


def _of_one_class(codes, units):
    return pd.Series(codes).groupby(units.astype(str).to_numpy()).nunique().max() == 1


def n_relabellings(units):
    """Return how many distinct relabellings there are: int, or inf beyond what a float holds.

    Those of each replicate multiply; the labels as they are do not count, and of relabellings that
    exchange classes with equally many units (the complement, of two) one does.
    """
    n_units = [np.bincount(units.codes[block]) for block in units.blocks]
    size = sum(
        math.lgamma(n.sum() + 1) - sum(math.lgamma(k + 1) for k in n.tolist()) for n in n_units
    )
    if size > math.log(np.finfo(float).max):
        return math.inf
    deals = math.prod(_multinomial(n.tolist()) for n in n_units)
    return deals // math.prod(math.factorial(len(group)) for group in units.alike) - 1


def _multinomial(counts):
    left, product = sum(counts), 1
    for n in counts:
        product *= math.comb(left, n)
        left -= n
    return product


def labelled_units(labels, obs, task):
    """Return the `Units` of a task, and the places of its cells in the table of labels."""
    codes = labels[task].cat.codes.to_numpy(np.int64)
    labelled = np.flatnonzero(codes >= 0)
    cells = labels["cell"].to_numpy()[labelled]
    return units_of(codes[labelled], obs.loc[cells]), labelled


def partition(codes, alike):
    """Return bytes that are the same for relabellings that differ by exchanges of alike classes.

    Classes of a group are numbered as they first appear.
    """
    classes, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    numbered = classes.copy()
    for group in alike:
        at = np.flatnonzero(np.isin(classes, group))
        numbered[at[np.argsort(first[at])]] = classes[at]
    return numbered[inverse].astype(np.int64).tobytes()


def relabellings(units, n):
    """Return the classes of the units under relabellings 1 to `n` of a fixed random sequence.

    Every relabelling is as probable as every other at each place of the sequence. One that came
    before is drawn again, and so are the labels as they are: the sequence lists all there are,
    each once, and a longer one starts with the shorter.

    Parameters
    ----------
    units : Units
    n : int

    Returns
    -------
    list of int arrays [n_units]

    Raises
    ------
    InputError
        If there are fewer.
    """
    possible = n_relabellings(units)
    if n > possible:
        raise input_error(
            "config key 'evidence.permutations' (or 'seeds', for a regime with labels: permuted)",
            found=f"relabelling {n} of the {units.unit}s",
            expected=f"at most {possible}, which is how many distinct ones there are",
            remedy=f"lower it to {possible}: all of them are then used"
            if possible
            else "set evidence.permutations to 0 and remove regimes with labels: permuted",
        )
    rng = np.random.default_rng([104])
    seen, found = {partition(units.codes, units.alike)}, []
    while len(found) < n:
        dealt = units.codes.copy()
        for block in units.blocks:
            dealt[block] = rng.permutation(units.codes[block])
        if (key := partition(dealt, units.alike)) not in seen:
            seen.add(key)
            found.append(dealt)
    return found


def relabelled_cells(labels, obs, splits, task, number, valid_fraction):
    """Return the labels of one relabelling of a task, and the splits of all folds that go with it.

    Test cells are those of `splits`. Validation wells are drawn anew, within each dealt class, so
    that each class has some to train and some to choose by, as far as it has two.

    Parameters
    ----------
    labels : table of labels
    obs : DataFrame, indexed by cell
    splits : table 'splits'
    number : int
        See `relabellings`.
    valid_fraction : float
        Share of the wells of a class that are not tested.

    Returns
    -------
    DataFrame
        Columns cell and `task`.
    DataFrame
        Table 'splits'.
    """
    units, labelled = labelled_units(labels, obs, task)
    before = labels[task].cat.codes.to_numpy(np.int64)
    codes = before.copy()
    codes[labelled] = relabellings(units, number)[-1][units.of_cell]
    log.info(
        "%s: relabelling %d deals the classes to %d %ss (%.6g ways); %.1f %% of the cells keep "
        "theirs",
        *(task, number, len(units.codes), units.unit, n_relabellings(units)),
        100 * (codes == before)[labelled].mean(),
    )
    classes = pd.Categorical.from_codes(codes, dtype=labels[task].dtype)
    table = pd.DataFrame({"cell": labels["cell"], task: classes})
    wells = None
    if units.unit == "well":
        wells = obs["well"].astype(str)
    folds = [
        _with_own_validation(part, table.set_index("cell")[task], wells, valid_fraction, number)
        for _, part in splits.groupby("fold", sort=False)
    ]
    return table, pd.concat(folds, ignore_index=True)


def _with_own_validation(splits, dealt, wells, valid_fraction, number):
    """Return the splits of one fold with validation cells drawn within each dealt class."""
    cells = splits["cell"].to_numpy()
    rng = np.random.default_rng([int(splits["fold"].iloc[0]), 105, number])
    return splits.assign(
        split=with_validation(
            (splits["split"] == "test").to_numpy(),
            wells if wells is None else wells.reindex(cells).to_numpy(),
            dealt.reindex(cells).cat.codes.to_numpy(),
            valid_fraction,
            rng,
        )
    )
