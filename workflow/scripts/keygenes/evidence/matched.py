"""The null of matched random sets: does a gene set do better than genes like its own?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keygenes.evidence.agreement import (
    against_draws,
    dealt_sets,
    matched_draws,
    set_metrics,
    strata,
)


@dataclass(frozen=True)
class Matched:
    """A gene set among the genes that a track scores, with random sets like it.

    Attributes
    ----------
    positive : bool array [n_genes]
    drawn : int array [n_draws, n_positive]
        Sets of other genes (`matched_draws`).
    dealt : int array [n_draws, n_positive]
        Sets of any genes (`dealt_sets`), for p.
    """

    positive: np.ndarray
    drawn: np.ndarray
    dealt: np.ndarray

    def columns(
        self, observed: dict[str, float], places: Sequence[np.ndarray]
    ) -> dict[str, dict[str, float]]:
        """Return {metric: columns matched_*}.

        Parameters
        ----------
        observed : dict {metric: float}
        places : results of `positions` and `precision_positions`
        """
        drawn, dealt = (set_metrics(sets, *places) for sets in (self.drawn, self.dealt))
        found, overlap = {}, float(self.positive[self.drawn].mean())
        for metric, value in observed.items():
            mean, sd, p = against_draws(value, drawn[metric], dealt[metric])
            found[metric] = {
                "matched_null_mean": mean,
                "matched_null_sd": sd,
                "matched_overlap": overlap,
                "matched_p": p,
            }
        return found


def matched(positive, facts, n_draws, rng):
    """Return the `Matched` of a gene set, by detection and mean rank."""
    levels = strata(*(facts[c].to_numpy() for c in ("detection", "mean_rank")))
    drawn, dealt = (sets(positive, levels, n_draws, rng) for sets in (matched_draws, dealt_sets))
    return Matched(positive, drawn, dealt)
