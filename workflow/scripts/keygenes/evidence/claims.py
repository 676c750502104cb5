"""Every claim, put to its test: what was said, what is found here, and the verdict."""

import logging

import numpy as np
import pandas as pd
import yaml
from statsmodels.stats.multitest import multipletests

from keygenes.core.tables import read_runs, read_table, write_table
from keygenes.evidence.claim_tables import NotTestable, learnt
from keygenes.evidence.claim_tests import TESTS
from keygenes.evidence.verdicts import UNTESTABLE, VERDICTS

log = logging.getLogger("keygenes")

# What is read of tables with millions of rows.
COLUMNS = {"genes": ["track", "regime", "seed", "ensembl_id", "symbol", "score", "n_cells"]}
OF_ACCURACY = ("accuracy", "accuracy_difference", "beats_controls")


def judged(reading, tables, task, claimed_classes, classes):
    """Return one reading of a claim on one task, judged: the columns of a test's `outcome`.

    Parameters
    ----------
    reading : dict
        With the keys test and parameters.
    claimed_classes : list of str
        Classes of the task that the claim is about.
    classes : dict {task: list of str}
        Those of the study.
    """
    try:
        if task not in classes:
            raise NotTestable(f"the study has no task '{task}'")
        if set(classes[task]) != set(claimed_classes):
            raise NotTestable(
                f"the study's task '{task}' has the classes {', '.join(classes[task])}, the claim "
                f"is about {', '.join(claimed_classes)}"
            )
        row = TESTS[reading["test"]](tables, task, **reading["parameters"])
    except NotTestable as reason:
        empty = dict.fromkeys(("value", "ci_low", "ci_high", "p"), np.nan)
        empty |= {"unit": None, "n": pd.NA, "n_of": None, "control": None}
        return {**empty, "verdict": UNTESTABLE, "why": str(reason)}
    return {**row, "why": row["why"] + _proves_little(reading, tables, task)}


def _proves_little(reading, tables, task):
    """Return a clause where the model that a claim is about has not learnt its task, else ''."""
    parameters = reading["parameters"]
    regime = parameters.get("regime") or (parameters.get("pair") or [None])[0]
    if reading["test"] in OF_ACCURACY or regime is None:
        return ""
    above, value, floor = learnt(tables, task, regime)
    if above is not False:
        return ""
    return (
        f"; the accuracy of {regime} is not clearly above the commonest class ({value:.2f}, "
        f"{floor:.2f}), so this proves little"
    )


def holm(p):
    """Return p-values adjusted after Holm; missing ones stay missing and do not count."""
    p = np.asarray(p, float)
    adjusted, known = np.full(len(p), np.nan), np.isfinite(p)
    if known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return adjusted


def judge(document, tables, classes):
    """Return table 'claims': a row per claim, reading and task, in the order of the document.

    Parameters
    ----------
    document : dict
        A claims file (`workflow/schemas/claims.schema.yaml`).
    tables : dict {name: {task: table}}
        metrics, confusion, cosine, rank_shift, norms (with regime and seed), genes, key_genes,
        attended, scorecard; bounds and input_length where there are any.
    classes : dict {task: list of str}

    Notes
    -----
    p is kept of the readings marked ``primary`` alone, and adjusted over them after Holm.
    """
    rows = []
    for claim in document["claims"]:
        for reading in claim["readings"]:
            for task in reading["tasks"]:
                row = judged(reading, tables, task, document["tasks"][task], classes)
                if not reading.get("primary"):
                    row["p"] = np.nan
                rows.append(
                    {
                        "claim": claim["id"],
                        "reading": reading["name"],
                        "task": task,
                        "statement": claim["statement"],
                        "where": claim["where"],
                        "thesis_value": str(reading["thesis"]),
                        **row,
                    }
                )
    frame = pd.DataFrame(rows)
    frame["n"] = frame["n"].astype("Int64")
    frame["verdict"] = pd.Categorical(frame["verdict"], VERDICTS)
    return frame.assign(p_holm=holm(frame["p"]))


def judge_claims(*, claims, files, norms, classes, out):
    """Write the verdict on every claim.

    Parameters
    ----------
    claims : path-like
    files : dict {name: {task: path}}
        The tables of `judge`, without norms.
    norms : dict {task: {(regime, seed): path}}
    classes : dict {task: list of str}
    """
    with open(claims, encoding="utf-8") as handle:
        document = yaml.safe_load(handle)
    tables = {
        name: {task: read_table(path, COLUMNS.get(name)) for task, path in paths.items()}
        for name, paths in files.items()
    }
    tables["norms"] = {
        task: read_runs(list(paths), list(paths.values())) for task, paths in norms.items()
    }
    frame = judge(document, tables, classes)
    for row in frame.itertuples():
        log.info("%s, %s, task %s: %s (%s)", row.claim, row.reading, row.task, row.verdict, row.why)
    write_table(frame, out, "claims")
