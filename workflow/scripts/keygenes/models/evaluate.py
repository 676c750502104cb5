"""How well the regimes and baselines predict, with intervals over wells."""

import logging
import zlib

import numpy as np
import pandas as pd

log = logging.getLogger("keygenes")

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


def resample(confusions, units, strata, n_bootstrap, seed=0):
    """Return sums of confusion matrices over resamples of units within strata.

    Parameters
    ----------
    confusions : int array [n_units, ..., k, k]
        What stands beside a unit's matrix (other regimes) is drawn along with it: paired.
    units : list of str [n_units]
        Equal names are drawn alike in every call, so that calls are paired as well.
    strata : array [n_units]
        Units are drawn with replacement within each stratum (wells within a dose), as the
        design fixes how many there are.

    Returns
    -------
    float array [n_bootstrap, ..., k, k]
    """
    rng = np.random.default_rng([seed, 11, zlib.crc32("\n".join(units).encode())])
    strata = np.asarray(strata)
    total = np.zeros((n_bootstrap, *confusions.shape[1:]))
    for stratum in pd.unique(strata):
        members = confusions[strata == stratum]
        n = len(members)
        weights = rng.multinomial(n, np.full(n, 1 / n), n_bootstrap).astype(float)
        total += np.tensordot(weights, members, axes=1)
    return total


def can_resample(strata):
    """Return whether some stratum has several units; else every resample is the sample itself."""
    return bool(pd.Series(strata).duplicated().any())


def interval(draws):
    """Return the 95 % percentile interval of bootstrap draws: low, high."""
    return tuple(np.quantile(draws, [0.025, 0.975]))


def two_sided_p(differences):
    """Return the bootstrap p of a difference: twice the share of resamples beyond zero."""
    if np.isnan(differences).any():
        return np.nan
    n = len(differences)
    tail = 1 + min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * tail / (n + 1))


def _score(frame, names, k, n_bootstrap):
    """Return the metrics of regimes that predict the same cells, and their resamples.

    Parameters
    ----------
    frame : DataFrame
        Columns regime, cell, true, predicted (codes), unit_id, stratum.

    Returns
    -------
    dict {regime: {"values": {metric: float}, "draws": {metric: float array [n_bootstrap]},
    "n_cells": int, "n_units": int, "confusion": int array [k, k]}}
        Draws are missing where no stratum has two units (one replicate per class, say).
    """
    units, first, codes = np.unique(
        frame["unit_id"].to_numpy(str), return_index=True, return_inverse=True
    )
    which = pd.Categorical(frame["regime"], names).codes
    stack = np.zeros((len(units), len(names), k, k), np.int64)
    np.add.at(stack, (codes, which, frame["true"], frame["predicted"]), 1)
    strata = frame["stratum"].to_numpy()[first]
    values = confusion_metrics(stack.sum(0))
    if can_resample(strata):
        draws = confusion_metrics(resample(stack, units, strata, n_bootstrap))
    else:
        draws = {metric: np.full((n_bootstrap, len(names)), np.nan) for metric in values}
    return {
        name: {
            "values": {metric: float(v[i]) for metric, v in values.items()},
            "draws": {metric: v[:, i] for metric, v in draws.items()},
            "n_cells": frame.loc[which == i, "cell"].nunique(),
            "n_units": int((stack[:, i].sum((1, 2)) > 0).sum()),
            "confusion": stack[:, i].sum(0),
        }
        for i, name in enumerate(names)
    }


def _rows(scored, **names):
    """Return a row per regime and metric of one seed and split."""
    return [
        {
            **names,
            "regime": regime,
            "metric": metric,
            "value": value,
            **dict(zip(("ci_low", "ci_high"), interval(found["draws"][metric]), strict=True)),
            "n_cells": found["n_cells"],
            "n_units": found["n_units"],
        }
        for regime, found in scored.items()
        for metric, value in found["values"].items()
    ]


def _difference(one, other, metric, **names):
    """Return the row of one accuracy less another; paired where both have the same units."""
    draws = one["draws"]["accuracy"] - other["draws"]["accuracy"]
    low, high = interval(draws)
    return {
        **names,
        "metric": metric,
        "value": one["values"]["accuracy"] - other["values"]["accuracy"],
        "ci_low": low,
        "ci_high": high,
        "p": two_sided_p(draws),
        "n_cells": min(one["n_cells"], other["n_cells"]),
        "n_units": min(one["n_units"], other["n_units"]),
    }


def _coded(table, classes, **names):
    frame = table[["cell", "split"]].astype(str)
    for column in ("true", "predicted"):
        frame[column] = pd.Categorical(table[column], classes).codes
    return frame.assign(**names)


def evaluate(
    predictions, baselines, cells, classes, *, n_bootstrap, designs=None, main=None, twins=None
):
    """Return the tables 'metrics' and 'confusion' of one task.

    Each regime and baseline is scored per seed and split, and once over the pooled test cells of
    all seeds (seed missing): with whole replicates held out, every cell is then scored by a model
    that never saw its well. A baseline 'majority' always names the commonest training class.

    Units are wells where the study holds wells out, also of its regimes whose split is by cell:
    cells of a well resemble each other however they were drawn. A cell that several seeds test is
    one cell.

    Of the pooled test cells there are two more metrics, with p (two-sided, bootstrap):
    'accuracy_gain' of a regime or baseline is the accuracy of `main` less its own, over the same
    resamples; 'leak' is the accuracy with the split by cell less that with whole wells held out.

    Parameters
    ----------
    predictions : dict {(regime, seed): table 'predictions'}
    baselines : dict {(design, seed): table 'baseline_predictions'}
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
    frames = [
        _coded(table, classes, regime=regime, design=designs.get(regime, GROUPED), seed=seed)
        for (regime, seed), table in predictions.items()
    ]
    for (design, seed), table in baselines.items():
        of_each = _coded(table, classes, regime=table["baseline"].astype(str))
        of_each = of_each.assign(design=design, seed=seed)
        any_one = of_each[of_each["regime"] == of_each["regime"].iloc[0]]
        commonest = any_one.loc[any_one["split"] == "train", "true"].mode()[0]
        frames += [any_one.assign(regime="majority", predicted=commonest), of_each]
    frame = pd.concat(frames, ignore_index=True).merge(cells, left_on="cell", right_index=True)
    k, unit = len(classes), cells["unit"].iloc[0]
    shown = {*((regime, designs.get(regime, GROUPED)) for regime, _ in predictions)}
    shown.add(("majority", GROUPED))  # a matrix per regime; of the baselines only this one
    metrics, confusion, pooled = [], [], {}
    for design, of_design in frame.groupby("design"):
        parts = dict(iter(of_design.groupby(["seed", "split"])))
        parts[None, "test"] = of_design[of_design["split"] == "test"]
        for (seed, split), part in parts.items():
            scored = _score(part, list(dict.fromkeys(part["regime"])), k, n_bootstrap)
            metrics += _rows(scored, seed=seed, split=split, design=design)
            if seed is None:
                pooled[design] = scored
            if split != "test":
                continue
            confusion += [
                {
                    "regime": regime,
                    "seed": seed,
                    "true": classes[i],
                    "predicted": classes[j],
                    "n_cells": int(found["confusion"][i, j]),
                }
                for regime, found in scored.items()
                if (regime, design) in shown
                for i in range(k)
                for j in range(k)
            ]
    names = {"seed": None, "split": "test"}
    for design, scored in pooled.items():
        ours = [name for name in scored if twins.get(name, name) == main]
        metrics += [
            _difference(scored[ours[0]], found, "accuracy_gain", regime=n, design=design, **names)
            for n, found in scored.items()
            if ours and n != ours[0]
        ]
    for name, found in pooled.get(RANDOM, {}).items() if unit != "cell" else ():
        other = pooled[GROUPED].get(twins.get(name, name))
        if other is not None:
            metrics.append(_difference(found, other, "leak", regime=name, design=RANDOM, **names))
    metrics, confusion = pd.DataFrame(metrics), pd.DataFrame(confusion)
    metrics["unit"] = unit
    metrics["p"] = metrics.get("p", np.nan)
    for table in (metrics, confusion):
        table["seed"] = table["seed"].astype("Int64")
    return metrics, confusion
