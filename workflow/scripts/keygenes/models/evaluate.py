"""How well the regimes and baselines predict, with intervals over wells and trainings."""

import numpy as np
import pandas as pd

from keygenes.core.jackknife import design_of, interval, left_out_sums, two_sided_p

GROUPED, RANDOM = "grouped", "random"  # designs: what split.by says, and the thesis's, by cell


def confusion_metrics(confusion):
    """Return the metrics of confusion matrices.

    Parameters
    ----------
    confusion : array [..., k, k]
        Cells with true class (row) and predicted class (column), classes in their order. Classes
        without a true cell are left out of macro_f1 and balanced_accuracy.

    Returns
    -------
    dict of float arrays [...]
        accuracy, macro_f1, balanced_accuracy; quadratic_kappa (Cohen's, a mistake weighing the
        square of its distance; 0 where truth and prediction agree on one class only) and
        mean_absolute_error (in classes): these two mean something where classes are ordered.
    """
    confusion = np.asarray(confusion, float)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    seen = true > 0
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=seen)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=seen)
    n_seen = np.maximum(1, seen.sum(-1))
    n = np.maximum(1, confusion.sum((-2, -1)))
    index = np.arange(confusion.shape[-1])
    distance = np.abs(index[:, None] - index)
    observed = (confusion * distance**2).sum((-2, -1))
    by_chance = np.einsum("...i,...j,ij->...", true, predicted, distance**2) / n
    disagreement = np.divide(observed, by_chance, out=np.ones_like(observed), where=by_chance > 0)
    return {
        "accuracy": hits.sum(-1) / n,
        "macro_f1": f1.sum(-1) / n_seen,
        "balanced_accuracy": recall.sum(-1) / n_seen,
        "quadratic_kappa": 1 - disagreement,
        "mean_absolute_error": (confusion * distance).sum((-2, -1)) / n,
    }


BOUNDS = {"quadratic_kappa": (-1.0, 1.0)}  # of the others: 0 to 1, or to the largest distance
OVER_COMMONEST, CLASSES_NAMED = "accuracy_over_commonest", "classes_named"
MAJORITY = "majority"


def metric_intervals(confusions, strata):
    """Return the metrics of some models over their cells, with 95 % intervals.

    Parameters
    ----------
    confusions : int array [n_units, n_folds, n_seeds, k, k]
        Of every unit (well) and model; 0 where a model does not test a unit. Of several seeds the
        mean is taken, unit by unit.
    strata : array [n_units]
        The dose of each unit.

    Returns
    -------
    dict {metric: (value, low, high)}
    """
    design, of_units = _seen(confusions, strata)
    found = confusion_metrics(left_out_sums(of_units, design))
    largest = {"mean_absolute_error": (0.0, confusions.shape[-1] - 1.0)}
    return {
        metric: (values[0], *interval(values, design, (BOUNDS | largest).get(metric, (0.0, 1.0))))
        for metric, values in found.items()
    }


def accuracy_difference(one, other, strata):
    """Return one accuracy less another: value, low, high, p (two-sided).

    The two are paired: both lose the same unit, or the same fold's model of the same seed. A side
    that was trained once stays as it is while models are left out.

    Parameters
    ----------
    one, other : int arrays [n_units, n_folds, n_seeds or 1, k, k]
    strata : array [n_units]
    """
    sides = np.stack(np.broadcast_arrays(one, other), axis=3)
    design, of_units = _seen(sides, strata)
    accuracy = confusion_metrics(left_out_sums(of_units, design))["accuracy"]
    values = accuracy[:, 0] - accuracy[:, 1]
    return (values[0], *interval(values, design, (-1.0, 1.0)), two_sided_p(values, design))


def _seen(confusions, strata):
    """Return the design of the units that have a cell, and their matrices."""
    seen = confusions.any(axis=tuple(range(1, confusions.ndim)))
    return design_of(np.asarray(strata)[seen], *confusions.shape[1:3]), confusions[seen]


def whole_numbers(confusion):
    """Return a mean of confusion matrices in whole cells, every row with its sum: int array.

    What is over after rounding down goes to the largest remainders.
    """
    whole = np.floor(confusion + 1e-9)
    over = np.rint((confusion - whole).sum(1)).astype(int)
    largest = np.argsort(np.argsort(whole - confusion, axis=1, kind="stable"), axis=1)
    return (whole + (largest < over[:, None])).astype(int)


class _Scored:
    """The cells of one design and split: a confusion matrix per unit, fold and seed of a regime.

    Attributes
    ----------
    counts : dict {regime: int array [n_units, n_folds, n_seeds, k, k]}
        Units are those of all designs, so that designs can be held against each other.
    seeds : dict {regime: list of int}
        [None] for baselines.
    """

    def __init__(self, frame, units, folds, k):
        self.folds, self.counts, self.seeds, self.cells = folds, {}, {}, {}
        for regime, part in frame.groupby("regime", sort=False):
            seeds = sorted(part["seed"].dropna().unique()) or [None]
            places = (
                units.get_indexer(part["unit_id"]),
                pd.Index(folds).get_indexer(part["fold"]),
                0 if seeds == [None] else pd.Index(seeds).get_indexer(part["seed"]),
            )
            counts = np.zeros((len(units), len(folds), len(seeds), k, k), np.int32)
            np.add.at(counts, (*places, part["true"], part["predicted"]), 1)
            self.counts[regime], self.seeds[regime] = counts, seeds
            by_fold = part.drop_duplicates(["fold", "cell"])
            self.cells[regime] = {f: len(p) for f, p in by_fold.groupby("fold")}
            self.cells[regime][None] = part["cell"].nunique()

    def pools(self, regime, split):
        """Yield (fold, seed, slice of folds, slice of seeds) of every row of a regime."""
        seeds = self.seeds[regime]
        everything = slice(None)
        for f, fold in enumerate(self.folds):
            if fold in self.cells[regime]:
                for s, seed in enumerate(seeds):
                    yield fold, seed, slice(f, f + 1), slice(s, s + 1)
        if split == "test":
            for s, seed in enumerate(seeds):
                if seed is not None:
                    yield None, seed, everything, slice(s, s + 1)
            yield None, None, everything, everything


def _row(names, counts, n_cells, unit, found):
    """Return a row of table 'metrics'; `counts` says over what its interval is.

    `found` is the value, and where there are any its interval (low, high) and p.
    """
    missing = dict.fromkeys(("value", "ci_low", "ci_high", "p"), np.nan)
    numbers = missing | dict(zip(missing, found, strict=False))
    trainings = " and trainings" if counts.shape[2] > 1 else ""
    return {
        **names,
        **numbers,
        "n_cells": n_cells,
        "n_units": int(counts.any(axis=(1, 2, 3, 4)).sum()),
        "unit": unit,
        "covers": f"{unit}s{trainings}" if np.isfinite(numbers["ci_low"]) else None,
    }


def _rows_of(scored, regime, split, strata, unit, names):
    """Yield the rows of one regime, of one design and split."""
    for fold, seed, of_fold, of_seed in scored.pools(regime, split):
        counts = scored.counts[regime][:, of_fold, of_seed]
        of = counts, scored.cells[regime][fold], unit
        here = {**names, "fold": fold, "seed": seed}
        for metric, found in metric_intervals(counts, strata).items():
            yield _row({**here, "metric": metric}, *of, found)
        if split != "test":
            continue
        named = (counts.sum((0, 3)) > 0).sum(-1).max()
        yield _row({**here, "metric": CLASSES_NAMED}, *of, (float(named),))
        if regime != MAJORITY:
            found = accuracy_difference(counts, naming_the_commonest(counts), strata)
            yield _row({**here, "metric": OVER_COMMONEST}, *of, found)


def naming_the_commonest(confusions):
    """Return the confusion matrices of naming one class for every cell: the commonest true one.

    The same class in all folds: where classes are equally large, which one is the commonest in
    training is chance, and another one in each fold would count as a difference between wells.

    Parameters
    ----------
    confusions : int array [n_units, n_folds, n_seeds, k, k]
    """
    true = confusions.sum(-1)
    named = np.zeros_like(confusions)
    named[..., true.sum((0, 1, 2)).argmax()] = true
    return named


def _confusion_rows(scored, regime, classes):
    """Yield rows of table 'confusion': the matrices of one regime over its test cells."""
    for fold, seed, of_fold, of_seed in scored.pools(regime, "test"):
        matrix = scored.counts[regime][:, of_fold, of_seed].sum((0, 1)).mean(0)
        for (i, j), n in np.ndenumerate(whole_numbers(matrix)):
            row = {"regime": regime, "fold": fold, "seed": seed}
            yield row | {"true": classes[i], "predicted": classes[j], "n_cells": int(n)}


def _differences(scored, main, twins, strata, unit):
    """Yield rows 'accuracy_gain' of every design, and 'leak' of the random one."""

    def row(one, other, metric, design, regime):
        (one, n_one), (other, n_other) = (
            (scored[d].counts[name], scored[d].cells[name][None]) for d, name in (one, other)
        )
        names = {"regime": regime, "split": "test", "design": design, "metric": metric}
        sides = one, other
        found = accuracy_difference(*sides, strata)
        counts = min(sides, key=lambda side: side.any(axis=(1, 2, 3, 4)).sum())
        wide = np.broadcast_to(counts, np.broadcast_shapes(one.shape, other.shape))
        return _row({**names, "fold": None, "seed": None}, wide, min(n_one, n_other), unit, found)

    for design, of in scored.items():
        ours = next((name for name in of.counts if twins.get(name, name) == main), None)
        for name in of.counts if ours else ():
            if name != ours:
                yield row((design, ours), (design, name), "accuracy_gain", design, name)
    if unit == "cell" or not {GROUPED, RANDOM} <= set(scored):
        return
    for name in scored[RANDOM].counts:
        if (twin := twins.get(name, name)) in scored[GROUPED].counts:
            yield row((RANDOM, name), (GROUPED, twin), "leak", RANDOM, name)


def _coded(table, classes, **names):
    frame = table[["cell", "split"]].astype(str)
    for column in ("true", "predicted"):
        frame[column] = pd.Categorical(table[column], classes).codes
    return frame.assign(**names)


def _all_predictions(predictions, baselines, classes, designs):
    """Return the predictions of regimes and baselines, and of the commonest training class."""
    frames = [
        _coded(table, classes, regime=r, design=designs.get(r, GROUPED), fold=fold, seed=seed)
        for (r, fold, seed), table in predictions.items()
    ]
    for (design, fold), table in baselines.items():
        of_each = _coded(table, classes, regime=table["baseline"].astype(str))
        of_each = of_each.assign(design=design, fold=fold, seed=None)
        any_one = of_each[of_each["regime"] == of_each["regime"].iloc[0]]
        commonest = any_one.loc[any_one["split"] == "train", "true"].mode()[0]
        frames += [any_one.assign(regime=MAJORITY, predicted=commonest), of_each]
    return pd.concat([frame.astype({"seed": "Int64"}) for frame in frames], ignore_index=True)


def evaluate(predictions, baselines, cells, classes, *, designs=None, main=None, twins=None):
    """Return the tables 'metrics' and 'confusion' of one task.

    Each regime is scored per model (fold, seed and split); over the test cells of all folds for
    each of its training seeds (fold missing); and over all its models (both missing): with whole
    replicates held out, every cell is then scored by models that never saw its well. Baselines
    have no seed. Of several seeds the mean over a well's matrices counts, a cell that several
    models test is one cell, and the matrices of table 'confusion' are in whole cells
    (`whole_numbers`). A baseline 'majority' always names the commonest training class.

    Units are wells where the study holds wells out, also of its regimes whose split is by cell:
    cells of a well resemble each other however they were drawn. `covers` says what an interval is
    over: 'wells', or 'wells and trainings' where each fold was trained several times.

    Beside the metrics of `confusion_metrics` the test cells have two more rows each:
    'accuracy_over_commonest', the accuracy less that of naming the commonest class of these very
    cells throughout (`naming_the_commonest`), with p (two-sided), and 'classes_named', how many
    classes the predictions name: of the model that names most where there are several. The pool of
    all has two differences as well, with p: 'accuracy_gain' of a regime or baseline is the
    accuracy of `main` less its own; 'leak' is the accuracy with the split by cell less that with
    whole wells held out.

    Parameters
    ----------
    predictions : dict {(regime, fold, seed): table 'predictions'}
        A regime has the same seeds in each of its folds.
    baselines : dict {(design, fold): table 'baseline_predictions'}
        A design is 'grouped' (what split.by says) or 'random' (by cell).
    cells : DataFrame, indexed by cell
        Columns unit_id (well, or the cell itself), unit ('well' or 'cell') and stratum (dose).
    classes : list of str
    designs : dict {regime: design}
        Of regimes whose splits are not the grouped ones.
    main : str, optional
        The regime that is held against all others. In the random design its twin is.
    twins : dict {regime of the random design: regime of the grouped one}
        Regimes that differ in their split alone.
    """
    designs, twins = designs or {}, twins or {}
    frame = _all_predictions(predictions, baselines, classes, designs)
    frame = frame.merge(cells, left_on="cell", right_index=True)
    units = frame.drop_duplicates("unit_id").set_index("unit_id")["stratum"].sort_index()
    strata, unit = units.to_numpy(str), str(cells["unit"].iloc[0])
    folds, k = sorted(frame["fold"].unique()), len(classes)
    shown = {(regime, designs.get(regime, GROUPED)) for regime, _, _ in predictions}
    shown.add((MAJORITY, GROUPED))  # a matrix per regime; of the baselines only this one
    metrics, confusion, tested = [], [], {}
    for (design, split), part in frame.groupby(["design", "split"]):
        scored = _Scored(part, units.index, folds, k)
        for regime in scored.counts:
            names = {"regime": regime, "split": split, "design": design}
            metrics += _rows_of(scored, regime, split, strata, unit, names)
            if split == "test" and (regime, design) in shown:
                confusion += _confusion_rows(scored, regime, classes)
        if split == "test":
            tested[design] = scored
    metrics += _differences(tested, main, twins, strata, unit)
    whole = {"fold": "Int64", "seed": "Int64"}
    return pd.DataFrame(metrics).astype(whole), pd.DataFrame(confusion).astype(whole)
