"""Evidence tracks: each a table of gene x score, larger meaning more key.

The tracks of `core.tracks.BASELINES` need no transformer and are what any claim about one is held
against. Those of a model come from sums per well, of attention (`keygenes.attention`) and of
attributions. "Pooled" is over folds and seeds: every cell is seen by the models that were not
trained on its well, and counts once however often its fold was trained (means over seeds).
"""

import numpy as np
import pandas as pd
import scipy

from keygenes.attention.subsets import TEST
from keygenes.core.tracks import FROM_SCORES, track_named
from keygenes.evidence.well_sums import cells_of_wells, mean_score, ratio_interval, well_tests

EMPTY = {
    "regime": None,
    "seed": None,
    "direction": np.nan,
    "ci_low": np.nan,
    "ci_high": np.nan,
    "permuted_mean": np.nan,
    "permuted_sd": np.nan,
    "effect": np.nan,
    "p": np.nan,
    "q": np.nan,
    "n_wells": None,
}


def track(name, ensembl_ids, score, n_cells, **columns):
    """Return one track in the evidence contract, ranked by falling score (ties by id).

    Parameters
    ----------
    name : str
    ensembl_ids : array of str [n_genes]
    score : float array [n_genes]
        Genes without one (NaN) are left out.
    n_cells : int array or int
        Cells behind each score.
    **columns
        Any of the contract's other columns.
    """
    frame = pd.DataFrame({"ensembl_id": np.asarray(ensembl_ids, str), "score": np.asarray(score)})
    for column, empty in EMPTY.items():
        frame[column] = columns.get(column, empty)
    frame["n_cells"] = n_cells
    frame = frame.dropna(subset=["score"])
    frame = frame.sort_values(["score", "ensembl_id"], ascending=[False, True], kind="stable")
    frame["rank"] = np.arange(1, len(frame) + 1)
    return frame.assign(track=name)


def strongest_tests(tests, by="statistic"):
    """Return one test against the rest per gene, by falling |`by`|: that of its strongest class.

    Of two classes each test is the other's mirror image; the last class's is taken, so that the
    sign means the same for every gene.

    Parameters
    ----------
    tests : table 'wilcoxon', 'pseudobulk' or 'half_tests' of one task
        Genes without a value in `by` are left out.
    """
    frame = tests[tests["reference"] == "rest"].dropna(subset=[by])
    groups = list(frame["group"].drop_duplicates())
    if len(groups) == 2:
        frame = frame[frame["group"] == groups[-1]]
    frame = frame.assign(**{f"abs_{by}": frame[by].abs()})
    order = {"by": [f"abs_{by}", "ensembl_id"], "ascending": [False, True], "kind": "stable"}
    return frame.sort_values(**order).drop_duplicates("ensembl_id")


def expression_tests(name, tests, by="statistic", n_cells=None):
    """Return a track of differential expression: |`by`| of each gene's strongest class.

    Parameters
    ----------
    name : str
        wilcoxon (|z|), pseudobulk (|Wald statistic|) or mean_difference (|log2fc|, of mean counts
        per 10,000; not a test: it has no p).
    tests : table 'wilcoxon' or 'pseudobulk' of one task
    n_cells : dict {group: int}, optional
        Where the table has none.

    Returns
    -------
    DataFrame
        p and q of tests between wells alone: cells of a well are no replicates of each other, so
        the p of a test between cells stays in the table 'wilcoxon'. p of the strongest of more
        than two classes is times their number; q is Benjamini-Hochberg over the genes.
    """
    frame = strongest_tests(tests, by)
    columns = {}
    if "n_wells" in frame:
        groups = tests.loc[tests["reference"] == "rest", "group"].nunique()
        p = np.minimum(1, frame["p"] * (groups if groups > 2 else 1)).to_numpy()
        q = np.full(len(p), np.nan)
        q[~np.isnan(p)] = scipy.stats.false_discovery_control(p[~np.isnan(p)])
        columns = {"p": p, "q": q}
        columns["n_wells"] = (frame["n_wells"] + frame["n_reference"]).to_numpy()
    cells = frame["n_cells"] if "n_cells" in frame else frame["group"].astype(str).map(n_cells)
    return track(
        name,
        frame["ensembl_id"].to_numpy(),
        frame[f"abs_{by}"].to_numpy(),
        cells.to_numpy(),
        direction=np.sign(frame["log2fc"].to_numpy()),
        effect=frame["log2fc"].to_numpy(),
        **columns,
    )


def logistic_track(coefficients, n_cells):
    """Return the track of a sparse logistic regression on genes, averaged over folds.

    Parameters
    ----------
    coefficients : sequence of table 'coefficients'
        One per fold. A gene that a fold's training cells do not have counts as zero.
    n_cells : Series, indexed by ensembl_id
    """
    tables = [
        table[table["baseline"].astype(str) == "bag_of_genes_l1"].set_index("ensembl_id")
        for table in coefficients
    ]
    scores = pd.concat([table["score"] for table in tables], axis=1).fillna(0).mean(axis=1)
    signed = [table["score"] * table["direction"] for table in tables]
    signed = pd.concat(signed, axis=1).fillna(0).mean(axis=1).reindex(scores.index)
    n = n_cells.reindex(scores.index).fillna(0).astype(int).to_numpy()
    ids = scores.index.to_numpy(str)
    direction = np.sign(signed.to_numpy())
    return track("logistic_l1", ids, scores.to_numpy(), n, direction=direction)


def random_track(ensembl_ids, n_cells):
    """Return scores drawn at random, the same in every run: what chance looks like."""
    order = np.argsort(np.asarray(ensembl_ids, str))
    score = np.empty(len(order))
    score[order] = np.random.default_rng(402).random(len(order))
    return track("random", ensembl_ids, score, n_cells)


def counted_once(tables):
    """Return tables of several runs as one, with the share of each: a cell counts once.

    Parameters
    ----------
    tables : dict {(fold, seed): DataFrame}

    Returns
    -------
    DataFrame
        share: one over the number of runs of the same fold, which see the same cells.
    """
    runs = pd.Series([fold for fold, _ in tables]).value_counts()
    frames = [table.assign(share=1 / runs[fold]) for (fold, _), table in tables.items()]
    return pd.concat(frames, ignore_index=True)


def gene_totals(by_gene, places=None):
    """Return attention per gene over classes, layers and heads of the test cells.

    Parameters
    ----------
    by_gene : table 'by_gene'
        Only its rows of all layers and heads together are needed if `places` is given. With
        the column share (`counted_once`) rows count that much.
    places : int, optional
        Layers x heads.

    Returns
    -------
    DataFrame, indexed by ensembl_id
        total (sum over cells of the attention summed over layers and heads, the thesis's
        measure), received (mean over expressing cells of the mean over layers and heads), sd,
        n_cells, rank_mean, rank_sd.
    """
    table = by_gene[by_gene["subset"] == TEST]
    if places is None:
        places = int(table["layer"].max() * table["head"].max())
    table = table[table["layer"].isna()]
    n = table["n_cells"].to_numpy(float)
    share = table["share"].to_numpy() if "share" in table else 1.0
    sums = pd.DataFrame(
        {
            "n_cells": n,
            "sum": table["sum"],
            "squares": _squares(table["mean"], table["sd"], n),
            "rank_sum": table["rank_mean"] * n,
            "rank_squares": _squares(table["rank_mean"], table["rank_sd"], n),
        }
    ).mul(share, axis=0)
    sums = sums.groupby(table["ensembl_id"].astype(str)).sum()
    n = sums["n_cells"] = sums["n_cells"].round(6)  # thirds add up to whole cells
    received, rank_mean = sums["sum"] / n, sums["rank_sum"] / n
    return pd.DataFrame(
        {
            "total": sums["sum"] * places,
            "received": received,
            "sd": _sd(sums["squares"], received, n),
            "n_cells": n.round().astype(int),
            "rank_mean": rank_mean,
            "rank_sd": _sd(sums["rank_squares"], rank_mean, n),
        }
    )


def _squares(mean, sd, n):
    return n * mean**2 + (n - 1) * sd.fillna(0) ** 2


def _sd(squares, mean, n):
    variance = (squares - n * mean**2) / (n - 1)
    return np.sqrt(variance.where(n > 1).clip(lower=0))


def expression_tracks(totals):
    """Return the tracks that need no trained model: detection and mean rank.

    From `gene_totals` of any one regime, pooled: where genes stand in a cell does
    not depend on the model.
    A gene near the top of its cells (small mean rank) scores high.
    """
    ids, n = totals.index.to_numpy(), totals["n_cells"].to_numpy()
    return [
        track("detection", ids, n.astype(float), n),
        track("mean_rank", ids, -totals["rank_mean"].to_numpy(), n),
    ]


# Of models


def track_scores(name, matrices, places, rows=slice(None)):
    """Return the score of every gene on a track of a model, from some of its wells.

    Parameters
    ----------
    name : str
        Of attention, of an attribution, or of a reader that was brought along.
    matrices : result of `well_matrices`
    places : int
        Layers x heads, for the thesis's total.
    rows : index of wells

    Returns
    -------
    float array [n_genes]
    """
    counts = matrices["n_cells"][rows]
    facts = track_named(name)
    sums = matrices[facts.column][rows]
    if not facts.mean:
        return np.where(counts.sum(0) > 0, places * sums.sum(0), np.nan)
    return mean_score(sums, counts, facts.least_wells)


def model_track(name, matrices, places, groups, **names):
    """Return a track of the models of one training seed, or of all together.

    Parameters
    ----------
    name : str
        Of attention, of an attribution, or of a reader that was brought along.
    matrices : result of `well_matrices`
    places : int
        Layers x heads.
    groups : dict {well: 'contrast' or 'reference'}, or None
        None: scores alone, as for a single training seed.
    **names
        regime, seed.

    Returns
    -------
    DataFrame
        The score of an attribution is its mean absolute value, direction and effect are of the
        signed one. Of attention, direction is the effect's. Effects on the total are per cell of
        a well, whatever the number of its cells. n_cells is rounded: where some trainings alone
        reject a cell, it is a mean over them.
    """
    counts = matrices["n_cells"]
    score = track_scores(name, matrices, places)
    facts = track_named(name)
    signed = matrices["sum"] if facts.kind in FROM_SCORES else matrices[facts.column]
    columns = {"n_wells": (counts > 0).sum(0)}
    if facts.kind in FROM_SCORES:
        columns["direction"] = np.sign(signed.sum(0))
    if len(counts) < 2:
        columns["n_wells"] = None
    elif groups is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            if not facts.mean:
                # A gene that a well's cells do not express has received nothing there.
                means = places * signed / cells_of_wells(counts)[:, None]
            else:
                means = np.where(counts > 0, signed / counts, np.nan)
        means[:, np.isnan(score)] = np.nan
        columns |= well_tests(means, matrices["wells"], groups)
        if facts.kind not in FROM_SCORES:
            columns["direction"] = np.sign(columns["effect"])
        if facts.mean:
            _, columns["ci_low"], columns["ci_high"] = ratio_interval(
                matrices[facts.column], counts
            )
    n_cells = np.rint(counts.sum(0)).astype(int)
    return track(name, matrices["genes"], score, n_cells, **columns, **names)


def interval_over_cells(totals, ensembl_ids):
    """Return the 95 % interval of `received` over cells, for cells that have no wells.

    Over several seeds the spread between cells holds that between seeds too: it is rather wide.
    """
    totals = totals.reindex(ensembl_ids)
    half = scipy.stats.norm.ppf(0.975) * totals["sd"] / np.sqrt(totals["n_cells"])
    return (totals["received"] - half).to_numpy(), (totals["received"] + half).to_numpy()


def permuted_genes(table):
    """Return mean and sd of every gene's score over models of dealt labels.

    Parameters
    ----------
    table : table 'relabelled_genes'

    Returns
    -------
    dict {track: DataFrame, indexed by ensembl_id}
        permuted_mean, permuted_sd (missing where fewer than two models score the gene).
    """
    dealt = table[table["relabelling"] > 0].astype({"track": str, "ensembl_id": str})
    return {
        track: rows.groupby("ensembl_id")["score"].agg(permuted_mean="mean", permuted_sd="std")
        for track, rows in dealt.groupby("track", sort=False)
    }


def with_permuted(frame, permuted):
    """Return a track with permuted_mean and permuted_sd of its genes.

    Parameters
    ----------
    frame : result of `track`
    permuted : DataFrame, indexed by ensembl_id, or None
        Columns permuted_mean, permuted_sd.
    """
    if permuted is None:
        return frame
    own = permuted.reindex(frame["ensembl_id"])
    return frame.assign(**{column: own[column].to_numpy() for column in own})
