"""The test cells of a fold that are attributed: drawn evenly from classes and their wells."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from keygenes.attention.extract import well_codes

log = logging.getLogger("keygenes")


def evenly_drawn(labels, wells, n, fold):
    """Return the places of `n` cells drawn evenly from classes, and within these from wells.

    Parameters
    ----------
    labels, wells : int arrays [n_cells]
    n : int or None
        None, or more than there are: all.
    fold : int
        The cells of a smaller draw are among those of a larger one.

    Returns
    -------
    int array, sorted
    """
    rng = np.random.default_rng([fold, 22])
    frame = pd.DataFrame({"label": labels, "well": wells, "order": rng.permutation(len(labels))})
    frame["turn"] = frame.sort_values("order").groupby(["label", "well"]).cumcount()
    frame["group"] = frame.groupby(["label", "well"])["order"].transform("min")  # a random turn
    frame["place"] = frame.sort_values(["turn", "group"]).groupby("label").cumcount()
    drawn = frame.sort_values(["place", "order"]).index.to_numpy()
    return np.sort(drawn[:n])


@dataclass(frozen=True)
class Cells:
    """The test cells of a fold that a model is looked at in.

    Attributes
    ----------
    names : array of str [n_cells]
    tokens : list of int arrays
    wells : Categorical [n_cells]
    costly, shown : int arrays
        Places of those with tracks of many passes, and of those that randomisation is shown in.
    fold : int
    """

    names: np.ndarray
    tokens: list[np.ndarray]
    wells: pd.Categorical
    costly: np.ndarray
    shown: np.ndarray
    fold: int

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every cell: int array [n_cells]."""
        return np.array([len(cell) for cell in self.tokens])


def drawn_cells(frame, tokens, counts_obs, options, n_shown, fold):
    """Return the `Cells` of a fold.

    Parameters
    ----------
    frame, tokens : of `task_cells`
    counts_obs : DataFrame, indexed by cell
    options : dict
        max_cells, costly_cells.
    n_shown : int
    """
    test = np.flatnonzero((frame["split"] == "test").to_numpy())
    wells = well_codes(counts_obs, frame["cell"])
    strata = frame["label"].to_numpy(), wells.codes
    test = test[evenly_drawn(*(s[test] for s in strata), options["max_cells"], fold)]
    strata = [s[test] for s in strata]
    return Cells(
        names=frame["cell"].to_numpy(str)[test],
        tokens=[tokens[i] for i in test],
        wells=wells[test],
        costly=evenly_drawn(*strata, options["costly_cells"], fold),
        shown=evenly_drawn(*strata, n_shown, fold) if n_shown else np.empty(0, int),
        fold=fold,
    )
