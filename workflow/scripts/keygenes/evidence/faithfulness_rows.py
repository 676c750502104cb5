"""Rows of the scorecard on faithfulness: what masking the genes of a track takes from a model."""

import logging

import numpy as np

from keygenes.core.tracks import TRACKS
from keygenes.evidence.scorecard_rows import row
from keygenes.models.learnt import has_learnt

log = logging.getLogger("keygenes")


def faithfulness_rows(table):
    """Return the rows of aspect 'faithfulness': the gain of an order over matched random genes.

    In units of the model's own range of logits, so that models can be held against each other.

    Parameters
    ----------
    table : table 'faithfulness'
        Rows without a fraction are means over fractions (AOPC); orders are named as tracks are.
    """
    return [
        row(
            (one.order, one.regime, None),
            "faithfulness",
            "matched_random",
            f"{one.metric}_gain",
            one.gain_scaled,
            ci_low=one.gain_scaled_low,
            ci_high=one.gain_scaled_high,
        )
        for one in _gains(table).itertuples()
    ]


def _gains(table):
    table = table[table["fraction"].isna() & table["gain_scaled"].notna()]
    return table[table["order"].isin(list(TRACKS))]


def over_control_rows(table, controls, metrics):
    """Return the rows of aspect 'faithfulness' that hold a gain against that in control models.

    comprehensiveness_gain_over_control: the gain of a regime less that of a control, with an
    interval that takes the two as independent (the distances to their limits added in squares). A
    model that has not learnt has nothing to be faithful to: it gets no such row.

    Parameters
    ----------
    table : table 'faithfulness'
    controls : collection of str
        Regimes with permuted labels or a random encoder.
    metrics : table 'metrics' of the task
    """
    table = _gains(table)
    table = table[table["metric"].astype(str) == "comprehensiveness"].astype({"regime": str})
    rows = []
    for regime in dict.fromkeys(name for name in table["regime"] if name not in controls):
        if not has_learnt(metrics, regime):
            log.info("%s does not beat the commonest class: its masking counts for nothing", regime)
            continue
        own = table[table["regime"] == regime]
        for control in controls:
            others = table[table["regime"] == control].set_index("order")
            for one in own[own["order"].isin(others.index)].itertuples():
                other = others.loc[one.order]
                gain, low, high = (one.gain_scaled, one.gain_scaled_low, one.gain_scaled_high)
                value = gain - other["gain_scaled"]
                down = np.hypot(gain - low, other["gain_scaled_high"] - other["gain_scaled"])
                up = np.hypot(high - gain, other["gain_scaled"] - other["gain_scaled_low"])
                rows.append(
                    row(
                        (one.order, regime, None),
                        "faithfulness",
                        control,
                        "comprehensiveness_gain_over_control",
                        value,
                        ci_low=value - down,
                        ci_high=value + up,
                    )
                )
    return rows
