"""Differential expression in two halves of the wells, against circular arguments.

A score that comes from the cells that also say which genes respond agrees with them by chance
alone; a score from one half of the wells and a test in the other half does not.
"""

import logging

import numpy as np
import pandas as pd

from keygenes.core.tables import TABLES
from keygenes.expression.normalise import counts_per_10k
from keygenes.expression.sides import REST, class_codes
from keygenes.expression.wilcoxon import compare_groups

log = logging.getLogger("keygenes")

HALVES = ("a", "b")


def halves_of_wells(obs, strata):
    """Return the half of every well: in turn within a stratum, in the order of the replicates.

    With six wells per dose, replicates 1, 3, 5 are half a and 2, 4, 6 half b. A stratum with an odd
    number of wells hands the turn on to the next.

    Parameters
    ----------
    obs : DataFrame
        Cells with the column well, and replicate where known.
    strata : sequence [n_cells]
        The dose where known, else the class.

    Returns
    -------
    Series of 'a' or 'b', indexed by well
    """
    frame = pd.DataFrame(
        {
            "well": obs["well"].astype(object).to_numpy(),
            "stratum": pd.Series(strata).astype(str).to_numpy(),
            "replicate": obs["replicate"].astype(str).to_numpy() if "replicate" in obs else "",
        }
    ).dropna(subset=["well"])
    frame = frame.drop_duplicates("well").astype({"well": str})
    frame["length"] = frame["replicate"].str.len()  # replicate 10 comes after 9
    frame = frame.sort_values(["stratum", "length", "replicate", "well"])
    turn = np.arange(len(frame)) % 2
    return pd.Series(np.array(HALVES)[turn], frame["well"].to_numpy(), name="half")


def halves_of_cells(obs, strata, seed=0):
    """Return the half of every cell: that of its well, or a random one where there are no wells.

    Returns
    -------
    object array of 'a', 'b' or None (a cell without a well) [n_cells]
    """
    if has_wells(obs):
        half = obs["well"].astype(object).map(halves_of_wells(obs, strata))
        return half.where(half.notna(), None).to_numpy(object)
    log.info("the cells have no wells: halves are drawn cell by cell")
    order = np.random.default_rng([seed, 401]).permutation(len(obs))
    codes = pd.Series(strata).astype(str).to_numpy()
    order = order[np.argsort(codes[order], kind="stable")]
    halves = np.empty(len(obs), object)
    halves[order] = np.array(HALVES)[np.arange(len(obs)) % 2]
    return halves


def has_wells(obs):
    """Return whether the cells lie in two wells or more."""
    return "well" in obs and obs["well"].nunique() > 1


def compare_halves(counts, n_counts, labels, halves, ensembl_ids, symbols, *, task, pseudocount):
    """Test every gene of every class against the rest of the task, in each half alone.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Raw counts.
    n_counts : float array [n_cells]
        Total counts of each cell over all measured genes.
    labels : sequence [n_cells]
        Class of each cell; None or NaN: not in the task.
    halves : object array [n_cells]
        'a', 'b' or None.
    ensembl_ids, symbols : sequences of str [n_genes]
    task : str
    pseudocount : float
        Counts per 10,000, added to both means before log2.

    Returns
    -------
    pandas.DataFrame
        Schema "half_tests" (columns as in `compare_groups`), genes in the order given.
    """
    scaled = counts_per_10k(counts, n_counts)
    names, codes = class_codes(labels)
    columns = TABLES["half_tests"].names
    frames = []
    for half in HALVES:
        sides = np.where(halves == half, codes, -1)
        for code, frame in compare_groups(scaled, sides, pseudocount=pseudocount).items():
            frame = frame.assign(
                **{"task": task, "half": half, "group": names[code], "reference": REST},
                ensembl_id=np.asarray(ensembl_ids, str),
                symbol=np.asarray(symbols, str),
            )
            frames.append(frame[columns])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
