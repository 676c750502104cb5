"""What the figures have in common: titles, short texts, and tables per layer and head."""

import numpy as np
import pandas as pd

from keygenes.report.wording import plural


def add_title(figure, text, task=None):
    """Write `text`, and the task if there is one, over the whole figure."""
    figure.suptitle(f"{text}, task {task}" if task else text, x=0.005, ha="left")


def spoken(name):
    """Return the name of a track, order or regime for a reader."""
    return str(name).replace("_", " ")


def versus(a, b):
    """Return two models that are compared: "full vs frozen"."""
    return f"{spoken(a)} vs {spoken(b)}"


def distinct(values):
    """Return the distinct values of a column in the order in which they come, without nulls."""
    return list(pd.unique(values.dropna().astype(object)))


def pairs_of(frame):
    """Return the distinct pairs of models (columns a, b) of a table, in their order."""
    return list(frame[["a", "b"]].astype(str).drop_duplicates().itertuples(index=False, name=None))


def cosine_text(value, digits=3):
    """Return a cosine as text, in which only an exact 1 reads as 1: ">0.999"."""
    text = f"{value:.{digits}f}"
    return f">{1 - 10**-digits:.{digits}f}" if text[0] == "1" and value < 1 - 1e-6 else text


def pool(table):
    """Return the rows over all folds and trainings: those with neither a fold nor a seed."""
    return table[table[_keys_of_runs(table)].isna().all(axis=1)]


def single_models(table):
    """Return the rows of single models (a fold and a seed); all rows where there are none."""
    keys = _keys_of_runs(table)
    known = table[keys].notna().all(axis=1)
    return table[known] if keys and known.any() else table


def _keys_of_runs(table):
    return [name for name in ("fold", "seed") if name in table]


def model_text(rows):
    """Return the models behind some rows: "3 folds", "3 folds × 2", or "pooled".

    The second number is how often each fold was trained, where that is more than once.
    """
    folds, seeds = (rows[name].nunique() if name in rows else 0 for name in ("fold", "seed"))
    if not folds:
        return "pooled"
    return plural(folds, "fold") + (f" × {seeds}" if seeds > 1 else "")


def distinct_cells(rows):
    """Return how many cells some rows of single models are of.

    A fold's cells are the same in each of its trainings; folds test different ones.
    """
    if "fold" not in rows or rows["fold"].isna().all():
        return int(rows["n_cells"].max())
    return int(rows.groupby("fold")["n_cells"].max().sum())


def is_finite(value):
    """Return whether there is a value at all, and a finite one."""
    return value is not None and bool(np.isfinite(value))


def numbered(n):
    """Return tick labels "1" to "n", as layers and heads are counted."""
    return [str(i + 1) for i in range(n)]


def layer_head(frame, column, layers, heads):
    """Return the mean of `column` over models, float [layers, heads], NaN where there is none."""
    values = np.full((layers, heads), np.nan)
    means = frame.dropna(subset=["layer", "head"]).groupby(["layer", "head"])[column].mean()
    for (layer, head), mean in means.items():
        values[int(layer) - 1, int(head) - 1] = mean
    return values
