"""Tests of claims about attention by layer and by rank: tables in, a verdict out.

Layers and places are few, so these tests have no p: how often chance would earn the verdict stands
beside it. Layers are taken as exchangeable: in a study with nothing behind it any could be any
other, in all runs alike. So are ranks, by rotation; a trend along all ranks is not covered.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy.stats

from keygenes.evidence.claim_tables import (
    NotTestable,
    beside,
    change_between_trainings,
    change_by_layer,
    gene_mean_ranks,
    median_length,
    norm_between_trainings,
    norm_by_layer,
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
    Null,
    graded,
    listed,
    null_of,
    outcome,
    over_models,
    unless,
)

# By layer

MODELS = "models"


def _orders(n_layers):
    """Return orders of layers, the one as it is first: all of up to seven, else random ones."""
    if math.factorial(n_layers) <= 5 * N_DRAWS + 40:
        return np.array(list(itertools.permutations(range(n_layers))))
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(n_layers) for _ in range(N_DRAWS)]
    return np.array([np.arange(n_layers), *drawn])


def _exchanged(values, orders):
    """Return values by layer in every order: [..., n_orders, n_layers]."""
    return np.asarray(values, float)[..., orders]


LAYERS = "layers exchanged, in all models alike"


def _middle_and_last(layers, wanted):
    """Return the layers (counted from 1) that the words mean: of six, 3 and 4 are the middle."""
    n = max(layers)
    places = {"last": [n], "middle": sorted({(n + 1) // 2, n // 2 + 1}), "first": [1]}
    named = {name: places[name] for name in wanted}
    if all(any(layer in p for p in named.values()) for layer in layers):
        raise NotTestable(f"a model of {n} layers has none besides {listed(wanted)}")
    return named


def _numbers(layers):
    return ", ".join(str(int(layer)) for layer in layers)


def layers_change_most(tables, task, *, pair, layers):
    """Test whether attention changes most in some layers ('first', 'middle', 'last').

    Holds if each of them changes more than every other layer, pooled and in every run; in part if
    only the mean of each place does. Controls: Pearson correlation (the cosine of non-negative
    weights is inflated) must put the places first too, and two trainings of the same regime must
    differ less. Null: layers exchanged; of six, three lead in 1 of 20 orders.
    """
    change, n = change_by_layer(tables, task, pair)
    places = [
        [change.columns.get_loc(layer) for layer in of_place]
        for of_place in _middle_and_last(list(change.columns), layers).values()
    ]
    chosen = sorted({at for place in places for at in place})
    others = [at for at in range(change.shape[1]) if at not in chosen]
    orders = _orders(change.shape[1])
    runs = _exchanged(change.to_numpy(), orders)

    def each_leads(values):
        return values[..., chosen].min(-1) > values[..., others].max(-1) + SAME

    def places_lead(values):
        least = np.min([values[..., place].mean(-1) for place in places], axis=0)
        return least > values[..., others].max(-1) + SAME

    mean = runs.mean(0)
    so = each_leads(mean)
    notes, explained = [], np.zeros(len(orders), bool)
    try:
        pearson = change_by_layer(tables, task, pair, "pearson")[0].mean().to_numpy()
        agrees = places_lead(_exchanged(pearson, orders))
        explained = explained | ~agrees
        notes.append(f"Pearson: {'the same' if agrees[0] else 'other'} layers lead")
    except NotTestable:
        notes.append("Pearson not in this study")
    if chance := change_between_trainings(tables, task, pair[0], list(change.columns)):
        by_chance = _exchanged(chance[0], orders)[:, chosen].mean(1)
        explained = explained | (mean[:, chosen].mean(1) <= by_chance)
        notes.append(
            f"{chance[1]} differ there by {by_chance[0]:.2g} (these: {mean[0, chosen].mean():.2g})"
        )
    else:
        notes.append("two trainings of one regime not in this study")
    verdicts = graded(
        so,
        places_lead(mean),
        runs=np.where(so, each_leads(runs), places_lead(runs)),
        explained=explained,
    )
    gap = runs[:, 0, chosen].mean(1) - runs[:, 0, others].mean(1)
    interval, unit = over_models(gap, "1 - cosine, these layers less the others", MODELS)
    return outcome(
        verdicts[0],
        f"layers {_numbers(change.columns[chosen])} change by {mean[0, chosen].mean():.2g}, the "
        f"others by {mean[0, others].mean():.2g}; layer {change.mean().idxmax()} changes most",
        Found(gap.mean(), unit, n, "test cells", interval),
        null=null_of(LAYERS, verdicts),
        control="; ".join(notes),
    )


def _upper_limits(values):
    """Return mean and half-width of the 90 % interval over runs, and a test of being above 0: p."""
    error, df = values.std(ddof=1) / np.sqrt(len(values)), len(values) - 1
    p = scipy.stats.t.cdf(values.mean() / max(error, 1e-12), df)
    return values.mean(), scipy.stats.t.ppf(1 - ALPHA, df) * error, p


def change_is_small(tables, task, *, pair, than, max_change, max_share):
    """Test whether the last layer changes little between one pair of models.

    A claim of no difference: holds if the 90 % interval over runs lies below `max_change`, and
    below `max_share` of the change of the pair `than`; fails if it lies above one of them, else
    undecided. p: the larger of the two one-sided t-tests, runs taken as independent. Control: the
    share by Pearson correlation. Null: a change as large as the margin.
    """

    def last(of_pair, measure="cosine"):
        change, n = change_by_layer(tables, task, of_pair, measure)
        return change[[change.columns.max()]], n

    (change, n), (whole, _) = last(pair), last(than)
    whole = beside(whole, change.index).iloc[:, 0].to_numpy()
    own = change.iloc[:, 0].to_numpy()
    interval, unit = over_models(own, "1 - cosine in the last layer", MODELS)
    verdict, p, notes = "undecided", np.nan, []
    if len(own) > 1:
        limits = [_upper_limits(own - max_change), _upper_limits(own - max_share * whole)]
        below = all(mean + half <= 0 for mean, half, _ in limits)
        above = any(mean - half > 0 for mean, half, _ in limits)
        verdict = "holds" if below else "fails" if above else verdict
        p = max(p for *_, p in limits)
    try:
        ours, full = (float(last(of, "pearson")[0].mean().iloc[0]) for of in (pair, than))
        explained = ours > max_share * full
        notes.append(f"by Pearson {ours:.2g}, against {full:.2g} between {listed(than)}")
    except NotTestable:
        explained = False
        notes.append("Pearson not in this study")
    if chance := change_between_trainings(tables, task, pair[0], [change.columns[0]]):
        notes.append(f"{chance[1]} differ there by {chance[0][0]:.2g}")
    return outcome(
        unless(verdict, explained),
        f"the last layer changes by {own.mean():.2g}, and by {whole.mean():.2g} between "
        f"{listed(than)}" + ("" if len(own) > 1 else "; one model, so no interval"),
        Found(own.mean(), unit, n, "test cells", interval, p),
        null=Null("a change as large as the margin", ALPHA, 0.0),
        control="; ".join(notes),
    )


def largest_norm(tables, task, *, regime, measure, layer, by_far):
    """Test whether one layer has by far the largest norm.

    Scaled so that the smallest layer is 0 and the largest 1. Holds if the layer is the largest
    and no other reaches `by_far`, pooled and in every run; in part if it is largest without the
    distance. Control: the norm of the value vectors alone: where that is largest in the same
    layer, the size is not the attention's doing. Null: layers exchanged: of six one is right by
    chance 1 in 6 times, so that in such a model the claim holds in part at best.
    """
    norms, n = norm_by_layer(tables, task, regime, measure)
    if layer not in norms or norms.shape[1] < 2:
        raise NotTestable(f"the model has no layer {layer} beside others")
    at, orders = norms.columns.get_loc(layer), _orders(norms.shape[1])

    def leads(values, by_far=1.0):
        """Return whether the layer is the largest, and how far up the next ones are."""
        low, high = values.min(-1), values.max(-1)
        next_one = np.sort(values, -1)[..., -2]
        scaled = (next_one - low) / np.where(high > low, high - low, np.inf)
        return (values.argmax(-1) == at) & (high > low) & (scaled <= by_far)

    runs = _exchanged(norms.to_numpy(), orders)
    mean = runs.mean(0)
    so = leads(mean, by_far)
    try:
        alone = _exchanged(norm_by_layer(tables, task, regime, "value")[0].mean(), orders)
        explained = alone.argmax(-1) == at
        largest = norms.columns[alone[0].argmax()]
        note = f"value vectors alone, without attention: layer {largest} is largest"
    except NotTestable:
        explained, note = False, "norm of the value vectors not in this study"
    verdicts = graded(
        so, leads(mean), runs=np.where(so, leads(runs, by_far), leads(runs)), explained=explained
    )
    first = norms.columns[mean[0].argmax()]
    spread = np.ptp(mean[0]) or 1.0
    others = ((norms.mean() - mean[0].min()) / spread).drop(first)
    interval, unit = over_models(norms.idxmax(axis=1), "layer with the largest norm", MODELS)
    return outcome(
        verdicts[0],
        f"layer {first} is largest; on its scale the next, layer {others.idxmax()}, "
        f"reaches {others.max():.2f}",
        Found(first, unit, n, "test cells", interval),
        null=null_of(LAYERS, verdicts),
        control=note,
    )


def _changes(tables, task, pair, by):
    """Return a change by run and layer, what the control says of it, and what chance changes."""
    if by == "cosine":
        change, n = change_by_layer(tables, task, pair)
        try:
            control = change_by_layer(tables, task, pair, "pearson")[0].mean()
        except NotTestable:
            control = None
        chance = change_between_trainings(tables, task, pair[0], list(change.columns))
        return change, n, control, chance
    ours, n = norm_by_layer(tables, task, pair[0], "output")
    theirs = beside(norm_by_layer(tables, task, pair[1], "output")[0], ours.index)
    change = (ours - theirs).abs()
    return change, n, (change / theirs).mean(), norm_between_trainings(ours)


def largest_change(tables, task, *, pair, by, layer):
    """Test whether one layer changes most, by 'cosine' of attention or by 'norm' of its output.

    Holds if so pooled and in every run. Controls: Pearson for the cosine, the change relative to
    the layer's norm for the norm, must name the layer too, and two trainings of the same regime
    must differ less there. Null: layers exchanged; of six one is right 1 in 6 times.
    """
    change, n, control, chance = _changes(tables, task, pair, by)
    if layer not in change:
        raise NotTestable(f"the model has no layer {layer}")
    if change.max().max() <= SAME:
        raise NotTestable(f"{listed(pair)} do not differ in any layer")
    at, orders = change.columns.get_loc(layer), _orders(change.shape[1])
    runs = _exchanged(change.to_numpy(), orders)
    mean = runs.mean(0)
    name = "Pearson" if by == "cosine" else "relative to the layer's norm"
    explained, notes = np.zeros(len(orders), bool), [f"{name}: not in this study"]
    if control is not None:
        explained = explained | (_exchanged(control, orders).argmax(-1) != at)
        notes = [f"{name}: layer {control.idxmax()} changes most"]
    if chance:
        by_chance = _exchanged(chance[0], orders)[:, at]
        explained = explained | (mean[:, at] <= by_chance)
        notes.append(f"{chance[1]} differ in layer {layer} by {by_chance[0]:.2g}")
    verdicts = graded(mean.argmax(-1) == at, runs=runs.argmax(-1) == at, explained=explained)
    first, largest = change.idxmax(axis=1), change.mean().idxmax()
    interval, unit = over_models(first, f"layer that changes most by {by}", MODELS)
    return outcome(
        verdicts[0],
        f"layer {largest} changes most, by {change[largest].mean():.2g}"
        + ("" if largest == layer else f"; layer {layer} by {change[layer].mean():.2g}"),
        Found(largest, unit, n, "test cells", interval),
        null=null_of(LAYERS, verdicts),
        control="; ".join(notes),
    )


# By rank, in shares of the median length: cells of other studies are longer or shorter

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
    extent: tuple
    n_cells: int

    def rotated(self):
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
    def p(self):
        """Return the share of stretches that have as much as each."""
        reached = np.sort(self.pooled)
        return 1 - np.searchsorted(reached, self.pooled - 1e-9) / len(reached)

    def outcome(self, why, found, corrected):
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
