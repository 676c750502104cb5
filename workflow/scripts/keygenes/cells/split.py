"""Train, validation and test cells, by well where wells are known."""

import logging

import numpy as np
import pandas as pd

log = logging.getLogger("keygenes")


def known(obs, column):
    """Return whether every cell has a value of a column, and not all the same."""
    return column in obs and obs[column].notna().all() and obs[column].nunique() > 1


def _why_unknown(obs, column):
    """Return why a column is not `known`, in words; where datasets are combined, of which."""
    without = obs[column].isna() if column in obs else pd.Series(True, obs.index)
    if without.all():
        return f"the cells have no {column}s"
    if not without.any():
        return f"all cells are of one {column}"
    of = sorted(obs.loc[without, "dataset"].astype(str).unique()) if "dataset" in obs else []
    return f"{without.sum():,} of {len(obs):,} cells have no {column}" + (
        f" (of {', '.join(of[:5])})" if of else ""
    )


def _draw(members, fraction, rng):
    n = min(max(1, round(fraction * len(members))), len(members) - 1)
    return rng.permutation(members)[:n]


def random_split(strata, test_fraction, valid_fraction, fold):
    """Return 'train'/'valid'/'test' per cell, drawn cell by cell within each stratum.

    Parameters
    ----------
    strata : array of hashables [n_cells]
    test_fraction : float
        Share of the cells held out as test.
    valid_fraction : float
        Share of the remaining cells used for validation.
    """
    rng = np.random.default_rng([fold, 101])
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


def replicate_split(replicates, wells, strata, valid_fraction, fold):
    """Return 'train'/'valid'/'test' per cell with whole replicates and wells held out.

    Fold k holds out replicate k (counted from 1, in sorted order, starting over after the last),
    so that as many folds as replicates test every cell once. Of the other wells a share is drawn
    for validation within each stratum (`with_validation`).

    Parameters
    ----------
    replicates, wells : array of str [n_cells]
        `wells` may be None (validation by cell).
    strata : array [n_cells]
        The dose, so that every dose is validated.
    """
    rng = np.random.default_rng([fold, 102])
    names = sorted(set(replicates))
    test = replicates == names[(fold - 1) % len(names)]
    return with_validation(test, wells, strata, valid_fraction, rng)


def with_validation(test, wells, strata, valid_fraction, rng):
    """Return 'train'/'valid'/'test' per cell: of what is not test, a share of each stratum's wells.

    Parameters
    ----------
    test : bool array [n_cells]
    wells : array of str [n_cells] or None
        None: single cells are drawn. They are too of a stratum with a single well.
    strata : array [n_cells]
    rng : numpy.random.Generator
    """
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


def split_cells(obs, strata, *, folds, by, test_fraction, valid_fraction):
    """Return the table 'splits': one row per cell and fold.

    Its column `unit` says what was held out whole: 'well', 'replicate' or 'cell'. Where `by` is
    'replicate' but the cells have none, the split falls back to cells and the log says so.
    """
    unit = "cell"
    if by == "replicate" and known(obs, "replicate"):
        unit = "well" if known(obs, "well") else "replicate"
    elif by == "replicate":
        log.warning(
            "split.by is 'replicate', but %s: falling back to a split by cell, whose test accuracy "
            "is optimistic (cells of one well resemble each other)",
            _why_unknown(obs, "replicate"),
        )
    frames = []
    for fold in folds:
        if unit == "cell":
            split = random_split(strata, test_fraction, valid_fraction, fold)
        else:
            wells = obs["well"].astype(str).to_numpy() if unit == "well" else None
            replicates = obs["replicate"].astype(str).to_numpy()
            split = replicate_split(replicates, wells, strata, valid_fraction, fold)
        counts = pd.Series(split).value_counts()
        log.info("fold %d (%s): %s", fold, unit, counts.to_dict())
        frames.append(
            pd.DataFrame(
                {"cell": obs.index.astype(str), "fold": fold, "split": split, "unit": unit}
            )
        )
    return pd.concat(frames, ignore_index=True)
