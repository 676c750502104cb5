"""obs of files that scPerturb publishes: what was done to each cell, at which dose."""

import logging

import numpy as np
import pandas as pd

from keygenes.core.shown import printable, shortened
from keygenes.inputs.canonical import add_dose, add_wells, parse_oligo, to_floats, to_texts

log = logging.getLogger("keygenes")

UM = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "micromolar": 1.0, "nanomolar": 1e-3}
UM |= {"mm": 1e3, "millimolar": 1e3, "molar": 1e6, "picomolar": 1e-6}


def annotate_perturbations(obs, entry, path):
    """Return obs with wells, doses and drugs as the canonical matrix has them.

    Parameters
    ----------
    obs : pandas.DataFrame
        Column ``drug``, and any of scPerturb's top_oligo, dose_value, dose_unit.
    entry : dict
        Registry entry; ``dose_factor`` says that doses are tokens.
    path : path-like
    """
    obs = obs.copy()
    if "top_oligo" in obs:  # sci-Plex with hashes: 'control' is a cell without one, no vehicle
        texts = to_texts(obs["top_oligo"])
        unhashed = (obs["drug"].astype(str) == "control") & [text is None for text in texts]
        obs["drug"] = obs["drug"].astype(object).where(~unhashed, None)
        add_wells(obs, parse_oligo(texts)["well"])
        if unhashed.any():
            log.info("%s: %d 'control' cells without a hash are unassigned", path, unhashed.sum())
    if "dose_um" in obs or "dose_value" not in obs:
        return obs
    if entry.get("dose_factor") or ("top_oligo" in obs and "dose_unit" not in obs):
        obs = obs.drop(columns="dose_token", errors="ignore")
        obs = obs.rename(columns={"dose_value": "dose_token"})
        add_dose(obs, entry, path)
        return obs
    doses = _doses_in_um(obs, path)
    return obs if doses is None else obs.assign(dose_um=doses)


def _doses_in_um(obs, path):
    """Return doses in uM by their units, NaN where these are no concentrations; None for none."""
    doses = to_floats(obs["dose_value"])
    units = to_texts(obs["dose_unit"]) if "dose_unit" in obs else np.full(len(obs), None)
    scale = np.array([np.nan if unit is None else _um_per(unit) for unit in units])
    # Rounded to ten digits, so that 0.1 x 1000 nM is what it says.
    in_um = np.array([float(f"{value:.10g}") for value in doses * scale])
    in_um[doses == 0] = 0.0  # in any unit
    known = ~np.isnan(doses) & (doses != 0)
    if lost := int((known & np.isnan(in_um)).sum()):
        odd = pd.unique(pd.Series(units[known & np.isnan(in_um)], dtype=object))
        named = ", ".join(
            "none" if u is None else repr(shortened(printable(u), 20)) for u in odd[:5]
        )
        log.warning(
            "%s: %d cells have a dose_value whose unit is no concentration here (%s): dose_value "
            "is kept, dose_um is missing; 'dose_factor' or 'columns: dose_um:' can say it",
            path,
            lost,
            named,
        )
    return in_um if (known & ~np.isnan(in_um)).any() else None


def _um_per(unit):
    """Return uM per unit, NaN where that is no molar concentration."""
    unit = unit.strip().replace("\u00b5", "u").replace("\u03bc", "u")
    return 1e6 if unit == "M" else UM.get(unit.lower(), np.nan)
