"""Differential expression in two halves of the wells, against circular arguments.

A score that comes from the cells that also say which genes respond shares their noise, and agrees
with them for that alone; a score from one half of the wells and a test in the other do not. This
guards the cells that are looked at. A fine-tuned model has seen wells of both halves in training,
with their classes: only to the pretrained and the frozen encoder are the halves strangers.
"""

import numpy as np
import pandas as pd

from keygenes.cells.halves import HALVES
from keygenes.core.schemas import TABLES
from keygenes.expression.sides import REST, class_codes
from keygenes.expression.wilcoxon import compare_groups


def compare_halves(counted, labels, halves, *, task, pseudocount):
    """Test every gene of every class against the rest of the task, in each half alone.

    Parameters
    ----------
    counted : Counted
    labels : sequence [n_cells]
        Class of each cell; None or NaN: not in the task.
    halves : object array [n_cells]
        'a', 'b' or None.
    task : str
    pseudocount : float
        Counts per 10,000, added to both means before log2.

    Returns
    -------
    pandas.DataFrame
        Schema "half_tests" (columns as in `compare_groups`), genes in the order given.
    """
    names, codes = class_codes(labels)
    columns = TABLES["half_tests"].names
    frames = []
    for half in HALVES:
        sides = np.where(halves == half, codes, -1)
        compared = compare_groups(counted.counts, counted.n_counts, sides, pseudocount=pseudocount)
        for code, frame in compared.items():
            frame = frame.assign(
                **{"task": task, "half": half, "group": names[code], "reference": REST},
                ensembl_id=np.asarray(counted.ensembl_ids, str),
                symbol=np.asarray(counted.symbols, str),
            )
            frames.append(frame[columns])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
