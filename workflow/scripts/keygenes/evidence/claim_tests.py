"""The tests that a claim can be put to: one function each, tables in, a verdict out.

Every test takes the study's tables, a task and the parameters that the claims file gives, and
returns `outcome`. A claim holds where what it says is so and no control explains it; it holds in
part where it is nearly so, so in some seeds only, or so and explained by a control; else it
fails. What the study lacks raises `NotTestable`. Intervals are those of the tables (95 %, over
wells); where a table has none, the range over seeds stands in their place and is named so.
"""

import numpy as np
import scipy.stats

from keygenes.evidence.claim_tables import (
    NotTestable,
    accuracies,
    accuracy_gap,
    accuracy_row,
    change_between_seeds,
    change_by_layer,
    gene_mean_ranks,
    in_gene_set,
    in_group,
    input_row,
    median_length,
    norm_by_layer,
    percent,
    pooled_shift,
    ranked_genes,
    scorecard_row,
    shift_by_rank,
)
from keygenes.evidence.verdicts import FAILS, HOLDS, PART

ALPHA = 0.05
SAME = 1e-6  # smaller differences between attention weights are rounding


def outcome(verdict, value, why, *, unit, n, n_of, interval=None, p=np.nan, control="none"):
    """Return a test's answer as part of a row of table 'claims'."""
    low, high = interval or (np.nan, np.nan)
    return {
        "value": float(value),
        "ci_low": float(low),
        "ci_high": float(high),
        "unit": unit,
        "n": int(n),
        "n_of": n_of,
        "p": float(p),
        "verdict": verdict,
        "why": why,
        "control": control,
    }


def _over_seeds(values, unit):
    """Return the range over seeds and a unit that names it so; no range of a single seed."""
    values = np.asarray(list(values), float)
    if len(values) < 2:
        return None, f"{unit}; one seed, no interval"
    return (values.min(), values.max()), f"{unit}; range of {len(values)} single seeds"


def _graded(every, some):
    return HOLDS if every else PART if some else FAILS


def _by_seeds(pooled, seeds):
    """Return the verdict on something that is so or not, pooled and in each seed.

    Holds if so in all, in part if so pooled or in most seeds.
    """
    return _graded(pooled and all(seeds), pooled or 2 * sum(seeds) > len(seeds))


def _by_pool_and_seeds(pooled, seeds):
    """Return the verdict on a sign, which chance alone gives half of the time.

    Holds if so in all, in part if so pooled and in most seeds.
    """
    return _graded(pooled and all(seeds), pooled and 2 * sum(seeds) > len(seeds))


def _unless(verdict, explained):
    """Return the verdict, but no better than 'holds in part' where a control explains it."""
    return PART if verdict == HOLDS and explained else verdict


# Accuracy


def accuracy(tables, task, *, regime, accuracy, tolerance, controls):
    """Test whether a regime has the accuracy that is claimed.

    Holds if the interval contains it, in part within `tolerance`; no better than in part if the
    first control (the commonest class) does as well.
    """
    row = accuracy_row(tables, task, regime)
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    verdict = _graded(low <= accuracy <= high, abs(value - accuracy) <= tolerance)
    text, reached = _against(tables, task, controls, row)
    guessing = bool(controls) and controls[0] in reached
    where = "inside" if verdict == HOLDS else "above" if value > accuracy else "below"
    place = (
        f"{accuracy:.2f} lies inside our interval"
        if where == "inside"
        else f"ours is {where} {accuracy:.2f} by {abs(value - accuracy):.2f}, "
        + ("within" if verdict == PART else "beyond")
        + f" the tolerance of {tolerance:g}"
    )
    return outcome(
        _unless(verdict, guessing),
        value,
        place + (f"; no better than {controls[0]}" if guessing else ""),
        unit=f"accuracy; 95 % interval over {int(row['n_units'])} {row['unit']}s",
        interval=(low, high),
        n=row["n_cells"],
        n_of="test cells",
        control=text,
    )


def _against(tables, task, controls, row):
    """Return the controls' accuracies as text, and which of them reach a regime's interval."""
    parts, reached = [], []
    for name, control in accuracies(tables, task, controls, row["design"]):
        if control is None:
            parts.append(f"{name} not in this study")
            continue
        beaten = row["ci_low"] > control["value"]
        reached += [] if beaten else [name]
        parts.append(f"{name} {control['value']:.2f} ({'beaten' if beaten else 'not beaten'})")
    return "; ".join(parts) or "none", reached


def _gap_unit(paired, row):
    over = f"over {int(row['n_units'])} {row['unit']}s"
    return "difference of accuracies; 95 % interval " + (over if paired else "as if independent")


def accuracy_difference(tables, task, *, regime, over, difference, tolerance):
    """Test whether one regime is better than another by what is claimed."""
    value, low, high, paired, row = accuracy_gap(tables, task, regime, over)
    inside = low <= difference <= high
    return outcome(
        _graded(inside, abs(value - difference) <= tolerance),
        value,
        f"{regime} less {over} is {value:+.2f}; {difference:+.2f} lies "
        + ("inside" if inside else "outside")
        + " our interval",
        unit=_gap_unit(paired, row),
        interval=(low, high),
        n=row["n_cells"],
        n_of="test cells",
        control=f"{over}, the model it is held against",
    )


def beats_controls(tables, task, *, regime, chance, controls):
    """Test whether a regime predicts better than `chance`, and than every control.

    Holds if its interval lies above all, in part if above chance alone. p: one-sided normal
    approximation, with the standard error that the interval implies.
    """
    row = accuracy_row(tables, task, regime)
    [(_, floor)] = accuracies(tables, task, [chance], row["design"])
    if floor is None:
        raise NotTestable(f"the study has no accuracy of '{chance}' for task {task}")
    text, reached = _against(tables, task, [chance, *controls], row)
    error = (row["ci_high"] - row["ci_low"]) / (2 * scipy.stats.norm.ppf(0.975))
    gap = row["value"] - floor["value"]
    p = scipy.stats.norm.sf(gap / error) if error > 0 else (0.0 if gap > 0 else 1.0)
    above = chance not in reached
    others = [name for name in reached if name != chance]
    return outcome(
        _graded(above and not others, above),
        row["value"],
        f"{regime} is {'' if above else 'not '}better than {chance}"
        + (f", but {_listed(others)} does as well" if above and others else ""),
        unit=f"accuracy; 95 % interval over {int(row['n_units'])} {row['unit']}s",
        interval=(row["ci_low"], row["ci_high"]),
        n=row["n_cells"],
        n_of="test cells",
        p=p,
        control=text,
    )


def _listed(names):
    return " and ".join(names)


def confusion_within(tables, task, *, regime, groups, share):
    """Test whether most errors stay within groups of classes.

    Holds if more than `share` of the errors do in every seed, and more than errors spread
    independently of the true class would; in part if only pooled, or no more than such errors.
    """
    table = tables["confusion"][task]
    rows = table[(table["regime"] == regime) & table["seed"].notna()]
    if rows.empty:
        raise NotTestable(f"the study has no '{regime}' for task {task}")
    group_of = {member: name for name, members in groups.items() for member in members}
    classes = [str(c) for c in dict.fromkeys([*rows["true"], *rows["predicted"]])]
    if missing := [c for c in classes if c not in group_of]:
        raise NotTestable(f"class {missing[0]} of task {task} is in none of the claim's groups")
    names = np.array([group_of[c] for c in classes])
    within = (names[:, None] == names[None, :]) & ~np.eye(len(classes), dtype=bool)

    def share_within(part):
        matrix = part.pivot_table(
            index="true", columns="predicted", values="n_cells", aggfunc="sum", observed=True
        )
        matrix = matrix.reindex(index=classes, columns=classes).fillna(0).to_numpy()
        errors = matrix * ~np.eye(len(classes), dtype=bool)
        spread = np.outer(matrix.sum(1), matrix.sum(0)) * ~np.eye(len(classes), dtype=bool)
        if not errors.sum():
            return None
        return (
            errors[within].sum() / errors.sum(),
            spread[within].sum() / spread.sum(),
            errors.sum(),
        )

    if (pooled := share_within(rows)) is None:
        raise NotTestable(f"{regime} makes no errors in task {task}")
    value, expected, n = pooled
    seeds = [share_within(part) for _, part in rows.groupby("seed")]
    seeds = [of_seed[0] for of_seed in seeds if of_seed]
    interval, unit = _over_seeds(seeds, "share of errors")
    verdict = _graded(all(v > share for v in seeds), value > share)
    explained = value <= expected
    return outcome(
        _unless(verdict, explained),
        value,
        f"{value:.0%} of the errors stay within {_listed(groups)}"
        + (", no more than independent errors would" if explained else ""),
        unit=unit,
        interval=interval,
        n=n,
        n_of="errors",
        control=f"errors spread independently of the true class: {expected:.0%} within",
    )


# Change of attention by layer


def _middle_and_last(layers, wanted):
    """Return the layers (counted from 1) that the words mean: of six, 3 and 4 are the middle."""
    n = max(layers)
    places = {"last": [n], "middle": sorted({(n + 1) // 2, n // 2 + 1}), "first": [1]}
    named = {name: places[name] for name in wanted}
    others = [layer for layer in layers if not any(layer in p for p in named.values())]
    if not others:
        raise NotTestable(f"a model of {n} layers has none besides {_listed(wanted)}")
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
    interval, unit = _over_seeds(gap, "1 - cosine, these layers less the others")
    largest = change.mean().idxmax()
    return outcome(
        _unless(_graded(every, some), explained),
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
    explained, note = False, "Pearson not in this study"
    try:
        ours, full = last(pair, "pearson")[0].mean(), last(than, "pearson")[0].mean()
        explained = ours > max_share * full
        note = f"by Pearson {ours:.2g}, against {full:.2g} between {_listed(than)}"
    except NotTestable:
        pass
    interval, unit = _over_seeds(change, "1 - cosine in the last layer")
    return outcome(
        _unless(_graded(bool((small & smaller).all()), some), explained),
        mean,
        f"the last layer changes by {mean:.2g}, and by {whole.mean():.2g} between {_listed(than)}",
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
    explained, note = False, "norm of the value vectors not in this study"
    try:
        values, _ = norm_by_layer(tables, task, regime, "value")
        alone = values.mean().idxmax()
        explained = alone == layer
        note = f"value vectors alone, without attention: layer {alone} is largest"
    except NotTestable:
        pass
    others = scaled.mean().drop(largest)
    interval, unit = _over_seeds(first, "layer with the largest norm")
    return outcome(
        _unless(_graded(every, largest == layer), explained),
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
        raise NotTestable(f"{_listed(pair)} do not differ in any layer")
    first, largest = change.idxmax(axis=1), change.mean().idxmax()
    interval, unit = _over_seeds(first, f"layer that changes most by {by}")
    return outcome(
        _unless(
            _graded((first == layer).all(), largest == layer), other is not None and other != layer
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


# Change of attention by rank


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
        raise NotTestable(f"{_listed(pair)} do not differ at any rank")
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
    interval, unit = _over_seeds(seeds, "rank of the largest shift")
    return outcome(
        _unless(_by_seeds(inside, of_seeds), moved),
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
    interval, unit = _over_seeds(seeds, "rank of the largest shift")
    return outcome(
        _unless(_by_seeds(near, of_seeds), moved or others > max_others),
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
    interval, unit = _over_seeds(seeds, "% change")
    known = np.isfinite(corrected)
    gone = known and corrected >= 0
    return outcome(
        _unless(_by_pool_and_seeds(value < 0, [v < 0 for v in seeds]), gone),
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
    interval, unit = _over_seeds(seeds, "percentage points above the ranks beside")
    known = np.isfinite(corrected)
    gone = known and corrected <= 0
    return outcome(
        _unless(_by_pool_and_seeds(value > 0, [v > 0 for v in seeds]), gone),
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


# Genes


def _in_top(flags, n_top):
    """Return how many of the first genes are flagged, how many by chance, and p (one-sided).

    p is hypergeometric: it takes genes as independent draws.
    """
    n_top, members = min(n_top, len(flags)), int(flags.sum())
    found = int(flags[:n_top].sum())
    p = scipy.stats.hypergeom.sf(found - 1, len(flags), members, n_top)
    return found, n_top * members / len(flags), float(p)


def _controls_in_top(tables, task, regime, controls, n_top, flag):
    """Return what control tracks say: text, and those where no more is found than by chance."""
    parts, explained = [], []
    for name in controls:
        try:
            found, expected, p = _in_top(flag(ranked_genes(tables, task, name, regime)[0]), n_top)
        except NotTestable:
            parts.append(f"{name} not in this study")
            continue
        explained += [name] if p >= ALPHA else []
        parts.append(f"{name}: {found} of {n_top} (p = {p:.2g})")
    return parts, explained


def group_leads(tables, task, *, regime, track, genes, n_top, count, controls):
    """Test whether as many of a track's first genes belong to a group as is claimed.

    Holds if `count` or more do (or that many within the range over seeds), in part if more than
    by chance, or if a control track has no more than by chance: its correction explains them.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def flag(table):
        return in_group(table["symbol"], genes)

    found, expected, p = _in_top(flag(frame), n_top)
    counts = [_in_top(flag(table), n_top)[0] for table in seeds.values()]
    interval, unit = _over_seeds(counts, f"of the first {n_top}")
    notes, explained = _controls_in_top(tables, task, regime, controls, n_top, flag)
    reached = found >= count or (interval is not None and interval[1] >= count)
    return outcome(
        _unless(_graded(reached, p < ALPHA), bool(explained)),
        found,
        f"{found} of the first {n_top} genes, {expected:.1f} by chance"
        + (f"; no more than chance by {_listed(explained)}" if explained and p < ALPHA else ""),
        unit=unit,
        interval=interval,
        n=len(frame),
        n_of="genes",
        p=p,
        control="; ".join(notes) or "none",
    )


def group_share(tables, task, *, regime, track, genes, least):
    """Test whether a group of genes takes at least some share of all attention.

    Holds from `least` on, in part where it is less but more than uniform attention would give
    the group's tokens; no better than in part if no more than that.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def share(table, column="score"):
        return table.loc[in_group(table["symbol"], genes), column].sum() / table[column].sum()

    value, uniform = share(frame), share(frame, "n_cells")
    interval, unit = _over_seeds([share(t) for t in seeds.values()], "share of attention")
    more = value > uniform
    return outcome(
        _unless(_graded(value >= least, more), not more),
        value,
        f"{value:.0%} of all attention, {uniform:.0%} of all tokens",
        unit=unit,
        interval=interval,
        n=in_group(frame["symbol"], genes).sum(),
        n_of="genes of the group",
        control=f"uniform attention would give {uniform:.0%}",
    )


def _position(frame, gene):
    places = np.flatnonzero((frame["symbol"] == gene).to_numpy())
    return int(places[0]) + 1 if len(places) else None


def gene_position(tables, task, *, regime, track, gene, position, near, controls, control_regimes):
    """Test whether a gene stands at a place of a track.

    Holds if it does (or the range over seeds includes it), in part if it is among the first
    `near`; no better than in part if it is not among them on a control track, or is among them
    in a control regime too, which has nothing to do with the drug.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)
    place = _position(frame, gene)
    if place is None:
        raise NotTestable(f"{gene} is in no encoded cell (not expressed, or not in the vocabulary)")
    places = [p for p in (_position(table, gene) for table in seeds.values()) if p]
    interval, unit = _over_seeds(places, "place among all genes")
    notes, explained = [], []
    for name, of, track_of in [
        *((name, regime, name) for name in controls),
        *((name, name, track) for name in control_regimes),
    ]:
        try:
            other = _position(ranked_genes(tables, task, track_of, of)[0], gene)
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        ahead = other is not None and other <= near
        explained += [name] if ahead == (name in control_regimes) else []
        notes.append(f"{name}: place {other:,}" if other else f"{name}: not scored")
    inside = place == position or (interval is not None and interval[0] <= position <= interval[1])
    return outcome(
        _unless(_graded(inside, place <= near), bool(explained)),
        place,
        f"{gene} is at place {place:,}"
        + (f"; decided by {_listed(explained)}" if explained and (inside or place <= near) else ""),
        unit=unit,
        interval=interval,
        n=len(frame),
        n_of="genes",
        control="; ".join(notes) or "none",
    )


def lists_differ(tables, task, *, regime, track, against, n_top, n_against, controls):
    """Test whether the first `n_top` genes of a track are hardly among `n_against` of another.

    Holds if no more are shared than by chance (hypergeometric p of at least 0.05), in part if
    more, but fewer than half of those that could be, fails from half on. A control track stands in
    for `against`; where it shares more than chance, the claim holds in part.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def shared(table, name):
        other = ranked_genes(tables, task, name, regime)[0]
        both = table[table["ensembl_id"].isin(other["ensembl_id"])]
        first = other[other["ensembl_id"].isin(both["ensembl_id"])]["ensembl_id"].head(n_against)
        return (*_in_top(both["ensembl_id"].isin(first).to_numpy(), n_top), len(both))

    found, expected, p, n = shared(frame, against)
    counts = [shared(table, against)[0] for table in seeds.values()]
    most = min(n_top, n_against)
    interval, unit = _over_seeds(counts, f"of {most} genes shared")
    notes, explained = [], []
    for name in controls:
        try:
            others, _, p_other, _ = shared(frame, name)
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        explained += [name] if p_other < ALPHA else []
        notes.append(f"{name}: {others} shared (p = {p_other:.2g})")
    return outcome(
        _unless(_graded(p >= ALPHA, found < most / 2), bool(explained)),
        found,
        f"{found} of {most} are shared with {against}, {expected:.1f} by chance"
        + (f"; {_listed(explained)} shares more than chance" if explained else ""),
        unit=unit,
        interval=interval,
        n=n,
        n_of="genes",
        p=p,
        control="; ".join(notes) or "none",
    )


def top_is_unchanged(tables, task, *, n_top, fdr, min_abs_log2fc):
    """Test whether the most attended genes are not differentially expressed.

    Holds if they are no more often than all genes (hypergeometric p of at least 0.05), in part
    if more often, but fewer than half of them, fails from half on.
    """
    table = tables["attended"][task].sort_values("attention_rank")
    changed = ((table["p_adj"] < fdr) & (table["log2fc"].abs() >= min_abs_log2fc)).to_numpy()
    found, expected, p = _in_top(changed, n_top)
    return outcome(
        _graded(p >= ALPHA, found < n_top / 2),
        found,
        f"{found} of the first {n_top} are differentially expressed, {expected:.1f} by chance",
        unit=f"of the first {n_top}; seeds pooled, no interval",
        n=len(table),
        n_of="genes",
        p=p,
        control=f"all genes: {changed.mean():.0%} are differentially expressed",
    )


def _p_of_correlation(value, low, high):
    """Return the two-sided p of a correlation from its 95 % interval, by Fisher's z."""
    if not np.isfinite([value, low, high]).all() or not -1 < low < high < 1:
        return np.nan
    error = (np.arctanh(high) - np.arctanh(low)) / (2 * scipy.stats.norm.ppf(0.975))
    return float(2 * scipy.stats.norm.sf(abs(np.arctanh(value)) / error))


def uncorrelated(tables, task, *, regime, track, against, metric, weak):
    """Test whether a track has nothing to do with another, by a correlation of the scorecard.

    Holds if its interval includes 0, in part if it is weaker than `weak` either way; a strong
    correlation of the opposite sign is not nothing. A small p speaks against the claim.
    """
    row = scorecard_row(
        tables,
        task,
        track=track,
        regime=regime,
        aspect="expression",
        against=against,
        metric=metric,
    )
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    p = _p_of_correlation(value, low, high)
    none = low <= 0 <= high if np.isfinite(low) else False
    return outcome(
        _graded(none, abs(value) < weak),
        value,
        f"the {metric.replace('_', ' ')} with {against} is {value:.2f}"
        + (", no more than chance" if none else ", more than chance"),
        unit="correlation" + ("; 95 % interval" if np.isfinite(low) else "; no interval"),
        interval=(low, high),
        n=row["n_genes"],
        n_of="genes",
        p=p,
        control="detection, mean expression and mean rank are held fixed"
        if metric.startswith("partial")
        else "none",
    )


def targets_in_top(
    tables, task, *, regime, track, gene_set, n_top, count, tolerance, controls, matched
):
    """Test whether as many of a track's first genes are in a gene set as is claimed.

    Holds if exactly `count` are (or the range over seeds includes it), in part within
    `tolerance`; no better than in part if chance does as well: all genes (hypergeometric), sets
    matched on detection and rank (the scorecard's p of metric `matched`), or, on a control
    track, no more than chance are found. p is that of the matched sets where these are known.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def flag(table):
        return in_gene_set(tables, task, table["ensembl_id"], gene_set)

    found, expected, p = _in_top(flag(frame), n_top)
    counts = [_in_top(flag(table), n_top)[0] for table in seeds.values()]
    interval, unit = _over_seeds(counts, f"of the first {n_top}")
    notes, explained = _controls_in_top(tables, task, regime, controls, n_top, flag)
    explained += ["all genes"] if p >= ALPHA else []
    try:
        row = scorecard_row(
            tables,
            task,
            track=track,
            regime=regime,
            aspect="truth",
            against=gene_set,
            metric=matched,
        )
        explained += ["matched sets"] if row["p"] >= ALPHA else []
        p = row["p"]
        notes.insert(0, f"sets matched on detection and rank ({matched}): p = {row['p']:.2g}")
    except NotTestable:
        notes.insert(0, "matched sets not in this study")
    inside = found == count or (interval is not None and interval[0] <= count <= interval[1])
    near = inside or abs(found - count) <= tolerance
    return outcome(
        _unless(_graded(inside, near), bool(explained)),
        found,
        f"{found} of the first {n_top} genes, {expected:.1f} by chance"
        + (f"; no more than chance by {_listed(explained)}" if explained and near else ""),
        unit=unit,
        interval=interval,
        n=len(frame),
        n_of="genes",
        p=p,
        control="; ".join(notes),
    )


# Other inputs


def input_changes(tables, task, *, regime, against, measure, direction, controls):
    """Test whether a measure goes 'up' or 'down' with another input: equally long cells, say.

    Reads table 'input_length', which holds a regime against its counterpart on the cells as they
    are, over the same resamples. Holds if the interval of the difference lies on that side of 0,
    in part if it is as large under a control regime, or if the difference has no interval.

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
    bounds = sorted(sign * np.array([row["difference_low"], row["difference_high"]]))
    notes, explained = [], []
    for name in controls:
        try:
            other = input_row(tables, task, name, against, measure)["difference"]
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        explained += [name] if sign * other >= sign * value else []
        notes.append(f"{name}: {other:+.2g}")
    bounded = np.isfinite(bounds[0])
    unit = f"difference of {measure}; " + (
        f"95 % interval over {int(row['n'])} {row['n_of']}s" if bounded else "no interval"
    )
    clear = bounds[0] > 0 if bounded else False
    return outcome(
        _unless(_graded(clear, not bounded and sign * value > 0), bool(explained)),
        value,
        f"{measure} is {row['value']:.3g} under {regime}, {before:.3g} under "
        f"{row['reference']}"
        + ("; the interval of the difference includes 0" if bounds[0] <= 0 <= bounds[1] else "")
        + (f"; as much under {_listed(explained)}" if explained else ""),
        unit=unit,
        interval=(row["difference_low"], row["difference_high"]),
        n=row["n_cells"],
        n_of="test cells",
        control="; ".join(notes) or f"{row['reference']}, the regime it is held against",
    )


TESTS = {
    test.__name__: test
    for test in (
        accuracy,
        accuracy_difference,
        beats_controls,
        confusion_within,
        layers_change_most,
        change_is_small,
        largest_norm,
        largest_change,
        shift_peaks,
        peak_at_gene,
        loses_beyond_median,
        peak_below_median,
        group_leads,
        group_share,
        gene_position,
        lists_differ,
        top_is_unchanged,
        uncorrelated,
        targets_in_top,
        input_changes,
    )
}
