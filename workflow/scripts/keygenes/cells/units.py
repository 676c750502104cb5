"""What intervals are over: wells where they were held out whole, cells elsewhere."""

import pandas as pd

ALL_WELLS = "all"  # where no well is known


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
        where known, else the class): units are left out within it.
    """
    unit = str(splits["unit"].iloc[0])
    ids = pd.Series(obs.index.astype(str), obs.index) if unit == "cell" else obs[unit].astype(str)
    stratum = obs.get("dose_um", labels.reindex(obs.index)).astype(str)
    if unit == "replicate":  # a replicate holds every dose: leave out its part of each
        ids = ids + " / " + stratum
    return pd.DataFrame({"unit_id": ids, "unit": unit, "stratum": stratum})


def well_codes(obs, cells):
    """Return the well of each cell as a categorical: `ALL_WELLS` for all where none is known."""
    known = "well" in obs and obs["well"].notna().all()
    of_cell = obs["well"].astype(str) if known else pd.Series(ALL_WELLS, obs.index)
    return pd.Categorical(of_cell.loc[cells])
