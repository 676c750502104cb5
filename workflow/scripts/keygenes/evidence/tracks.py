"""Evidence tracks: each a table of gene x score, larger meaning more key.

Differential expression, detection and mean rank are what any claim about attention is held
against; the attention tracks come from the statistics of `keygenes.attention`.
"""

import numpy as np
import pandas as pd
import scipy.stats

from keygenes.attention.subsets import TEST

EMPTY = {
    "regime": None,
    "seed": None,
    "direction": np.nan,
    "ci_low": np.nan,
    "ci_high": np.nan,
    "null_mean": np.nan,
    "null_sd": np.nan,
    "q": np.nan,
}


def track(name, ensembl_ids, score, n_cells, **columns):
    """Return one track in the evidence contract, ranked by falling score (ties by id).

    Parameters
    ----------
    name : str
    ensembl_ids : array of str [n_genes]
    score : float array [n_genes]
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


def strongest_tests(wilcoxon):
    """Return one test against the rest per gene, by falling |z|: that of its strongest class.

    Of two classes each test is the other's mirror image; the last class's is taken, so that the
    sign means the same for every gene.

    Parameters
    ----------
    wilcoxon : table 'wilcoxon' of one task
    """
    frame = wilcoxon[wilcoxon["reference"] == "rest"]
    groups = list(frame["group"].drop_duplicates())
    if len(groups) == 2:
        frame = frame[frame["group"] == groups[-1]]
    frame = frame.assign(abs_statistic=frame["statistic"].abs())
    order = {"by": ["abs_statistic", "ensembl_id"], "ascending": [False, True], "kind": "stable"}
    return frame.sort_values(**order).drop_duplicates("ensembl_id")


def wilcoxon_track(wilcoxon):
    """Return the differential-expression track: |z| of each gene's strongest class."""
    frame = strongest_tests(wilcoxon)
    return track(
        "wilcoxon",
        frame["ensembl_id"].to_numpy(),
        frame["abs_statistic"].to_numpy(),
        frame["n_cells"].to_numpy(),
        direction=np.sign(frame["log2fc"].to_numpy()),
        q=frame["p_adj"].to_numpy(),
    )


def ratio_interval(sums, counts):
    """Return mean and 95 % interval of sum(s)/sum(n) over wells (Taylor-linearised, t quantile).

    Parameters
    ----------
    sums, counts : float arrays [n_wells, n_genes]
        Zero where a well has no cell with the gene.

    Returns
    -------
    mean, low, high : float arrays [n_genes]
        The interval is missing where fewer than two wells have the gene.
    """
    n = counts.sum(0)
    wells = (counts > 0).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / n
        residual = sums - mean * counts
        variance = wells / (wells - 1) * (residual**2).sum(0) / n**2
        half = scipy.stats.t.ppf(0.975, np.maximum(1, wells - 1)) * np.sqrt(variance)
    half = np.where(wells > 1, half, np.nan)
    return mean, mean - half, mean + half


def gene_totals(by_gene):
    """Return attention per gene over classes, layers and heads of the test cells.

    Returns
    -------
    DataFrame, indexed by ensembl_id
        total (sum over cells of the attention summed over layers and heads, the thesis's
        measure), received (mean over expressing cells of the mean over layers and heads), sd,
        n_cells, rank_mean, rank_sd.
    """
    table = by_gene[by_gene["subset"] == TEST]
    places = int(table["layer"].max() * table["head"].max())
    table = table[table["layer"].isna()]
    n = table["n_cells"].to_numpy(float)
    squares = _squares(table["mean"], table["sd"], n)
    rank_squares = _squares(table["rank_mean"], table["rank_sd"], n)
    sums = (
        pd.DataFrame(
            {
                "ensembl_id": table["ensembl_id"].astype(str),
                "n_cells": n,
                "sum": table["sum"],
                "squares": squares,
                "rank_sum": table["rank_mean"] * n,
                "rank_squares": rank_squares,
            }
        )
        .groupby("ensembl_id")
        .sum()
    )
    n = sums["n_cells"]
    received, rank_mean = sums["sum"] / n, sums["rank_sum"] / n
    return pd.DataFrame(
        {
            "total": sums["sum"] * places,
            "received": received,
            "sd": _sd(sums["squares"], received, n),
            "n_cells": n.astype(int),
            "rank_mean": rank_mean,
            "rank_sd": _sd(sums["rank_squares"], rank_mean, n),
        }
    )


def _squares(mean, sd, n):
    return n * mean**2 + (n - 1) * sd.fillna(0) ** 2


def _sd(squares, mean, n):
    variance = (squares - n * mean**2) / (n - 1)
    return np.sqrt(variance.where(n > 1).clip(lower=0))


def received_interval(by_well, totals):
    """Return the 95 % interval of `received` per gene, aligned with `totals`.

    Over wells where the cells have wells, over cells otherwise.
    """
    table = by_well[by_well["subset"] == TEST]
    if table["well"].nunique() < 2:
        half = scipy.stats.norm.ppf(0.975) * totals["sd"] / np.sqrt(totals["n_cells"])
        return (totals["received"] - half).to_numpy(), (totals["received"] + half).to_numpy()
    index = {"index": "well", "columns": "ensembl_id", "aggfunc": "sum", "observed": True}
    counts = table.pivot_table(values="n_cells", **index).reindex(columns=totals.index)
    sums = table.pivot_table(values="sum", **index).reindex(columns=totals.index)
    _, low, high = ratio_interval(sums.fillna(0).to_numpy(), counts.fillna(0).to_numpy())
    return low, high


def attention_tracks(by_gene, by_well, regime, seed, min_cells=10):
    """Return the tracks attention_total (the thesis's) and attention_received of one model.

    Genes that fewer than `min_cells` cells express get no `received`: its mean is noise.
    """
    totals = gene_totals(by_gene)
    low, high = received_interval(by_well, totals)
    names = {"regime": regime, "seed": seed}
    ids, n = totals.index.to_numpy(), totals["n_cells"].to_numpy()
    received = totals["received"].where(totals["n_cells"] >= min_cells).to_numpy()
    return [
        track("attention_total", ids, totals["total"].to_numpy(), n, **names),
        track("attention_received", ids, received, n, ci_low=low, ci_high=high, **names),
    ]


def expression_tracks(by_gene):
    """Return the tracks that need no trained model: detection and mean rank.

    From any one regime, its seeds concatenated: where genes stand in a cell does not depend on
    the model.
    A gene near the top of its cells (small mean rank) scores high.
    """
    totals = gene_totals(by_gene)
    ids, n = totals.index.to_numpy(), totals["n_cells"].to_numpy()
    return [
        track("detection", ids, n.astype(float), n),
        track("mean_rank", ids, -totals["rank_mean"].to_numpy(), n),
    ]
