"""Tests of claims about attention by rank: tables in, a verdict out.

Ranks are in shares of the median length, as cells of other studies are longer or shorter. In a
study with nothing behind it the change is rotated along the ranks, in all runs alike; a trend
along all ranks is not covered.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keygenes.evidence.claim_tables import (
    NotTestable,
    gene_mean_ranks,
    median_length,
    percent,
    pooled_shift,
    shift_by_rank,
    shifted_cells,
)
from keygenes.evidence.outcomes import (
    ALPHA,
    N_DRAWS,
    SAME,
    Found,
    graded,
    listed,
    null_of,
    outcome,
    over_models,
)

MODELS = "models"


RANKS = "the change rotated along the ranks, in all models alike"


def _smoothed(values, width):
    """Return the running mean over `width` ranks; NaN at the ends, where there are fewer."""
    width = min(width, len(values))
    smoothed = np.full(len(values), np.nan)
    first = width // 2
    means = np.convolve(values, np.ones(width) / width, "valid")
    smoothed[first : first + len(means)] = means
    return smoothed


def _reached(shift, min_share):
    return shift[shift["n_cells"] >= min_share * shift["n_cells"].max()]


def _peak(shift, width, min_share, residual=False):
    """Return the rank of the largest smoothed change either way, and the change in percent."""
    kept = _reached(shift, min_share)
    change = kept["percent_residual"].to_numpy() if residual else percent(kept)
    if np.isnan(change).any():
        return np.nan, np.nan
    change = _smoothed(change, width)
    at = int(np.nanargmax(np.abs(change)))
    return int(kept["rank"].iloc[at]), float(change[at])


@dataclass(frozen=True)
class Peaks:
    """Where attention shifts most, in shares of the median length.

    `pooled`, `corrected` (NaN where not known) and `runs` [n_runs] as they are; `rotated` gives
    all three at every rotation of the ranks, the first being none.
    """

    median: int
    rank: int
    change: float
    pooled: float
    corrected: float
    runs: np.ndarray
    extent: tuple[float, float]
    n_cells: int

    def rotated(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pooled [n], corrected [n] and runs [n_runs, n]."""
        first, last = self.extent
        steps = np.arange(N_DRAWS) / N_DRAWS * (last - first)
        places = np.r_[self.pooled, self.corrected, self.runs][:, None]
        places = first + (places - first + steps) % (last - first)
        return places[0], places[1], places[2:]


def _peaks(tables, task, pair, smooth, min_share):
    """Return the `Peaks` of a pair; `smooth` is in shares of the median length."""
    shifts = shift_by_rank(tables, task, pair)
    pooled = pooled_shift(shifts)
    median = median_length(pooled)
    width = max(1, round(smooth * median))
    rank, change = _peak(pooled, width, min_share)
    if abs(change) <= 100 * SAME:
        raise NotTestable(f"{listed(pair)} do not differ at any rank")
    ends = _reached(pooled, min_share)["rank"]
    return Peaks(
        median=median,
        rank=rank,
        change=change,
        pooled=rank / median,
        corrected=_peak(pooled, width, min_share, residual=True)[0] / median,
        runs=np.array([_peak(shift, width, min_share)[0] / median for shift in shifts.values()]),
        extent=((ends.min() - 1) / median, ends.max() / median),
        n_cells=shifted_cells(shifts),
    )


def _peak_outcome(peaks, near, why, explained=False, note=""):
    """Return the outcome of whether the peaks are `near` a place (a function of places)."""
    pooled, corrected, runs = peaks.rotated()
    moved = np.isfinite(corrected) & ~near(corrected)
    verdicts = graded(near(pooled), runs=near(runs), explained=moved | explained)
    interval, unit = over_models(
        peaks.runs, "place of the largest shift, in median lengths", MODELS
    )
    corrected_at = (
        f"after length correction the largest shift is at {peaks.corrected:.2f}"
        if np.isfinite(peaks.corrected)
        else "length-corrected shift not in this study"
    )
    return outcome(
        verdicts[0],
        f"the largest shift ({peaks.change:+.0f} %) is at rank {peaks.rank}, {peaks.pooled:.2f} of "
        f"the median length of {peaks.median}"
        + why
        + (", but not after length correction" if near(peaks.pooled) and moved[0] else ""),
        Found(peaks.pooled, unit, peaks.n_cells, "test cells", interval),
        null=null_of(RANKS, verdicts),
        control=note + corrected_at,
    )


def shift_peaks(tables, task, *, pair, between, smooth, min_share):
    """Test whether attention shifts most in a stretch of ranks, in shares of the median length.

    Holds if the largest change lies there, pooled and in every run. Control: the shift of
    attention corrected for rank, length and depth must peak there too. Null: the change rotated
    along the ranks, which finds the stretch as often as it is long.
    """
    low, high = between
    return _peak_outcome(
        _peaks(tables, task, pair, smooth, min_share),
        lambda place: (low <= place) & (place <= high),
        f"; claimed is {low:g} to {high:g}",
    )


def peak_at_gene(tables, task, *, pair, gene, tolerance, smooth, min_share, max_others, **of):
    """Test whether attention shifts most at the mean rank of a gene.

    Holds if the two are within `tolerance` median lengths, pooled and in every run. Controls: the
    length-corrected shift, and how many other genes have a mean rank as near to the peak; more
    than `max_others`, and the peak singles out no gene. Null: the change rotated along the ranks.

    Parameters
    ----------
    of : {'class': str or None}
        The class whose cells the mean rank is over.
    """
    mean, everyone = gene_mean_ranks(tables, task, gene, of["class"])
    peaks = _peaks(tables, task, pair, smooth, min_share)
    at, everyone = mean / peaks.median, everyone / peaks.median

    def near(place):
        return np.abs(place - at) <= tolerance

    others = int((np.abs(everyone - peaks.pooled) <= tolerance).sum()) - bool(near(peaks.pooled))
    return _peak_outcome(
        peaks,
        near,
        f", the mean rank of {gene} at {at:.2f} ({mean:.0f})",
        explained=others > max_others,
        note=f"{others} other genes have a mean rank as near to the peak; ",
    )


def _changes_by_rank(shifts, min_share):
    """Return the ranks that enough cells reach, as `pooled_shift`, and percent changes at each.

    The changes: of all runs together [n], of each [n_runs, n] and after length correction [n].
    """
    pooled = _reached(pooled_shift(shifts), min_share)
    ranks = pooled["rank"].to_numpy()
    single = [np.interp(ranks, shift["rank"], percent(shift)) for shift in shifts.values()]
    return pooled, percent(pooled), np.stack(single), pooled["percent_residual"].to_numpy()


@dataclass(frozen=True)
class _Stretches:
    """A number that a claim says is above 0, of its own stretch of ranks (first) and of others.

    pooled, corrected : float array [n_stretches]; runs : float array [n_runs, n_stretches].
    """

    pooled: np.ndarray
    runs: np.ndarray
    corrected: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """Return the share of stretches that have as much as each."""
        reached = np.sort(self.pooled)
        return 1 - np.searchsorted(reached, self.pooled - 1e-9) / len(reached)

    def outcome(self, why: str, found: Found, corrected: str) -> dict[str, Any]:
        """Return the outcome; `why` and `corrected` say the number before and after correction."""
        up, gone = self.pooled > 0, self.corrected <= 0  # False where not known
        verdicts = graded(
            up & (self.p <= ALPHA), up & (self.p <= 2 * ALPHA), runs=self.runs > 0, explained=gone
        )
        known = np.isfinite(self.corrected[0])
        common = f"; {self.p[0]:.0%} of the stretches of ranks do as much" if up[0] else ""
        return outcome(
            verdicts[0],
            why
            + common
            + (", and it is gone after length correction" if up[0] and gone[0] else ""),
            found,
            null=null_of("any other stretch of ranks, in all models alike", verdicts),
            control=corrected if known else "length-corrected shift not in this study",
        )


def loses_beyond_median(tables, task, *, pair, min_share):
    """Test whether the ranks beyond the median length lose attention.

    Holds if their attention, summed, falls, in every run too, and more than that of 95 % of
    equally long stretches elsewhere (ranks rotated); in part if more than that of 90 %. Control:
    so does their length-corrected attention. p: the share of stretches that lose as much. Null:
    any such stretch.
    """
    shifts = shift_by_rank(tables, task, pair)
    kept, change, single, residual = _changes_by_rank(shifts, min_share)
    median = median_length(pooled_shift(shifts))
    tail = np.flatnonzero(kept["rank"] > median)
    if not len(tail):
        raise NotTestable("hardly any cell is longer than the median: there is nothing beyond")
    steps = np.unique(np.linspace(0, len(kept) - 1, N_DRAWS).astype(int))
    at = (tail + steps[:, None]) % len(kept)
    weights = kept["sum_b"].to_numpy()[tail]
    cells = kept["n_cells"].to_numpy()[tail]
    lost = np.average(change[at], axis=1, weights=weights)
    runs = np.stack([np.average(of_run[at], axis=1, weights=weights) for of_run in single])
    corrected = np.average(residual[at], axis=1, weights=cells)
    found = _Stretches(-lost, -runs, -corrected)
    interval, unit = over_models(runs[:, 0], "% change", MODELS)
    return found.outcome(
        f"beyond the median length of {median} attention changes by {lost[0]:+.2g} %",
        Found(lost[0], unit, len(tail), "ranks", interval, found.p[0]),
        f"after length correction {corrected[0]:+.2g} %",
    )


def _bumps(change, width, ends):
    """Return how far ranks stand out that end at some places, in percentage points: [..., n].

    The mean change of `width` ranks, less that of as many before them or of as many behind,
    whichever is larger. Where all cells are equally long there are none behind the last.

    Parameters
    ----------
    change : float array [..., n_ranks]
    ends : int array [n], places of the last rank of each stretch; at least 2 width - 1
    """
    sums = np.cumsum(np.concatenate([np.zeros((*change.shape[:-1], 1)), change], -1), -1)

    def mean(last):
        first = last - width + 1
        return (sums[..., last + 1] - sums[..., first]) / width

    n = change.shape[-1]
    behind_last = np.minimum(ends + width, n - 1)
    behind = (sums[..., behind_last + 1] - sums[..., ends + 1]) / np.maximum(behind_last - ends, 1)
    behind = np.where(behind_last > ends, behind, -np.inf)
    return mean(ends) - np.maximum(mean(ends - width), behind)


def peak_below_median(tables, task, *, pair, window, min_share):
    """Test whether attention rises in the ranks just below the median length.

    `window` is the share of the median length that counts as just below. Holds if these ranks
    change more than both neighbouring windows of the same width, in every run too, and stand out
    more than 95 % of such windows elsewhere; in part if more than 90 %. Control: the same after
    length correction. p: the share of windows that stand out as much. Null: any window.
    """
    shifts = shift_by_rank(tables, task, pair)
    kept, change, single, residual = _changes_by_rank(shifts, min_share)
    median = median_length(pooled_shift(shifts))
    width = max(1, round(window * median))
    own = int(np.searchsorted(kept["rank"], median))
    if own < 2 * width - 1:
        raise NotTestable(f"too few ranks below the median length of {median}")
    ends = np.r_[own, np.setdiff1d(np.arange(2 * width - 1, len(kept)), own)]
    found = _Stretches(*(_bumps(x, width, ends) for x in (change, single, residual)))
    interval, unit = over_models(
        found.runs[:, 0], "percentage points above the ranks beside", MODELS
    )
    return found.outcome(
        f"the {width} ranks below the median length of {median} change by {found.pooled[0]:+.2g} "
        "percentage points against those beside them",
        Found(found.pooled[0], unit, width, "ranks", interval, found.p[0]),
        f"after length correction {found.corrected[0]:+.2g} percentage points",
    )
