"""Two halves of the wells, so that what is found in one can be held against the other."""

import logging

import numpy as np
import pandas as pd

log = logging.getLogger("keygenes")

HALVES = ("a", "b")


def halves_of_wells(obs, strata):
    """Return the half of every well: in turn within a stratum, in the order of the replicates.

    Six wells per dose, of six replicates, are halved into replicates 1, 3, 5 and 2, 4, 6; of three
    replicates of two wells each half has one. A stratum with an odd number of wells hands the turn
    on to the next.

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
