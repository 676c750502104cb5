"""ROAR-lite: take away the genes that a track calls key, learn again, and see what is lost.

Remove and retrain (Hooker et al. 2019), with a logistic regression in place of the encoder: the
question is whether these genes carry the difference between the classes, not how one model uses
them. Pooled tracks, of models as of differential expression, have seen the test cells of every fold
and take away what separates those by chance as well: accuracy can then fall below chance. Beside
them always stands `training_difference`, which ranks genes in each fold's training cells alone.
"""

import logging
import zlib

import numpy as np
import pandas as pd
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from keygenes.cells.normalise import counts_per_10k
from keygenes.cells.units import resampling_units
from keygenes.core.jackknife import design_of, interval, left_out_sums, two_sided_p
from keygenes.core.progress import Progress
from keygenes.evidence.intervals import ratio_of_sums
from keygenes.models.baselines import fit_penalised

log = logging.getLogger("keygenes")

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2)
MAX_GENES = 3000  # the most widely detected ones: others hardly move a prediction
MAX_TRAINING_CELLS = 2000
TOLERANCE = 1e-3  # of a fit; the study's hundreds of fits take ten times as long with 1e-4
DECILES = 10
TRAINING = "training_difference"


def matched_genes(removed, detection, rng):
    """Return as many random genes as `removed`, alike in how many cells have them.

    Parameters
    ----------
    removed : int array
        Positions in `detection`.
    detection : float array [n_genes]
        Share of the cells that have a gene. Genes are drawn within its deciles, the removed
        ones among them: a track that only knows detection loses nothing against its match.
    rng : numpy.random.Generator
    """
    order = np.argsort(-detection, kind="stable")
    decile = np.empty(len(order), int)
    decile[order] = np.arange(len(order)) * DECILES // len(order)
    wanted = np.bincount(decile[removed], minlength=DECILES)
    drawn = [
        rng.choice(np.flatnonzero(decile == d), n, replace=False) for d, n in enumerate(wanted)
    ]
    return np.sort(np.concatenate(drawn))


def hits_without(matrix, labels, train, test, removed, c):
    """Return which test cells a logistic regression names rightly without some genes.

    Parameters
    ----------
    matrix : float array [n_cells, n_genes]
    labels : int array [n_cells]
    train, test : int arrays
        Positions of cells.
    removed : int array
        Positions of genes; what is set to zero for all cells can as well be left out.
    c : float
        Inverse penalty.
    """
    kept = np.setdiff1d(np.arange(matrix.shape[1]), removed)
    model = LogisticRegression(C=c, tol=TOLERANCE, max_iter=1000)
    model.fit(matrix[np.ix_(train, kept)], labels[train])
    return model.predict(matrix[np.ix_(test, kept)]) == labels[test]


def ranked_genes(genes, regime, names):
    """Return the genes of every pooled track, most key first, as positions in `names`.

    Parameters
    ----------
    genes : table 'genes'
    regime : str
        Of the tracks that have one; those of all models are taken.
    names : list of str
        Ensembl ids.

    Returns
    -------
    dict {track: int array}
    """
    position = pd.Series(np.arange(len(names)), names)
    mine = genes["regime"].isna() | (genes["regime"].astype(str) == regime)
    pooled = genes[mine & genes["seed"].isna() & genes["ensembl_id"].isin(position.index)]
    return {
        str(track): position[part.sort_values("rank")["ensembl_id"]].to_numpy()
        for track, part in pooled.groupby("track", observed=True)
    }


def training_difference(matrix, labels, train):
    """Return genes by falling F statistic of the classes among the training cells."""
    varying = np.flatnonzero(matrix[train].std(0) > 0)
    score = np.full(matrix.shape[1], -1.0)
    score[varying] = f_classif(matrix[train][:, varying], labels[train])[0]
    return np.argsort(-score, kind="stable")


def remove_and_retrain(matrix, labels, folds, ranked, units, strata, *, n_random):
    """Return the accuracy without the first genes of every track, and without matched ones.

    Parameters
    ----------
    matrix : float array [n_cells, n_genes]
        Log-normalised expression.
    labels : int array [n_cells]
    folds : list of (train, valid, test), bool arrays [n_cells]
        The penalty is chosen once per fold, on the validation cells, with all genes.
    ranked : dict {track: int array}
        Genes, most key first (`ranked_genes`); the same in all folds.
    units, strata : arrays of str [n_cells]
        What intervals are over, and within what units are left out.
    n_random : int
        Draws of matched genes.

    Returns
    -------
    DataFrame
        Columns track, fraction, n_removed, accuracy, ci_low, ci_high, matched (mean accuracy of
        the draws), drop (matched less accuracy), drop_low, drop_high, p (two-sided; intervals and
        p are over units alone, and missing where there is one), n_cells, n_units. Fraction 0
        stands for all genes. A track with fewer genes than are to go has no such row.
    """
    n_genes = matrix.shape[1]
    detection = (matrix > 0).mean(0)
    orders = {track: [order] * len(folds) for track, order in ranked.items()}
    orders[TRAINING] = [training_difference(matrix, labels, train) for train, _, _ in folds]
    plan, sets = [], [[np.empty(0, int)] * len(folds)]  # per set, what goes in each fold
    for track, of_folds in orders.items():
        rng = np.random.default_rng([zlib.crc32(track.encode()), 17])
        for fraction in FRACTIONS:
            n = max(1, round(fraction * n_genes))
            if n > min(map(len, of_folds)):
                break
            plan.append((track, fraction, n, len(sets)))
            removed = [order[:n] for order in of_folds]
            sets.append(removed)
            sets += [
                [matched_genes(genes, detection, rng) for genes in removed] for _ in range(n_random)
            ]
    names, first, codes = np.unique(units.astype(str), return_index=True, return_inverse=True)
    tally = np.zeros((len(names), len(sets), 2))  # cells named rightly, and all
    tested = np.zeros(len(labels), bool)
    # before the counting starts: a search for a penalty takes as long as many refits
    penalties = [fit_penalised(matrix, labels, train, valid).C for train, valid, _ in folds]
    progress = Progress("removing genes", len(folds) * len(sets), "fits")
    for fold, (train, _, test) in enumerate(folds):
        c = penalties[fold]
        rng = np.random.default_rng([fold, 18])
        chosen = np.flatnonzero(train)
        if len(chosen) > MAX_TRAINING_CELLS:
            chosen = np.sort(rng.choice(chosen, MAX_TRAINING_CELLS, replace=False))
        cells = np.flatnonzero(test)
        tested |= test
        for i, removed in enumerate(sets):
            hits = hits_without(matrix, labels, chosen, cells, removed[fold], c)
            np.add.at(tally[:, i, 0], codes[cells], hits)
            np.add.at(tally[:, i, 1], codes[cells], 1)
            progress.step()
        log.info("fold %d: %d refits on %d cells, C = %g", fold + 1, len(sets), len(chosen), c)
    progress.end()
    seen = tally[:, 0, 1] > 0
    design = design_of(np.asarray(strata)[first][seen])
    values = ratio_of_sums(left_out_sums(tally[seen][:, None, None], design))
    common = {"n_cells": int(tested.sum()), "n_units": int(seen.sum())}

    def row(track, fraction, n, i):
        low, high = interval(values[:, i], design, (0.0, 1.0))
        return {
            "track": track,
            "fraction": fraction,
            "n_removed": n,
            "accuracy": values[0, i],
            "ci_low": low,
            "ci_high": high,
            **common,
        }

    rows = [row(track, 0.0, 0, 0) for track in orders]
    for track, fraction, n, i in plan:
        of_matched = slice(i + 1, i + 1 + n_random)
        matched = values[:, of_matched].mean(1)
        drops = matched - values[:, i]
        low, high = interval(drops, design, (-1.0, 1.0))
        rows.append(
            {
                **row(track, fraction, n, i),
                "matched": matched[0],
                "drop": drops[0],
                "drop_low": low,
                "drop_high": high,
                "p": float(two_sided_p(drops, design)),
            }
        )
    return pd.DataFrame(rows)


def remove_genes(adata, labels, splits, genes, regime, *, n_random, threads):
    """Return table 'roar': every pooled track of a task put to the test.

    Parameters
    ----------
    adata : AnnData
        Raw counts of the study's cells.
    labels : categorical Series, indexed by cell
        Of the task.
    splits : table 'splits' of all folds
    genes : table 'genes' of the task
    regime : str
        The regime whose attention and attributions are tested.
    n_random, threads : int
    """
    labels = labels.dropna()
    adata = adata[adata.obs_names.isin(labels.index)]
    labels = labels[adata.obs_names]
    units = resampling_units(adata.obs, labels, splits)
    scaled = counts_per_10k(adata.X, adata.obs["n_counts"].to_numpy(float)).log1p()
    detection = scaled.getnnz(0)
    chosen = np.sort(np.argsort(-detection, kind="stable")[:MAX_GENES])
    chosen = chosen[detection[chosen] > 0]
    split = splits.pivot(index="cell", columns="fold", values="split").loc[adata.obs_names]
    folds = [
        tuple((split[fold] == part).to_numpy() for part in ("train", "valid", "test"))
        for fold in split.columns
    ]
    with threadpool_limits(threads):
        found = remove_and_retrain(
            scaled[:, chosen].toarray().astype(np.float32),
            labels.cat.codes.to_numpy(np.int64),
            folds,
            ranked_genes(genes, regime, list(adata.var_names[chosen])),
            units["unit_id"].to_numpy(str),
            units["stratum"].to_numpy(str),
            n_random=n_random,
        )
    return found.assign(regime=regime, seed=None)
