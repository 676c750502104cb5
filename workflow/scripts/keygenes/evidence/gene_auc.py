"""How well genes are told apart by class: ROC-AUC over genes, with intervals and controls."""

import logging

import numpy as np
import pandas as pd

from keygenes.core.tables import read_table, write_table
from keygenes.evidence.tracks import track, with_permuted

log = logging.getLogger("keygenes")

REAL = "pretrained"
SHUFFLED = "shuffled_labels"  # what chance looks like
PAIRED = ("random_encoder", "logistic")  # controls with the same labels: a gain is defined
TRACK = "gene_class_probability"
AT_A_TIME = 250  # resamples, which bounds memory


def weighted_auc(positive, score, weights):
    """Return the area under the ROC curve for many weightings of the same genes.

    The weighted share of (positive, negative) pairs in which the positive gene scores higher; a
    tie counts half. With weights of one this is the usual ROC-AUC.

    Parameters
    ----------
    positive : bool array [n_genes]
    score : float array [n_genes]
        Genes without a score (NaN) are left out.
    weights : float array [n_weightings, n_genes]

    Returns
    -------
    float array [n_weightings]
        NaN where a weighting leaves one side empty.
    """
    ours, theirs = positive & ~np.isnan(score), ~positive & ~np.isnan(score)
    difference = score[ours][:, None] - score[theirs][None, :]
    wins = ((difference > 0) + 0.5 * (difference == 0)).astype(np.float64)
    areas = np.full(len(weights), np.nan)
    for start in range(0, len(weights), AT_A_TIME):
        part = weights[start : start + AT_A_TIME]
        mass = part[:, ours].sum(1) * part[:, theirs].sum(1)
        won = ((part[:, ours] @ wins) * part[:, theirs]).sum(1)
        np.divide(won, mass, out=areas[start : start + AT_A_TIME], where=mass > 0)
    return areas


def resamples(n_genes, n_bootstrap, seed=0):
    """Return how often each gene is drawn: [1 + n_bootstrap, n_genes]; the first row is all ones.

    Genes are the unit: a model of other genes would have seen other labels.
    """
    rng = np.random.default_rng([seed, 14])
    draws = rng.multinomial(n_genes, np.full(n_genes, 1 / n_genes), n_bootstrap)
    return np.vstack([np.ones(n_genes), draws])


def aligned(table, genes, classes):
    """Return true codes and probabilities of a table 'gene_predictions' in the order of `genes`.

    Returns
    -------
    codes : int array [n_genes], -1 where the run has no such gene
    probabilities : float array [n_genes, n_classes], NaN there
    """
    table = table.set_index("ensembl_id").reindex(genes)
    codes = pd.Categorical(table["true"], classes).codes
    empty = np.full(len(classes), np.nan)
    rows = [row if isinstance(row, np.ndarray) else empty for row in table["probabilities"]]
    return codes, np.array(rows, float)


def pooled(runs):
    """Return runs of several seeds as one, where they predict the same labels; else as they are.

    Out-of-fold probabilities are averaged over the seeds that score the gene. Each seed permutes
    the labels anew, so that the permuted runs stay apart and their AUCs are averaged instead,
    without an interval: resampling genes holds the trained models fixed, and areas of permuted
    labels spread wider than that. Their own spread over the seeds is what chance looks like.
    """
    codes = np.max([run[0] for run in runs], axis=0)
    if any(((run[0] >= 0) & (run[0] != codes)).any() for run in runs):
        return runs
    stack = np.array([run[1] for run in runs])
    seen = ~np.isnan(stack)
    mean = np.where(seen, stack, 0).sum(0) / np.maximum(1, seen.sum(0))
    return [(codes, np.where(seen.any(0), mean, np.nan))]


def gene_metrics(predictions, n_bootstrap):
    """Return table 'gene_metrics'.

    Two classes have one row each (the area of the second class), more classes one per class
    against the rest. ``roc_auc`` is the area; ``gain`` is that of the pretrained encoder less that
    of a control, both over the same resamples of genes. A row without a seed pools the seeds; where
    areas of seeds are averaged instead (see `pooled`), its counts are the largest of theirs.

    Parameters
    ----------
    predictions : dict {(encoder, seed): table 'gene_predictions'}
    """
    genes = sorted(set().union(*(table["ensembl_id"] for table in predictions.values())))
    classes = list(next(iter(predictions.values()))["true"].cat.categories)
    weights = resamples(len(genes), n_bootstrap)
    groups = {}
    for (encoder, seed), table in predictions.items():
        groups[encoder, seed] = [aligned(table, genes, classes)]
    for encoder in dict.fromkeys(name for name, _ in predictions):
        runs = [groups[key][0] for key in predictions if key[0] == encoder]
        groups[encoder, None] = pooled(runs)
    rows, areas = [], {}
    for (encoder, seed), runs in groups.items():
        drawn = [
            table["n_drawn"].iloc[0]
            for key, table in predictions.items()
            if key[0] == encoder and seed in (None, key[1])
        ]
        for code in range(1 if len(classes) == 2 else 0, len(classes)):
            area = np.mean(
                [weighted_auc(codes == code, scores[:, code], weights) for codes, scores in runs], 0
            )
            areas[encoder, seed, code] = area
            metrics = {"roc_auc": area}
            if encoder in PAIRED:
                metrics["gain"] = areas[REAL, seed, code] - area
            rows += [
                {
                    "encoder": encoder,
                    "seed": seed,
                    "metric": metric,
                    "class": classes[code],
                    "value": values[0],
                    "ci_low": np.nanquantile(values[1:], 0.025) if len(runs) == 1 else np.nan,
                    "ci_high": np.nanquantile(values[1:], 0.975) if len(runs) == 1 else np.nan,
                    "n_genes": max(int((codes >= 0).sum()) for codes, _ in runs),
                    "n_positive": max(int((codes == code).sum()) for codes, _ in runs),
                    "n_cells": int(max(drawn)),
                }
                for metric, values in metrics.items()
            ]
    frame = pd.DataFrame(rows)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame


def gene_tracks(predictions):
    """Return the evidence of a gene task: probability of the last class per encoder and seed.

    A row without a seed has the mean over seeds; its `n_cells` is the largest of theirs. Those of
    the pretrained encoder have permuted_mean and permuted_sd: the gene's probability over the
    seeds of models trained on shuffled labels.
    """
    shuffled = [
        pd.Series([row[-1] for row in table["probabilities"]], table["ensembl_id"])
        for (name, _), table in predictions.items()
        if name == SHUFFLED
    ]
    permuted = None
    if shuffled:
        every = pd.concat(shuffled, axis=1)
        permuted = pd.DataFrame(
            {"permuted_mean": every.mean(axis=1), "permuted_sd": every.std(axis=1)}
        )
    tracks, encoders = [], dict.fromkeys(name for name, _ in predictions)
    for encoder in encoders:
        null = permuted if encoder == REAL else None
        runs = []
        for (name, seed), table in predictions.items():
            if name == encoder:
                last = np.array([row[-1] for row in table["probabilities"]])
                runs.append(table.assign(score=last))
                columns = {"regime": encoder, "seed": seed}
                own = track(TRACK, table["ensembl_id"], last, table["n_cells"], **columns)
                tracks.append(with_permuted(own, null))
        every = pd.concat(runs).groupby("ensembl_id")
        mean = every.agg(score=("score", "mean"), n_cells=("n_cells", "max")).reset_index()
        own = track(TRACK, mean["ensembl_id"], mean["score"], mean["n_cells"], regime=encoder)
        tracks.append(with_permuted(own, null))
    names = pd.concat([t[["ensembl_id", "symbol"]] for t in predictions.values()])
    frame = pd.concat(tracks, ignore_index=True)
    frame["seed"] = frame["seed"].astype("Int64")
    return frame.merge(names.drop_duplicates("ensembl_id"), on="ensembl_id", how="left")


def score_gene_classes(*, predictions, out_metrics, out_genes, n_bootstrap):
    """Write a gene task's metrics and its evidence table.

    Parameters
    ----------
    predictions : dict {(encoder, seed): path}
    """
    tables = {run: read_table(path) for run, path in predictions.items()}
    metrics = gene_metrics(tables, n_bootstrap)
    for row in metrics[metrics["seed"].isna()].to_dict("records"):
        log.info(
            "{metric} of {class}, {encoder}: {value:.3f} ({ci_low:.3f} to {ci_high:.3f}), "
            "n = {n_genes} genes".format(**row)
        )
    write_table(metrics, out_metrics, "gene_metrics")
    write_table(gene_tracks(tables), out_genes, "genes")
