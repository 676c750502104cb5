"""What the tracks of models are made of, and which of them are asked for."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

PathsOfRuns = dict[tuple[str | None, int, int], str | Path]


class TrackFiles(NamedTuple):
    """Tables that the tracks of models come from.

    Attributes
    ----------
    by_well, well_scores : dict {(regime, fold, seed): path}
        well_scores: of the regimes that are attributed.
    by_gene : dict {(regime, fold, seed): path}
        Of the model in question, which has no attention or is None, as of by_well: its cells' genes
        as `counted_genes.count_genes` counts them.
    readers : dict {(reader, fold, seed): path}
        Tables 'well_scores' of readers that were brought along.
    """

    by_well: PathsOfRuns
    well_scores: PathsOfRuns
    by_gene: PathsOfRuns = {}
    readers: PathsOfRuns = {}


class Question(NamedTuple):
    """What is asked of the tracks of a task.

    Attributes
    ----------
    regime : str or None
        Whose key genes are listed, and whose tracks are compared with each other.
    tracks : collection of str
        Tracks of models that are asked for.
    controls : collection of str
        Regimes with permuted labels or a random encoder.
    """

    regime: str | None
    tracks: Collection[str]
    controls: Collection[str] = ()


def of_runs(runs, paths):
    """Return {run: path} of runs as lists, as they come in the params of a rule."""
    return dict(zip(map(tuple, runs), paths, strict=True))


def of_regime(tables, regime):
    """Return {(fold, seed): path} of one regime from {(regime, fold, seed): path}."""
    return {(fold, seed): path for (one, fold, seed), path in tables.items() if one == regime}
