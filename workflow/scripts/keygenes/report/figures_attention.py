"""The figures of two models' attention: 4, 5, 6, and 5 corrected for length."""

import pandas as pd

from keygenes.report.figures_cosine import figure4_cosine
from keygenes.report.figures_rank_shift import (
    figure5_rank_shift,
    figure6_rank_shift_layers,
    rank_shift_corrected,
)
from keygenes.report.rank_changes import change_by_layer, change_by_rank


def _marks(tokens, genes, marker):
    """Return the ranks to mark: the median length, and where the marker gene stands if it does."""
    lengths = tokens["length"]
    ranks = genes.loc[genes["symbol"] == marker, "rank_mean"]
    return {
        "median_length": float(lengths[lengths > 0].median()),
        "marker": marker if len(ranks) else None,
        "marker_rank": float(ranks.iloc[0]) if len(ranks) else None,
    }


def attention_plates(tables, params, task):
    """Return the figures and their numbers, for `core.figures`."""
    cosine, shift = tables["cosine"], tables["rank_shift"]
    marks = _marks(tables["tokens"], tables["key_genes"], params["marker"]) | {"task": task}
    pairs = pd.MultiIndex.from_frame(shift[["a", "b"]].astype(str))
    before_and_after = shift[pairs.isin([tuple(pair) for pair in params["corrected"]])]
    return {
        "figure4_cosine": (figure4_cosine(cosine, tables["comparison_bounds"], task=task), cosine),
        "figure5_rank_shift": (figure5_rank_shift(shift, **marks), change_by_rank(shift)),
        "figure6_rank_shift_layers": (
            figure6_rank_shift_layers(shift, **marks),
            change_by_layer(shift),
        ),
        "rank_shift_corrected": (
            rank_shift_corrected(before_and_after, **marks),
            change_by_rank(before_and_after),
        ),
    }
