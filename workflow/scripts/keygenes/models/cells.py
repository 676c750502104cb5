"""The cells of one task and fold: tokens, classes, split and predictions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.tables import read_table
from keygenes.tokens.store import read_tokens


class TaskFold(NamedTuple):
    """The cells of a task and fold as files: what `task_cells` takes.

    Attributes
    ----------
    tokens, labels, splits : path-like
        Tables.
    task : str
    fold : int
    """

    tokens: str | Path
    labels: str | Path
    splits: str | Path
    task: str
    fold: int


def task_cells(tokens_path, labels_path, splits_path, task, fold):
    """Return the labelled cells of a task, in the order of the token table.

    Returns
    -------
    frame : DataFrame [n_cells]
        Columns cell, split ('train', 'valid', 'test'), label (int code).
    tokens : list of arrays of whole numbers
    classes : list of str

    Raises
    ------
    InputError
        If a class has no training cell.
    """
    splits = read_table(splits_path)
    labels = read_table(labels_path, columns=["cell", task])
    frame, classes = labelled_cells(labels, splits[splits["fold"] == fold], task)
    names, ids, offsets = read_tokens(tokens_path)
    position = {name: i for i, name in enumerate(names)}
    frame = frame[frame["cell"].isin(position)]
    frame = frame.assign(position=frame["cell"].map(position)).sort_values("position")
    tokens = [ids[offsets[i] : offsets[i + 1]] for i in frame["position"]]
    frame = frame[["cell", "split", "label"]].reset_index(drop=True)
    for split in ("train", "valid"):
        missing = set(range(len(classes))) - set(frame.loc[frame["split"] == split, "label"])
        if missing:
            raise input_error(
                f"config key 'tasks.{task}'",
                found=f"no {split} cell of class {classes[min(missing)]} in fold {fold}",
                expected="every class in training and validation",
                remedy="add wells or cells of this class, or set split.by to 'random'",
            )
    return frame, tokens, classes


def labelled_cells(labels, splits, task):
    """Return the cells of a task that have a class, and the classes.

    Parameters
    ----------
    labels : table 'labels'
    splits : table 'splits' of one fold
    task : str

    Returns
    -------
    frame : DataFrame [n_cells]
        Columns cell, split ('train', 'valid', 'test'), label (int code).
    classes : list of str
    """
    frame = labels.dropna(subset=[task]).merge(splits[["cell", "split"]], on="cell")
    label = frame[task].cat.codes.astype(np.int64)
    frame = frame.assign(label=label, split=frame["split"].astype(str))
    return frame[["cell", "split", "label"]], list(labels[task].cat.categories)


def of_split(frame, tokens, split):
    """Return the rows of `frame` and the tokens of one split."""
    chosen = np.flatnonzero(frame["split"] == split)
    return frame.iloc[chosen], [tokens[i] for i in chosen]


def predictions_table(frame, probabilities, classes):
    """Return table 'predictions' from cells with their probabilities [n_cells, n_classes]."""
    names = np.array(classes)
    return pd.DataFrame(
        {
            "cell": frame["cell"],
            "split": frame["split"],
            "true": pd.Categorical(names[frame["label"]], classes),
            "predicted": pd.Categorical(names[probabilities.argmax(1)], classes),
            "probabilities": list(np.asarray(probabilities, np.float64)),
        }
    )
