"""Every claim, put to its test: what was said, what is found here, and the verdict."""

import logging

import numpy as np
import pandas as pd
import yaml
from statsmodels.stats.multitest import multipletests

from keygenes.core.tables import read_runs, read_table, write_table
from keygenes.evidence.claim_tables import NotTestable
from keygenes.evidence.claim_tests import TESTS
from keygenes.evidence.outcomes import ALPHA
from keygenes.evidence.verdicts import HOLDS, PART, UNDECIDED, UNTESTABLE, VERDICTS
from keygenes.models.learnt import not_learnt

log = logging.getLogger("keygenes")

# What is read of tables with millions of rows.
COLUMNS = {"genes": ["track", "regime", "seed", "ensembl_id", "symbol", "score", "n_cells"]}
# These ask how well a model predicts; all others take for granted that it does.
OF_ACCURACY = ("accuracy", "beats_controls")
EMPTY = {
    **dict.fromkeys(("value", "ci_low", "ci_high", "p", "null_holds", "null_in_part"), np.nan),
    **{"null_study": None, "unit": None, "n": pd.NA, "n_of": None, "control": None},
}


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
        return {**EMPTY, "verdict": UNTESTABLE, "why": str(reason)}
    return {**row, **_of_a_model_that_has_learnt(row, reading, tables, task)}


def _of_a_model_that_has_learnt(row, reading, tables, task):
    """Return the columns to change where a model in question has not learnt its task.

    What it attends to, or is less than another, is then no evidence either way: not testable. Of
    its accuracy a claim may fail, but holds in part at best.
    """
    parameters = reading["parameters"]
    models = [parameters.get("regime") or (parameters.get("pair") or [None])[0]]
    models += [parameters["over"]] if "over" in parameters else []
    reasons = {name: not_learnt(tables["metrics"][task], name) for name in models if name}
    said = [f"{name} has not learnt the task: {why}" for name, why in reasons.items() if why]
    if not said:
        return {}
    why = f"{row['why']}; {'; '.join(said)}"
    if reading["test"] in OF_ACCURACY:
        return {"why": why, "verdict": PART if row["verdict"] == HOLDS else row["verdict"]}
    return {"why": f"{why}, so this proves nothing", "verdict": UNTESTABLE, "p": np.nan}


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
        metrics, confusion, cosine, rank_shift, norms (with regime, fold and seed), genes,
        key_genes, attended, scorecard; bounds and input_length where there are any.
    classes : dict {task: list of str}

    Notes
    -----
    A claim's verdict is that of its reading marked ``primary``. p is kept of these alone, and
    adjusted over them after Holm; one that holds with an adjusted p above 0.05 is undecided.
    """
    rows = []
    for claim in document["claims"]:
        for reading in claim["readings"]:
            for task in reading["tasks"]:
                row = judged(reading, tables, task, document["tasks"][task], classes)
                primary = reading.get("primary", False)
                row["p"] = row["p"] if primary else np.nan
                rows.append(
                    {
                        "claim": claim["id"],
                        "reading": reading["name"],
                        "task": task,
                        "primary": primary,
                        "statement": claim["statement"],
                        "where": claim["where"],
                        "thesis_value": str(reading["thesis"]),
                        **row,
                    }
                )
    frame = decided_by_holm(pd.DataFrame(rows))
    frame["n"] = frame["n"].astype("Int64")
    frame["verdict"] = pd.Categorical(frame["verdict"], VERDICTS)
    return frame


def decided_by_holm(frame):
    """Return the verdicts with p_holm: what holds but does not survive it is undecided."""
    frame = frame.assign(p_holm=holm(frame["p"]))
    lost = (frame["verdict"] == HOLDS) & (frame["p_holm"] > ALPHA)
    n = frame["p"].notna().sum()
    said = [f"; over {n} claims p is {p:.2g} after Holm" for p in frame.loc[lost, "p_holm"]]
    frame.loc[lost, "why"] = frame.loc[lost, "why"] + said
    frame.loc[lost, "verdict"] = UNDECIDED
    return frame


def judge_claims(*, claims, files, norms, classes, out):
    """Write the verdict on every claim.

    Parameters
    ----------
    claims : path-like
    files : dict {name: {task: path}}
        The tables of `judge`, without norms.
    norms : dict {task: {(regime, fold, seed): path}}
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
