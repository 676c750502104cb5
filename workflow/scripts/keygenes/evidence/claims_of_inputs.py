"""Tests of claims about other inputs, such as equally long cells: tables in, a verdict out."""

import numpy as np
import scipy

from keygenes.evidence.claim_tables import (
    NotTestable,
    input_row,
    standard_error,
)
from keygenes.evidence.claims_of_accuracy import by_chance
from keygenes.evidence.outcomes import (
    Found,
    Null,
    graded,
    listed,
    null_of,
    outcome,
)
from keygenes.evidence.verdicts import UNDECIDED


def input_changes(tables, task, *, regime, against, measure, direction, controls):
    """Test whether a measure goes 'up' or 'down' with another input: equally long cells, say.

    Reads table 'input_length', which holds a regime against its counterpart on the cells as they
    are. Holds if the interval of the difference lies on that side of 0, in part if it is as large
    under a control regime; undecided without an interval. p: one-sided, of no difference. Null:
    no difference.

    Parameters
    ----------
    against : str or None
        The second model of measures that compare two.
    """
    row = input_row(tables, task, regime, against, measure)
    value, before = row["difference"], row["value"] - row["difference"]
    sign = 1 if direction == "up" else -1
    if direction == "down" and before <= 0:
        raise NotTestable(
            f"{measure} is {before:.3g} under {row['reference']}: nothing that could go down"
        )
    low, high = sorted(sign * np.array([row["difference_low"], row["difference_high"]]))
    notes, rivals = [], {}
    for name in controls:
        try:
            rivals[name] = input_row(tables, task, name, against, measure)["difference"]
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        notes.append(f"{name}: {rivals[name]:+.2g}")
    explained = [name for name, other in rivals.items() if sign * other >= sign * value]
    best = max((sign * other for other in rivals.values()), default=-np.inf)
    bounded = np.isfinite(low)
    verdict, p, null = UNDECIDED, np.nan, Null("no difference", 0.0, 0.0)
    if bounded:
        error, df = standard_error(low, high, row["n"])
        verdict = graded(low > 0, explained=bool(explained))
        p = scipy.stats.t.sf(sign * value / max(error, 1e-12), df)
        drawn = by_chance(0.0, error, df)
        none = graded(drawn - (sign * value - low) > 0, explained=drawn <= best)
        null = null_of("no difference", none)
    unit = f"difference of {measure}; " + (
        f"95 % interval over {int(row['n'])} {row['n_of']}s" if bounded else "no interval"
    )
    return outcome(
        verdict,
        f"{measure} is {row['value']:.3g} under {regime}, {before:.3g} under "
        f"{row['reference']}"
        + ("; the interval of the difference includes 0" if low <= 0 <= high else "")
        + (f"; as much under {listed(explained)}" if explained else ""),
        Found(
            value,
            unit,
            row["n_cells"],
            "test cells",
            (row["difference_low"], row["difference_high"]),
            p,
        ),
        null=null,
        control="; ".join(notes) or f"{row['reference']}, the regime it is held against",
    )
