"""Train, validation and test cells, by well where wells are known."""

import logging

import numpy as np
import pandas as pd

log = logging.getLogger("keygenes")


def _known(obs, column):
    return column in obs and obs[column].notna().all() and obs[column].nunique() > 1


def _draw(members, fraction, rng):
    n = min(max(1, round(fraction * len(members))), len(members) - 1)
    return rng.permutation(members)[:n]


def random_split(strata, test_fraction, valid_fraction, seed):
    """Return 'train'/'valid'/'test' per cell, drawn cell by cell within each stratum.

    Parameters
    ----------
    strata : array of hashables [n_cells]
    test_fraction : float
        Share of the cells held out as test.
    valid_fraction : float
        Share of the remaining cells used for validation.
    """
    rng = np.random.default_rng([seed, 101])
    split = np.full(len(strata), "train", dtype=object)
    codes = pd.Categorical(strata).codes
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        test = _draw(members, test_fraction, rng)
        rest = np.setdiff1d(members, test)
        split[test] = "test"
        if len(rest) > 1:
            split[_draw(rest, valid_fraction, rng)] = "valid"
    return split


def replicate_split(replicates, wells, strata, valid_fraction, seed):
    """Return 'train'/'valid'/'test' per cell with whole replicates and wells held out.

    Seed k holds out replicate k (counted from 1, in sorted order, starting over after the last),
    so that as many seeds as replicates test every cell once. Of the other wells a share is drawn
    for validation within each stratum; a stratum with a single well is split by cell.

    Parameters
    ----------
    replicates, wells : array of str [n_cells]
        `wells` may be None (validation by cell).
    strata : array [n_cells]
        The dose, so that every dose is validated.
    """
    rng = np.random.default_rng([seed, 102])
    names = sorted(set(replicates))
    test = replicates == names[(seed - 1) % len(names)]
    split = np.where(test, "test", "train").astype(object)
    codes = pd.Categorical(strata).codes
    for code in np.unique(codes):
        members = np.flatnonzero((codes == code) & ~test)
        units = wells[members] if wells is not None else members
        if len(set(units)) < 2:
            units = members
        if len(members) < 2:
            continue
        chosen = _draw(np.array(sorted(set(units))), valid_fraction, rng)
        split[members[np.isin(units, chosen)]] = "valid"
    return split


def split_cells(obs, strata, *, seeds, by, test_fraction, valid_fraction):
    """Return the table 'splits': one row per cell and seed.

    Its column `unit` says what was held out whole: 'well', 'replicate' or 'cell'. Where `by` is
    'replicate' but the cells have none, the split falls back to cells and the log says so.
    """
    unit = "cell"
    if by == "replicate" and _known(obs, "replicate"):
        unit = "well" if _known(obs, "well") else "replicate"
    elif by == "replicate":
        log.warning(
            "split.by is 'replicate', but the cells have no replicates: falling back to a split by "
            "cell, whose test accuracy is optimistic (cells of one well resemble each other)"
        )
    frames = []
    for seed in seeds:
        if unit == "cell":
            split = random_split(strata, test_fraction, valid_fraction, seed)
        else:
            wells = obs["well"].astype(str).to_numpy() if unit == "well" else None
            replicates = obs["replicate"].astype(str).to_numpy()
            split = replicate_split(replicates, wells, strata, valid_fraction, seed)
        counts = pd.Series(split).value_counts()
        log.info("seed %d (%s): %s", seed, unit, counts.to_dict())
        frames.append(
            pd.DataFrame(
                {"cell": obs.index.astype(str), "seed": seed, "split": split, "unit": unit}
            )
        )
    return pd.concat(frames, ignore_index=True)
