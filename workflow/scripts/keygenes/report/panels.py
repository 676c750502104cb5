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


def seed_text(n):
    """Return what a value over `n` seeds is of; without a seed (0) it is of the pool."""
    return "pooled" if n == 0 else plural(n, "seed")


def is_finite(value):
    """Return whether there is a value at all, and a finite one."""
    return value is not None and bool(np.isfinite(value))


def numbered(n):
    """Return tick labels "1" to "n", as layers and heads are counted."""
    return [str(i + 1) for i in range(n)]


def layer_head(frame, column, layers, heads):
    """Return the mean of `column` over seeds, float [layers, heads], NaN where there is none."""
    values = np.full((layers, heads), np.nan)
    means = frame.dropna(subset=["layer", "head"]).groupby(["layer", "head"])[column].mean()
    for (layer, head), mean in means.items():
        values[int(layer) - 1, int(head) - 1] = mean
    return values
