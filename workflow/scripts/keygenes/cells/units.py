"""What is resampled for intervals: wells where they were held out whole, cells elsewhere."""

import numpy as np
import pandas as pd


def resampling_units(obs, labels, splits):
    """Return unit_id, unit and stratum of every cell.

    Parameters
    ----------
    obs : DataFrame, indexed by cell
    labels : categorical Series, indexed by cell
    splits : table 'splits'

    Returns
    -------
    DataFrame, indexed by cell
        unit_id (the well, the replicate or the cell), unit (which of them), stratum (the dose
        where known, else the class): units are resampled within it.
    """
    unit = str(splits["unit"].iloc[0])
    ids = pd.Series(obs.index.astype(str), obs.index) if unit == "cell" else obs[unit].astype(str)
    stratum = obs.get("dose_um", labels.reindex(obs.index)).astype(str)
    if unit == "replicate":  # a replicate holds every dose: resample its part of each
        ids = ids + " / " + stratum
    return pd.DataFrame({"unit_id": ids, "unit": unit, "stratum": stratum})


def resample_weights(strata, n_bootstrap, rng):
    """Return how often each unit is drawn, with replacement within its stratum.

    Parameters
    ----------
    strata : array [n_units]
        The design fixes how many units a stratum (a dose) has, and so does every resample.
    n_bootstrap : int
    rng : numpy.random.Generator

    Returns
    -------
    int array [n_bootstrap, n_units]
    """
    strata = np.asarray(strata)
    weights = np.zeros((n_bootstrap, len(strata)), np.int64)
    for stratum in pd.unique(strata):
        members = np.flatnonzero(strata == stratum)
        shares = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), shares, n_bootstrap)
    return weights
