"""Tests of claims about attention by layer and by rank: tables in, a verdict out."""

import numpy as np

from keygenes.evidence.claim_tables import (
    NotTestable,
    change_between_seeds,
    change_by_layer,
    gene_mean_ranks,
    median_length,
    norm_by_layer,
    percent,
    pooled_shift,
    shift_by_rank,
)
from keygenes.evidence.outcomes import (
    SAME,
    by_pool_and_seeds,
    by_seeds,
    graded,
    listed,
    outcome,
    over_seeds,
    unless,
)

# By layer


def _middle_and_last(layers, wanted):
    """Return the layers (counted from 1) that the words mean: of six, 3 and 4 are the middle."""
    n = max(layers)
    places = {"last": [n], "middle": sorted({(n + 1) // 2, n // 2 + 1}), "first": [1]}
    named = {name: places[name] for name in wanted}
    others = [layer for layer in layers if not any(layer in p for p in named.values())]
    if not others:
        raise NotTestable(f"a model of {n} layers has none besides {listed(wanted)}")
    return named, others


def _layers_lead(change, named, others):
    """Return per named place whether it changes more than the other layers (rows: seeds)."""
    rest = change[others].mean(1)
    return {name: change[layers].mean(1) > rest + SAME for name, layers in named.items()}


def _numbers(layers):
    return ", ".join(str(int(layer)) for layer in layers)


def layers_change_most(tables, task, *, pair, layers):
    """Test whether attention changes most in some layers ('first', 'middle', 'last').

    Holds if in every seed each of them changes more than the mean of all other layers, and one
    of them most of all; in part if at least one of them does on average over seeds. Controls:
    Pearson correlation (the cosine of non-negative weights is inflated), and two seeds of the
    same regime.
    """
    change, n = change_by_layer(tables, task, pair)
    named, others = _middle_and_last(list(change.columns), layers)
    chosen = [layer for places in named.values() for layer in places]
    every = all(lead.all() for lead in _layers_lead(change, named, others).values())
    every = every and change.idxmax(axis=1).isin(chosen).all()
    some = any(x.all() for x in _layers_lead(change.mean().to_frame().T, named, others).values())
    notes, explained = [], False
    try:
        pearson, _ = change_by_layer(tables, task, pair, "pearson")
        leads = _layers_lead(pearson.mean().to_frame().T, named, others)
        agrees = all(x.all() for x in leads.values())
        explained = explained or not agrees
        notes.append(f"Pearson: {'the same' if agrees else 'other'} layers lead")
    except NotTestable:
        notes.append("Pearson not in this study")
    chance = change_between_seeds(tables, task, pair[0], chosen)
    if chance is not None:
        mean = change[chosen].mean().mean()
        explained = explained or mean <= chance
        notes.append(f"two seeds of {pair[0]} differ there by {chance:.2g} (these: {mean:.2g})")
    gap = change[chosen].mean(1) - change[others].mean(1)
    interval, unit = over_seeds(gap, "1 - cosine, these layers less the others")
    largest = change.mean().idxmax()
    return outcome(
        unless(graded(every, some), explained),
        gap.mean(),
        f"layers {_numbers(chosen)} change by {change[chosen].mean().mean():.2g}, the others by "
        f"{change[others].mean().mean():.2g}; layer {largest} changes most",
        unit=unit,
        interval=interval,
        n=n,
        n_of="test cells",
        control="; ".join(notes),
    )


def change_is_small(tables, task, *, pair, than, max_change, max_share):
    """Test whether the last layer changes little between one pair of models.

    Holds if in every seed 1 - cosine is at most `max_change`, and at most `max_share` of that of
    the pair `than`; in part if only one of the two is so on average. Control: the same share by
    Pearson correlation.
    """

    def last(of_pair, measure="cosine"):
        change, n = change_by_layer(tables, task, of_pair, measure)
        return change[change.columns.max()], n

    change, n = last(pair)
    whole, _ = last(than)
    whole = whole.reindex(change.index)
    small, smaller = change <= max_change, change <= max_share * whole
    mean = change.mean()
    some = mean <= max_change or mean <= max_share * whole.mean()
    try:
        ours, full = last(pair, "pearson")[0].mean(), last(than, "pearson")[0].mean()
        explained = ours > max_share * full
        note = f"by Pearson {ours:.2g}, against {full:.2g} between {listed(than)}"
    except NotTestable:
        explained, note = False, "Pearson not in this study"
    interval, unit = over_seeds(change, "1 - cosine in the last layer")
    return outcome(
        unless(graded(bool((small & smaller).all()), some), explained),
        mean,
        f"the last layer changes by {mean:.2g}, and by {whole.mean():.2g} between {listed(than)}",
        unit=unit,
        interval=interval,
        n=n,
        n_of="test cells",
        control=note,
    )


def largest_norm(tables, task, *, regime, measure, layer, by_far):
    """Test whether one layer has by far the largest norm.

    Scaled so that the smallest layer is 0 and the largest 1, per seed. Holds if the layer is the
    largest in every seed and no other reaches `by_far`; in part if it is so without the distance,
    or only on average. Control: the norm of the value vectors alone: where that is largest in
    the same layer, the size is not the attention's doing.
    """
    norms, n = norm_by_layer(tables, task, regime, measure)
    if layer not in norms or norms.shape[1] < 2:
        raise NotTestable(f"the model has no layer {layer} beside others")
    mean = norms.mean()
    spread = norms.max(axis=1) - norms.min(axis=1)
    scaled = norms.sub(norms.min(axis=1), axis=0).div(spread.where(spread > 0), axis=0).fillna(0)
    first = norms.idxmax(axis=1)
    runner_up = scaled.drop(columns=layer).max(axis=1)
    every = (first == layer).all() and (runner_up <= by_far).all()
    largest = mean.idxmax()
    try:
        values, _ = norm_by_layer(tables, task, regime, "value")
        alone = values.mean().idxmax()
        explained = alone == layer
        note = f"value vectors alone, without attention: layer {alone} is largest"
    except NotTestable:
        explained, note = False, "norm of the value vectors not in this study"
    others = scaled.mean().drop(largest)
    interval, unit = over_seeds(first, "layer with the largest norm")
    return outcome(
        unless(graded(every, largest == layer), explained),
        largest,
        f"layer {largest} is largest; on its scale the next, layer {others.idxmax()}, "
        f"reaches {others.max():.2f}",
        unit=unit,
        interval=interval,
        n=n,
        n_of="test cells",
        control=note,
    )


def largest_change(tables, task, *, pair, by, layer):
    """Test whether one layer changes most, by 'cosine' of attention or by 'norm' of its output.

    Holds if so in every seed, in part on average, or if the control names another layer: Pearson
    for the cosine, the change relative to the layer's norm for the norm.
    """
    if by == "cosine":
        change, n = change_by_layer(tables, task, pair)
        control = "Pearson"
        try:
            other = change_by_layer(tables, task, pair, "pearson")[0].mean().idxmax()
        except NotTestable:
            other = None
    else:
        ours, n = norm_by_layer(tables, task, pair[0], "output")
        theirs, _ = norm_by_layer(tables, task, pair[1], "output")
        change = (ours - theirs).abs()
        control = "relative to the layer's norm"
        other = (change / theirs).mean().idxmax()
    if layer not in change:
        raise NotTestable(f"the model has no layer {layer}")
    if change.max().max() <= SAME:
        raise NotTestable(f"{listed(pair)} do not differ in any layer")
    first, largest = change.idxmax(axis=1), change.mean().idxmax()
    interval, unit = over_seeds(first, f"layer that changes most by {by}")
    return outcome(
        unless(
            graded((first == layer).all(), largest == layer), other is not None and other != layer
        ),
        largest,
        f"layer {largest} changes most, by {change[largest].mean():.2g}"
        + ("" if largest == layer else f"; layer {layer} by {change[layer].mean():.2g}"),
        unit=unit,
        interval=interval,
        n=n,
        n_of="test cells",
        control=f"{control}: "
        + ("not in this study" if other is None else f"layer {other} changes most"),
    )


# By rank


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


def _peak(shift, smooth, min_share, residual=False):
    """Return the rank of the largest smoothed change either way, and the change in percent."""
    kept = _reached(shift, min_share)
    change = kept["percent_residual"].to_numpy() if residual else percent(kept)
    if np.isnan(change).any():
        return None, np.nan
    change = _smoothed(change, smooth)
    at = int(np.nanargmax(np.abs(change)))
    return int(kept["rank"].iloc[at]), float(change[at])


def _peaks(tables, task, pair, smooth, min_share):
    """Return pooled peak, its change, the peaks per seed, the corrected peak, and n of cells."""
    shifts = shift_by_rank(tables, task, pair)
    pooled = pooled_shift(shifts)
    rank, change = _peak(pooled, smooth, min_share)
    if abs(change) <= 100 * SAME:
        raise NotTestable(f"{listed(pair)} do not differ at any rank")
    seeds = [_peak(shift, smooth, min_share)[0] for shift in shifts.values()]
    corrected, _ = _peak(pooled, smooth, min_share, residual=True)
    n = sum(int(shift["n_cells"].max()) for shift in shifts.values())
    return rank, change, seeds, corrected, n


def shift_peaks(tables, task, *, pair, ranks, smooth, min_share):
    """Test whether attention shifts most at some ranks (first and last, inclusive).

    Holds if the largest change lies there, pooled and in every seed, in part if pooled or in most
    seeds. Control: the shift of attention corrected for rank and length must peak there too.
    """
    rank, change, seeds, corrected, n = _peaks(tables, task, pair, smooth, min_share)
    inside, *of_seeds = (ranks[0] <= r <= ranks[1] for r in (rank, *seeds))
    moved = corrected is not None and not ranks[0] <= corrected <= ranks[1]
    interval, unit = over_seeds(seeds, "rank of the largest shift")
    return outcome(
        unless(by_seeds(inside, of_seeds), moved),
        rank,
        f"the largest shift ({change:+.0f} %) is at rank {rank}"
        + (", but not after length correction" if inside and moved else ""),
        unit=unit,
        interval=interval,
        n=n,
        n_of="test cells",
        control=_corrected_peak(corrected),
    )


def _corrected_peak(corrected):
    if corrected is None:
        return "length-corrected shift not in this study"
    return f"after length correction the largest shift is at rank {corrected}"


def peak_at_gene(tables, task, *, pair, gene, tolerance, smooth, min_share, max_others, **of):
    """Test whether attention shifts most at the mean rank of a gene.

    Holds if the two are within `tolerance` ranks, pooled and in every seed, in part if pooled or
    in most seeds. Controls: the length-corrected shift, and how many other genes have a mean rank
    as near to the peak; more than `max_others`, and the peak singles out no gene.

    Parameters
    ----------
    of : {'class': str or None}
        The class whose cells the mean rank is over.
    """
    mean, everyone = gene_mean_ranks(tables, task, gene, of["class"])
    rank, change, seeds, corrected, n = _peaks(tables, task, pair, smooth, min_share)
    near = abs(rank - mean) <= tolerance
    of_seeds = [abs(r - mean) <= tolerance for r in seeds]
    others = int((np.abs(everyone - rank) <= tolerance).sum()) - near
    moved = corrected is not None and abs(corrected - mean) > tolerance
    interval, unit = over_seeds(seeds, "rank of the largest shift")
    return outcome(
        unless(by_seeds(near, of_seeds), moved or others > max_others),
        rank,
        f"the largest shift ({change:+.0f} %) is at rank {rank}, the mean rank of {gene} is "
        f"{mean:.0f}",
        unit=unit,
        interval=interval,
        n=n,
        n_of="test cells",
        control=f"{others} other genes have a mean rank as near to the peak; "
        + _corrected_peak(corrected),
    )


def loses_beyond_median(tables, task, *, pair, min_share):
    """Test whether the ranks beyond the median length lose attention.

    Holds if their attention, summed, falls in every seed, in part if pooled and in most seeds.
    Control: so does their mean length-corrected attention.
    """
    shifts = shift_by_rank(tables, task, pair)

    def beyond(shift):
        tail = _reached(shift, min_share)
        tail = tail[tail["rank"] > median_length(shift)]
        if tail.empty:
            raise NotTestable("hardly any cell is longer than the median: there is nothing beyond")
        corrected = np.average(tail["percent_residual"], weights=tail["n_cells"])
        return 100 * (tail["sum_a"].sum() / tail["sum_b"].sum() - 1), corrected, len(tail)

    pooled = pooled_shift(shifts)
    value, corrected, n = beyond(pooled)
    seeds = [beyond(shift)[0] for shift in shifts.values()]
    interval, unit = over_seeds(seeds, "% change")
    known = np.isfinite(corrected)
    gone = known and corrected >= 0
    return outcome(
        unless(by_pool_and_seeds(value < 0, [v < 0 for v in seeds]), gone),
        value,
        f"beyond the median length of {median_length(pooled)} attention changes by {value:+.2g} %"
        + (", but not down after length correction" if value < 0 and gone else ""),
        unit=unit,
        interval=interval,
        n=n,
        n_of="ranks",
        control=f"after length correction {corrected:+.2g} %"
        if known
        else "length-corrected shift not in this study",
    )


def _bump(shift, window, residual=False):
    """Return how far the ranks just below the median length stand out, in percentage points.

    Their mean change, less that of as many ranks before them or of as many behind, whichever is
    larger. Where all cells are equally long there are none behind.
    """
    median = median_length(shift)
    width = max(1, round(window * median))
    change = shift["percent_residual"].to_numpy() if residual else percent(shift)
    rank = shift["rank"].to_numpy()

    def mean(first, last):
        part = change[(rank >= first) & (rank <= last)]
        return part.mean() if len(part) else np.nan

    here = mean(median - width + 1, median)
    beside = [mean(median - 2 * width + 1, median - width), mean(median + 1, median + width)]
    beside = [value for value in beside if np.isfinite(value)]
    return (here - max(beside) if beside else np.nan), median, width


def peak_below_median(tables, task, *, pair, window):
    """Test whether attention rises in the ranks just below the median length.

    `window` is the share of the median length that counts as just below. Holds if these ranks
    change more than both neighbouring windows of the same width in every seed, in part if pooled
    and in most seeds. Control: the same after length correction.
    """
    shifts = shift_by_rank(tables, task, pair)
    pooled = pooled_shift(shifts)
    value, median, width = _bump(pooled, window)
    seeds = [_bump(shift, window)[0] for shift in shifts.values()]
    corrected = _bump(pooled, window, residual=True)[0]
    interval, unit = over_seeds(seeds, "percentage points above the ranks beside")
    known = np.isfinite(corrected)
    gone = known and corrected <= 0
    return outcome(
        unless(by_pool_and_seeds(value > 0, [v > 0 for v in seeds]), gone),
        value,
        f"the {width} ranks below the median length of {median} change by {value:+.2g} "
        "percentage points against those beside them"
        + (", but not after length correction" if value > 0 and gone else ""),
        unit=unit,
        interval=interval,
        n=width,
        n_of="ranks",
        control=f"after length correction {corrected:+.2g} percentage points"
        if known
        else "length-corrected shift not in this study",
    )
