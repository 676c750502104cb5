"""The primary test of a study: from the scores of genes to its verdict, a table each."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from keygenes.cells.normalise import counts_per_10k
from keygenes.cells.relabel import labelled_units, n_relabellings
from keygenes.core.runs import Run
from keygenes.core.schemas import TABLES
from keygenes.evidence import primary
from keygenes.evidence.track_tests import score_rows, scored, track_table, wilcoxon_scores
from keygenes.evidence.well_sums import MIN_CELLS
from keygenes.models.learnt import has_learnt, over_commonest

log = logging.getLogger("keygenes")

FIXED = ("detection", "mean_rank")  # tracks that read no labels


def detected_genes(genes):
    """Return symbol, detection (test cells) and mean_rank of genes that enough cells express.

    Parameters
    ----------
    genes : table 'genes'

    Returns
    -------
    DataFrame, indexed by ensembl_id
    """
    pooled = genes[genes["seed"].isna()]
    detection, ranks = (
        pooled[pooled["track"].astype(str) == name].set_index("ensembl_id") for name in FIXED
    )
    facts = pd.DataFrame({"symbol": detection["symbol"], "detection": detection["score"]})
    facts["mean_rank"] = -ranks["score"]
    return facts[facts["detection"] >= MIN_CELLS].sort_index()


def scores_by_labels(table):
    """Return the scores of table 'relabelled_genes' as {track: {(relabelling, seed): Series}}.

    In the order of the table; a Series is by ensembl_id.
    """
    table = table.astype({"track": str, "ensembl_id": str})
    found = {}
    for (track, *labels), rows in table.groupby(["track", "relabelling", "seed"], sort=False):
        found.setdefault(track, {})[tuple(labels)] = rows.set_index("ensembl_id")["score"]
    return found


def trained_accuracy(predictions, regime):
    """Return table 'trained_accuracy': on training cells, with the labels a model learned from.

    Parameters
    ----------
    predictions : dict {Run: table 'predictions'}
    """
    rows = []
    for run, table in predictions.items():
        own = table[table["split"].astype(str) == "train"]
        hits = own["true"].astype(str).to_numpy() == own["predicted"].astype(str).to_numpy()
        rows.append(
            {
                "regime": regime,
                "relabelling": run.relabelling,
                "fold": run.fold,
                "seed": run.seed,
                "n_cells": len(own),
                "accuracy": float(hits.mean()),
            }
        )
    return pd.DataFrame(rows)


def accuracy_columns(metrics, regime):
    """Return the columns of table 'primary' that say whether a regime has learned its task.

    accuracy, accuracy_low, commonest, and learnt (None where there is no interval): its accuracy
    is above that of naming the commonest class, with the whole interval of the difference.
    """
    own = metrics[
        (metrics["regime"].astype(str) == regime)
        & (metrics["metric"].astype(str) == "accuracy")
        & (metrics["split"].astype(str) == "test")
        & metrics["fold"].isna()
        & metrics["seed"].isna()
    ].iloc[0]
    over = over_commonest(metrics, regime)
    return {
        "accuracy": own["value"],
        "accuracy_low": own["ci_low"],
        "commonest": np.nan if over is None else own["value"] - over["value"],
        "learnt": has_learnt(metrics, regime),
    }


def primary_row(tests, accuracy, trained, possible, named, *, min_effect, brought):
    """Return the one row of table 'primary'.

    Parameters
    ----------
    tests : table 'track_tests'
    accuracy : result of `accuracy_columns`
    trained : table 'trained_accuracy'
    possible : (str, float)
        What was relabelled, and in how many distinct ways it can be.
    named : dict
        Section evidence.primary of the config.
    min_effect : float
    brought : bool
        Whether the classifier was fine-tuned elsewhere.
    """
    row = tests[tests["role"] == "primary"].iloc[0].to_dict()
    unit, n_possible = possible
    test = primary.PermutedTest(
        *(row[c] for c in ("permuted_mean", "permuted_sd", "n_permuted", "permuted_p", "effect")),
        *(row[c] for c in ("effect_low", "effect_high")),
        primary.detectable_effect(row["permuted_sd"], row["n_permuted"]),
    )
    about = primary.Circumstances(
        row["n_positive"], row["matched_p"], accuracy["learnt"], unit, n_possible, brought
    )
    outcome, reason = primary.verdict(test, about, min_effect)
    of_labels = trained.groupby(trained["relabelling"] == 0)["accuracy"].mean()
    return {
        **{name: row[name] for name in TABLES["primary"].names if name in row},
        **accuracy,
        "task": named["task"],
        "outcome": outcome,
        "reason": reason,
        "smallest_p": primary.smallest_p(test.n),
        "n_possible": n_possible,
        "permuted_unit": unit,
        "min_effect": min_effect,
        "detectable_effect": test.detectable,
        "trained_accuracy": of_labels.get(True, np.nan),
        "permuted_trained_accuracy": of_labels.get(False, np.nan),
    }


class PrimaryTables(NamedTuple):
    """What the primary test is made of: tables of its regime and task.

    Attributes
    ----------
    relabelled_genes : DataFrame
        Of the regime.
    predictions : dict {Run: DataFrame}
        Of every run of it, on true and on dealt labels.
    genes, metrics, labels : DataFrames
        Of the task.
    """

    relabelled_genes: pd.DataFrame
    predictions: dict[Run, pd.DataFrame]
    genes: pd.DataFrame
    metrics: pd.DataFrame
    labels: pd.DataFrame


def test_primary(tables, counts, members, named, *, min_effect, n_null_draws, brought):
    """Return the primary test of a study, and its exploratory companions.

    Parameters
    ----------
    tables : PrimaryTables
    counts : AnnData
        All detected genes of the cells (`cells/screen.h5ad`), raw counts.
    members : set of str
        Of the gene set.
    named : dict
        Section evidence.primary of the config.

    Returns
    -------
    dict {name: DataFrame}
        Tables relabelled_scores, trained_accuracy, track_tests and primary.
    """
    facts = detected_genes(tables.genes)
    of_models = {
        track: scored(scores, facts, members)
        for track, scores in scores_by_labels(tables.relabelled_genes).items()
    }
    units, labelled = labelled_units(tables.labels, counts.obs, named["task"])
    scaled = counts_per_10k(counts.X[labelled], counts.obs["n_counts"].to_numpy(float)[labelled])
    dealt = wilcoxon_scores(scaled, units, counts.var_names.to_numpy(str))
    references = {"wilcoxon": {(number, 0): score for number, score in dealt}}
    references |= {track: {(0, 0): facts[track]} for track in FIXED}
    references["mean_rank"][0, 0] = -facts["mean_rank"]
    of_references = {track: scored(s, facts, members) for track, s in references.items()}

    rows = [row for track, s in (of_models | of_references).items() for row in score_rows(track, s)]
    scores = pd.DataFrame(rows).astype({"seed": "Int64"})
    tests = track_table(of_models, of_references, named, n_null_draws)
    trained = trained_accuracy(tables.predictions, named["regime"])
    possible = units.unit, float(n_relabellings(units))
    accuracy = accuracy_columns(tables.metrics, named["regime"])
    row = primary_row(
        tests, accuracy, trained, possible, named, min_effect=min_effect, brought=brought
    )
    log.info(
        "%s of %s on %s: %s (%s)",
        *(named["track"], named["regime"], named["gene_set"], row["outcome"], row["reason"]),
    )
    found = {"relabelled_scores": scores, "trained_accuracy": trained, "track_tests": tests}
    return found | {"primary": pd.DataFrame([row])}
