"""A number of each regime beside its counterpart's: on the same units, with what is left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keygenes.core.jackknife import design_of, interval, left_out_sums
from keygenes.evidence.intervals import ratio_of_sums


def of_models(runs, values, index, tail=()):
    """Return arrays of every model: float array [n_units, n_folds, n_seeds, ...].

    Parameters
    ----------
    runs : dict {(fold, seed): table}
    values : callable
        ``values(table)`` -> DataFrame, indexed by unit.
    index : Index [n_units]
    tail : tuple of int
        Shape of a unit's values.
    """
    folds, seeds = (sorted({key[i] for key in runs}) for i in (0, 1))
    found = np.zeros((len(index), len(folds), len(seeds), *tail))
    for (fold, seed), table in runs.items():
        frame = values(table)
        at = index.get_indexer(frame.index)
        found[at, folds.index(fold), seeds.index(seed)] = frame.to_numpy(float)
    return found


def _same_models(parts, like):
    """Return the parts of a regime trained once repeated for each seed of another."""
    return np.broadcast_to(parts, np.broadcast_shapes(parts.shape, like.shape))


def _seen(*parts):
    """Return which units have anything in any of some arrays [n_units, ...]."""
    return np.any([p.any(axis=tuple(range(1, p.ndim))) for p in parts], axis=0)


@dataclass(frozen=True)
class Measure:
    """A number of each regime, and how its interval comes about.

    Attributes
    ----------
    name : str
    values : callable
        ``values(parts, design)`` -> the number from all units, then with something left out.
    intervals : callable
        ``intervals(values, design, bounds)`` -> low, high.
    largest : float
        The smallest is 0.
    """

    name: str
    values: Callable[..., np.ndarray]
    intervals: Callable[..., tuple[Any, Any]] = interval
    largest: float = 1.0


def row_of(measure, parts, name, other, strata):
    """Return the row of a regime, with its difference to another on the same units.

    Parameters
    ----------
    measure : Measure
    parts : dict {regime: array [n_units, n_folds, n_seeds, ...]}
    name, other : str
        The other may be None.
    strata : array of str [n_units]
    """
    seen = _seen(parts[name])
    design = design_of(strata[seen], *parts[name].shape[1:3])
    values = measure.values(parts[name][seen], design)
    low, high = measure.intervals(values, design, (0.0, measure.largest))
    row = {"regime": name, "measure": measure.name, "value": values[0], "n": int(seen.sum())}
    row |= {"ci_low": low, "ci_high": high}
    if not other:
        return row
    seen = _seen(parts[name], parts[other])
    one, two = (_same_models(parts[r], parts[x]) for r, x in ((name, other), (other, name)))
    design = design_of(strata[seen], *one.shape[1:3])
    values = measure.values(one[seen], design) - measure.values(two[seen], design)
    low, high = measure.intervals(values, design, (-measure.largest, measure.largest))
    return row | {"difference": values[0], "difference_low": low, "difference_high": high}


def shares(parts, design):
    """Return the first of `parts` [..., 2] as a share of the second, for every row of a design."""
    return ratio_of_sums(left_out_sums(parts, design))
