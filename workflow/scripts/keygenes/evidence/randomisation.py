"""Does a track depend on what the model has learnt? Its parts are made random, from the top down.

Cascading randomisation (Adebayo et al. 2018): classifier, pooler, then the layers from the last to
the first get new weights as they are initialised, each stage on top of the one before. A track that
stays the same does not describe the model. Attention of lower layers cannot change while only
later parts are random: a track that ignores the classifier fails the first stages by construction.
"""

import copy

import numpy as np
import pandas as pd
import scipy
import torch

from keygenes.core.progress import Progress


def randomised(model, seed):
    """Yield (stage, model) with ever more of a copy of the model random: eval mode, no gradients.

    Parameters
    ----------
    model : CellClassifier
    seed : int
        Decides all new weights.
    """
    torch.manual_seed(seed)
    fresh = type(model)(model.config).parts()
    changed = copy.deepcopy(model).eval()
    for stage, part in changed.parts().items():
        part.load_state_dict(fresh[stage].state_dict())
        yield stage, changed


def similarity(scores, others):
    """Return Spearman's correlation of the magnitudes of two arrays; NaN where one is constant.

    Magnitudes, because a random classifier may turn every sign: what is asked is whether the same
    genes stand out.
    """
    a, b = (scipy.stats.rankdata(np.abs(x)) for x in (scores, others))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])


def cell_randomisation(model, cells, scores_of, seed):
    """Return how much of each track is left at every stage, cell by cell.

    Parameters
    ----------
    model : CellClassifier
    cells : list
        Whatever `scores_of` takes.
    scores_of : callable
        ``scores_of(model, cell)`` -> dict {track: float array [n_genes]}.
    seed : int

    Returns
    -------
    DataFrame
        Columns at (place in `cells`), track, stage, depth (from 1), spearman.
    """
    n_runs = (1 + len(model.parts())) * len(cells)
    progress = Progress("randomisation", n_runs, "runs")

    def counted(some_model, cell):
        scores = scores_of(some_model, cell)
        progress.step()
        return scores

    originals = [counted(model, cell) for cell in cells]
    rows = []
    for depth, (stage, changed) in enumerate(randomised(model, seed), start=1):
        for at, (cell, original) in enumerate(zip(cells, originals, strict=True)):
            for track, scores in counted(changed, cell).items():
                rows.append((at, track, stage, depth, similarity(original[track], scores)))
    progress.end()
    return pd.DataFrame(rows, columns=["at", "track", "stage", "depth", "spearman"])
