"""The primary test and its exploratory companions, from models of true and of dealt labels.

Every track is scored alike whatever the labels: over the test cells of all folds, by the models of
one training seed. A gene set is held against the genes that are scored under all labels, so that
no AUPRC has another base rate than the one it is compared with.
"""

import logging
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from keygenes.cells.relabel import labelled_units, n_relabellings, relabellings
from keygenes.core.progress import with_progress
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence import primary
from keygenes.evidence.agreement import (
    against_draws,
    dealt_sets,
    matched_draws,
    positions,
    precision_positions,
    set_metrics,
    strata,
)
from keygenes.evidence.gene_sets import membership, read_gene_set
from keygenes.evidence.score import read_well_sums
from keygenes.evidence.tracks import MIN_CELLS, track_scores
from keygenes.expression.normalise import counts_per_10k
from keygenes.expression.rank_sums import strongest_z, unit_rank_sums
from keygenes.models.learnt import has_learnt, over_commonest

log = logging.getLogger("keygenes")

FIXED = ("detection", "mean_rank")  # tracks that read no labels


def scores_by_labels(paths, tracks):
    """Return the scores of genes on every track, under every relabelling and training seed.

    Parameters
    ----------
    paths : {'by_well' or 'well_scores': {Run: path}}
    tracks : collection of str
        Those asked for; a track that a table lacks is left out.

    Returns
    -------
    dict {track: {(relabelling, seed): Series by ensembl_id}}
        Pooled over the folds. Genes that too few cells express have no score.
    """
    found = {}
    for kind, names in (("by_well", ATTENTION), ("well_scores", ATTRIBUTIONS)):
        wanted = [name for name in names if name in tracks]
        pooled = {}
        for run, path in paths[kind].items():
            pooled.setdefault((run.relabelling, run.seed), {})[run.fold, run.seed] = path
        for labels, of_folds in with_progress(pooled.items(), kind, "sets of labels"):
            for name, sums in read_well_sums(of_folds, wanted).items() if wanted else ():
                matrices = sums[None]
                score = pd.Series(track_scores(name, matrices, 1), matrices["genes"])
                found.setdefault(name, {})[labels] = score.dropna()
    return found


def wilcoxon_scores(scaled, units, ensembl_ids, most=primary.OF_WILCOXON):
    """Yield \\|z\\| of every gene's strongest class, first of the labels as they are.

    Parameters
    ----------
    scaled : scipy.sparse matrix [n_cells, n_genes]
        Counts per 10,000 of labelled cells.
    units : cells.relabel.Units
    ensembl_ids : array of str [n_genes]
    most : int
        Relabellings; of fewer that there are, all.

    Yields
    ------
    int
        Relabelling, from 0.
    Series by ensembl_id
    """
    rank_sums, ties = unit_rank_sums(scaled, units.of_cell)
    dealt = relabellings(units, int(min(most, n_relabellings(units))))
    classes = np.stack([units.codes, *dealt])
    sizes = np.bincount(units.of_cell)
    for number, z in enumerate(strongest_z(rank_sums, ties, sizes, classes)):
        yield number, pd.Series(z, ensembl_ids)


def universe(scores, detected):
    """Return the genes that a track scores under all labels, among those detected: array of str."""
    common = set(detected).intersection(*(score.index for score in scores.values()))
    return np.array(sorted(common))


def auprc(score, positive, ensembl_ids):
    """Return the average precision of a set; NaN where it holds no gene, or all.

    Parameters
    ----------
    score : float array [n_genes]
    positive : bool array [n_genes]
    ensembl_ids : array of str [n_genes]
    """
    if not 0 < positive.sum() < len(positive):
        return np.nan
    places = (*positions(score), precision_positions(score, ensembl_ids))
    return float(set_metrics(np.flatnonzero(positive)[None], *places)["auprc"][0])


@dataclass(frozen=True)
class Scored:
    """One track's AUPRC under all labels, and what its matched null is drawn from.

    Attributes
    ----------
    ids : array of str [n_genes]
    positive : bool array [n_genes]
        Genes of the set.
    facts : DataFrame [n_genes]
        detection, mean_rank.
    score : float array [n_genes]
        Of true labels and the first training seed.
    auprc : dict {(relabelling, seed): float}
    """

    ids: np.ndarray
    positive: np.ndarray
    facts: pd.DataFrame
    score: np.ndarray
    auprc: dict

    @property
    def by_seed(self):
        """AUPRC of true labels: {seed: float}, the first seed first."""
        return {seed: value for (b, seed), value in sorted(self.auprc.items()) if b == 0}

    @property
    def permuted(self):
        """AUPRC of dealt labels: float array [n_relabellings]."""
        return np.array([value for (b, _), value in sorted(self.auprc.items()) if b > 0])


def scored(scores, facts, members):
    """Return a track held against a gene set: `Scored`.

    Parameters
    ----------
    scores : dict {(relabelling, seed): Series by ensembl_id}
        seed is 0 of tracks that no model makes.
    facts : DataFrame, indexed by ensembl_id
        symbol, detection, mean_rank of the detected genes.
    members : set of str
    """
    ids = universe(scores, facts.index)
    own = facts.loc[ids]
    positive = membership(ids, own["symbol"].to_numpy(), members)
    found = {k: auprc(score.loc[ids].to_numpy(), positive, ids) for k, score in scores.items()}
    first = min(labels for labels in scores if labels[0] == 0)
    return Scored(ids, positive, own, scores[first].loc[ids].to_numpy(), found)


def matched_columns(of_track, n_draws, rng):
    """Return the columns matched_* of a track: its AUPRC against sets of other, like genes."""
    if not 0 < of_track.positive.sum() < len(of_track.ids):
        return {}
    levels = strata(*(of_track.facts[c].to_numpy() for c in ("detection", "mean_rank")))
    drawn = matched_draws(of_track.positive, levels, n_draws, rng)
    places = (
        *positions(of_track.score),
        precision_positions(of_track.score, of_track.ids),
    )
    observed = next(iter(of_track.by_seed.values()))
    dealt = dealt_sets(of_track.positive, levels, n_draws, rng)
    null, of_dealt = (set_metrics(sets, *places)["auprc"] for sets in (drawn, dealt))
    mean, sd, p = against_draws(observed, null, of_dealt)
    overlap = float(of_track.positive[drawn].mean())
    return {
        "matched_null_mean": mean,
        "matched_null_sd": sd,
        "matched_overlap": overlap,
        "matched_p": p,
    }


def track_row(of_track, n_draws, rng):
    """Return a row of table 'track_tests' but for its names: a track against both nulls."""
    seeds = list(of_track.by_seed.values())
    test = primary.permuted_test(seeds[0], of_track.permuted)
    n, k = len(of_track.ids), int(of_track.positive.sum())
    return {
        "auprc": seeds[0],
        "seed_low": min(seeds) if len(seeds) > 1 else np.nan,
        "seed_high": max(seeds) if len(seeds) > 1 else np.nan,
        "n_seeds": len(seeds),
        "base_rate": k / n if n else np.nan,
        "permuted_mean": test.mean,
        "permuted_sd": test.sd,
        "n_permuted": test.n,
        "permuted_p": test.p if test.n else np.nan,
        "effect": test.effect,
        "effect_low": test.low,
        "effect_high": test.high,
        **matched_columns(of_track, n_draws, rng),
        "n_genes": n,
        "n_positive": k,
    }


def track_table(of_models, of_references, named, n_draws):
    """Return table 'track_tests'.

    Parameters
    ----------
    of_models, of_references : dict {track: Scored}
    named : dict
        Section evidence.primary of the config.
    n_draws : int
        Random sets of the matched null.
    """
    rows = []
    for track, of_track in {**of_models, **of_references}.items():
        role = "exploratory" if track in of_models else "reference"
        role = "primary" if track == named["track"] else role
        rng = np.random.default_rng([404, zlib.crc32(track.encode())])
        names = {"track": track, "role": role, "gene_set": named["gene_set"]}
        names["regime"] = named["regime"] if track in of_models else None
        rows.append({**names, **track_row(of_track, n_draws, rng)})
    table = pd.DataFrame(rows, columns=TABLES["track_tests"].names)
    permuted = [of_track.permuted for of_track in of_models.values()]
    table["permuted_p_max"] = np.nan
    if permuted and len(permuted[0]) > 1:
        models = table["role"] != "reference"
        table.loc[models, "permuted_p_max"] = primary.max_t_p(
            table.loc[models, "auprc"].to_numpy(float), np.array(permuted)
        )
    order = {"primary": 0, "exploratory": 1, "reference": 2}
    return table.sort_values("role", key=lambda role: role.map(order), kind="stable")


def score_rows(track, of_track):
    """Return rows of table 'relabelled_scores'."""
    sizes = {"n_genes": len(of_track.ids), "n_positive": int(of_track.positive.sum())}
    return [
        {"track": track, "relabelling": b, "seed": seed or None, "auprc": value, **sizes}
        for (b, seed), value in of_track.auprc.items()
    ]


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


def test_primary(
    *,
    by_well,
    well_scores,
    predictions,
    genes,
    metrics,
    labels,
    counts,
    gene_set,
    out,
    named,
    tracks,
    min_effect,
    n_null_draws,
    brought,
):
    """Write the primary test of a study, and its exploratory companions.

    Parameters
    ----------
    by_well, well_scores, predictions : dict {Run: path}
        Of the primary regime: every run, on true and on dealt labels.
    genes, metrics, labels : path-like
        Tables of the primary task.
    counts : AnnData
        All detected genes of the cells (`cells/screen.h5ad`), raw counts.
    gene_set : (path, registry entry)
    out : dict {table: path}
        relabelled_scores, trained_accuracy, track_tests, primary.
    named : dict
        Section evidence.primary of the config.
    tracks : collection of str
        Tracks of models that are asked for.
    """
    members, task = read_gene_set(*gene_set), named["task"]
    facts = detected_genes(read_table(genes))
    paths = {"by_well": by_well, "well_scores": well_scores}
    of_models = {
        track: scored(scores, facts, members)
        for track, scores in scores_by_labels(paths, tracks).items()
    }
    table = read_table(labels)
    units, labelled = labelled_units(table, counts.obs, task)
    scaled = counts_per_10k(counts.X[labelled], counts.obs["n_counts"].to_numpy(float)[labelled])
    dealt = wilcoxon_scores(scaled, units, counts.var_names.to_numpy(str))
    references = {"wilcoxon": {(number, 0): score for number, score in dealt}}
    references |= {track: {(0, 0): facts[track]} for track in FIXED}
    references["mean_rank"][0, 0] = -facts["mean_rank"]
    of_references = {track: scored(s, facts, members) for track, s in references.items()}

    rows = [row for track, s in (of_models | of_references).items() for row in score_rows(track, s)]
    scores = pd.DataFrame(rows).astype({"seed": "Int64"})
    tests = track_table(of_models, of_references, named, n_null_draws)
    trained = trained_accuracy(
        {run: read_table(path) for run, path in predictions.items()}, named["regime"]
    )
    possible = units.unit, float(n_relabellings(units))
    accuracy = accuracy_columns(read_table(metrics), named["regime"])
    row = primary_row(
        tests, accuracy, trained, possible, named, min_effect=min_effect, brought=brought
    )
    log.info(
        "%s of %s on %s: %s (%s)",
        *(named["track"], named["regime"], named["gene_set"], row["outcome"], row["reason"]),
    )
    write_table(scores, out["relabelled_scores"], "relabelled_scores")
    write_table(trained, out["trained_accuracy"], "trained_accuracy")
    write_table(tests, out["track_tests"], "track_tests")
    write_table(pd.DataFrame([row]), out["primary"], "primary")


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
