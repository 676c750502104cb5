"""Tracks held against a gene set and both nulls: relabelled models, and matched random sets.

A gene set is held against the genes that are scored under all labels, so that no AUPRC has another
base rate than the one it is compared with.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from keygenes.cells.relabel import n_relabellings, relabellings
from keygenes.core.schemas import TABLES
from keygenes.evidence import primary
from keygenes.evidence.agreement import positions, precision_positions, set_metrics
from keygenes.evidence.gene_sets import membership
from keygenes.evidence.matched import matched
from keygenes.expression.rank_sums import strongest_z, unit_rank_sums


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
    auprc: dict[tuple[int, int], float]

    @property
    def by_seed(self) -> dict[int, float]:
        """AUPRC of true labels: {seed: float}, in the order of the config."""
        return {seed: value for (b, seed), value in self.auprc.items() if b == 0}

    @property
    def permuted(self) -> np.ndarray:
        """AUPRC of dealt labels: float array [n_relabellings]."""
        return np.array([value for (b, _), value in self.auprc.items() if b > 0])


def scored(scores, facts, members):
    """Return a track held against a gene set: `Scored`.

    Parameters
    ----------
    scores : dict {(relabelling, seed): Series by ensembl_id}
        Of true labels first, the seed that is tested first of all; 0 of tracks without a model.
    facts : DataFrame, indexed by ensembl_id
        symbol, detection, mean_rank of the detected genes.
    members : set of str
    """
    ids = universe(scores, facts.index)
    own = facts.loc[ids]
    positive = membership(ids, own["symbol"].to_numpy(), members)
    found = {k: auprc(score.loc[ids].to_numpy(), positive, ids) for k, score in scores.items()}
    return Scored(ids, positive, own, next(iter(scores.values())).loc[ids].to_numpy(), found)


def matched_columns(of_track, n_draws, rng):
    """Return the columns matched_* of a track: its AUPRC against sets of other, like genes."""
    if not 0 < of_track.positive.sum() < len(of_track.ids):
        return {}
    score, ids = of_track.score, of_track.ids
    places = (*positions(score), precision_positions(score, ids))
    observed = {"auprc": next(iter(of_track.by_seed.values()))}
    null = matched(of_track.positive, of_track.facts, n_draws, rng)
    return null.columns(observed, places)["auprc"]


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
    table[["permuted_p_max", "max_t_threshold"]] = np.nan
    if permuted:
        models = table["role"] != "reference"
        observed = table.loc[models, "auprc"].to_numpy(float)
        found = primary.max_t(observed, np.array(permuted))
        table.loc[models, ["permuted_p_max", "max_t_threshold"]] = np.transpose(found)
    order = {"primary": 0, "exploratory": 1, "reference": 2}
    return table.sort_values("role", key=lambda role: role.map(order), kind="stable")


def score_rows(track, of_track):
    """Return rows of table 'relabelled_scores'."""
    sizes = {"n_genes": len(of_track.ids), "n_positive": int(of_track.positive.sum())}
    return [
        {"track": track, "relabelling": b, "seed": seed or None, "auprc": value, **sizes}
        for (b, seed), value in of_track.auprc.items()
    ]
