"""How well the regimes predict, with intervals over wells."""

import logging

import numpy as np
import pandas as pd

log = logging.getLogger("keygenes")


def confusion_metrics(confusion):
    """Return accuracy, macro-F1 and balanced accuracy of confusion matrices.

    Parameters
    ----------
    confusion : array [..., k, k]
        Cells with true class (row) and predicted class (column). Classes without a true cell
        are left out of the two averages.

    Returns
    -------
    dict of float arrays [...]
    """
    confusion = np.asarray(confusion, float)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    seen = true > 0
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=seen)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=seen)
    n_seen = np.maximum(1, seen.sum(-1))
    return {
        "accuracy": hits.sum(-1) / np.maximum(1, confusion.sum((-2, -1))),
        "macro_f1": f1.sum(-1) / n_seen,
        "balanced_accuracy": recall.sum(-1) / n_seen,
    }


def unit_confusions(true, predicted, units, k):
    """Return one confusion matrix per unit (well or cell): int array [n_units, k, k]."""
    codes = pd.factorize(np.asarray(units))[0]
    confusions = np.zeros((codes.max() + 1, k, k), np.int64)
    np.add.at(confusions, (codes, true, predicted), 1)
    return confusions


def bootstrap_intervals(confusions, strata, n_bootstrap, seed=0):
    """Return 95 % percentile intervals of the metrics, resampling units within strata.

    Parameters
    ----------
    confusions : int array [n_units, k, k]
    strata : array [n_units]
        Units are drawn with replacement within each stratum (wells within a dose), as the
        design fixes how many there are.

    Returns
    -------
    dict {metric: (low, high)}
    """
    rng = np.random.default_rng([seed, 11])
    total = np.zeros((n_bootstrap, *confusions.shape[1:]))
    for stratum in pd.unique(np.asarray(strata)):
        members = confusions[np.asarray(strata) == stratum]
        draws = rng.integers(0, len(members), (n_bootstrap, len(members)))
        weights = np.zeros((n_bootstrap, len(members)))
        np.add.at(weights, (np.arange(n_bootstrap)[:, None], draws), 1)
        total += np.tensordot(weights, members, axes=1)
    return {
        name: tuple(np.quantile(values, [0.025, 0.975]))
        for name, values in confusion_metrics(total).items()
    }


def _metric_rows(frame, k, n_bootstrap, **names):
    confusions = unit_confusions(frame["true"], frame["predicted"], frame["unit_id"], k)
    strata = frame.groupby("unit_id", sort=False)["stratum"].first().to_numpy()
    intervals = bootstrap_intervals(confusions, strata, n_bootstrap)
    values = confusion_metrics(confusions.sum(0))
    return [
        {
            **names,
            "metric": metric,
            "value": float(values[metric]),
            "ci_low": intervals[metric][0],
            "ci_high": intervals[metric][1],
            "n_cells": len(frame),
            "n_units": len(confusions),
        }
        for metric in values
    ]


def evaluate(predictions, cells, classes, n_bootstrap):
    """Return the tables 'metrics' and 'confusion' of one task.

    Each regime is scored per seed and split, and once over the pooled test cells of all seeds
    (seed missing): with whole replicates held out, every cell is then scored by a model that
    never saw its well. A regime 'majority' always names the commonest training class.

    Parameters
    ----------
    predictions : dict {(regime, seed): table 'predictions'}
    cells : DataFrame, indexed by cell
        Columns unit_id (well, or the cell itself), unit ('well' or 'cell') and stratum (dose).
    classes : list of str
    """
    frames = []
    for (regime, seed), table in predictions.items():
        frame = table[["cell", "split"]].copy()
        for column in ("true", "predicted"):
            frame[column] = pd.Categorical(table[column], classes).codes
        frames.append(frame.assign(regime=regime, seed=seed))
    some_regime = frames[0]["regime"].iloc[0]
    for frame in [f for f in frames if f["regime"].iloc[0] == some_regime]:
        majority = frame.loc[frame["split"] == "train", "true"].mode()[0]
        frames.append(frame.assign(regime="majority", predicted=majority))
    frame = pd.concat(frames, ignore_index=True).merge(cells, left_on="cell", right_index=True)
    frame["split"] = frame["split"].astype(str)
    k, unit = len(classes), cells["unit"].iloc[0]
    regimes = list(dict.fromkeys(frame["regime"]))
    metrics, confusion = [], []
    for regime in regimes:
        of_regime = frame[frame["regime"] == regime]
        parts = {(s, split): part for (s, split), part in of_regime.groupby(["seed", "split"])}
        parts[(None, "test")] = of_regime[of_regime["split"] == "test"]
        for (seed, split), part in parts.items():
            names = {"regime": regime, "seed": seed, "split": split, "unit": unit}
            metrics += _metric_rows(part, k, n_bootstrap, **names)
            if split != "test":
                continue
            matrix = unit_confusions(part["true"], part["predicted"], np.zeros(len(part)), k)[0]
            confusion += [
                {
                    "regime": regime,
                    "seed": seed,
                    "true": classes[i],
                    "predicted": classes[j],
                    "n_cells": int(matrix[i, j]),
                }
                for i in range(k)
                for j in range(k)
            ]
    metrics, confusion = pd.DataFrame(metrics), pd.DataFrame(confusion)
    for table in (metrics, confusion):
        table["seed"] = table["seed"].astype("Int64")
    return metrics, confusion
