"""Tests of claims about attention by layer: tables in, a verdict out.

Layers are few, so these tests have no p: how often chance would earn the verdict stands beside it.
They are taken as exchangeable: in a study with nothing behind it any layer could be any other, in
all runs alike.
"""

import itertools
import math

import numpy as np
import scipy

from keygenes.evidence.claim_tables import (
    NotTestable,
    beside,
    change_between_trainings,
    change_by_layer,
    norm_between_trainings,
    norm_by_layer,
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
