"""Evidence tracks: each a table of gene x score, larger meaning more key.

The tracks of `core.tracks.BASELINES` need no transformer and are what any claim about one is held
against. Those of a model come from sums per well, of attention (`keygenes.attention`) and of
attributions. "Pooled" is over seeds: with as many replicates as seeds every cell once, seen by the
model that was not trained on its well.
"""

import numpy as np
import pandas as pd
import scipy.stats

from keygenes.attention.subsets import TEST
from keygenes.core.tracks import ATTRIBUTIONS, BY_WELL
from keygenes.evidence.moderated import moderated_t

MIN_CELLS = 10  # behind a mean; of fewer than twice as many cells half are enough
MIN_WELLS = {"attention_residual": 2}
EMPTY = {
    "regime": None,
    "seed": None,
    "direction": np.nan,
    "ci_low": np.nan,
    "ci_high": np.nan,
    "null_mean": np.nan,
    "null_sd": np.nan,
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


def logistic_tracks(coefficients, n_cells):
    """Return the track of a sparse logistic regression on genes, per seed and averaged over them.

    Parameters
    ----------
    coefficients : dict {seed: table 'coefficients'}
        A gene that a seed's training cells do not have counts as zero in the average.
    n_cells : Series, indexed by ensembl_id
    """
    tables = {
        seed: table[table["baseline"].astype(str) == "bag_of_genes_l1"].set_index("ensembl_id")
        for seed, table in coefficients.items()
    }
    if not tables:
        return []
    scores = pd.DataFrame({seed: table["score"] for seed, table in tables.items()}).fillna(0)
    signed = pd.DataFrame(
        {seed: table["score"] * table["direction"] for seed, table in tables.items()}
    ).fillna(0)
    n = n_cells.reindex(scores.index).fillna(0).astype(int).to_numpy()
    ids = scores.index.to_numpy(str)
    every = [(seed, scores[seed], signed[seed]) for seed in scores]
    every.append((None, scores.mean(axis=1), signed.mean(axis=1)))
    return [
        track(
            "logistic_l1", ids, score.to_numpy(), n, seed=seed, direction=np.sign(sign.to_numpy())
        )
        for seed, score, sign in every
    ]


def random_track(ensembl_ids, n_cells):
    """Return scores drawn at random, the same in every run: what chance looks like."""
    order = np.argsort(np.asarray(ensembl_ids, str))
    score = np.empty(len(order))
    score[order] = np.random.default_rng(402).random(len(order))
    return track("random", ensembl_ids, score, n_cells)


def gene_totals(by_gene, places=None):
    """Return attention per gene over classes, layers and heads of the test cells.

    Parameters
    ----------
    by_gene : table 'by_gene'
        Only its rows of all layers and heads together are needed if `places` is given.
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


def expression_tracks(totals):
    """Return the tracks that need no trained model: detection and mean rank.

    From `gene_totals` of any one regime, its seeds concatenated: where genes stand in a cell does
    not depend on the model.
    A gene near the top of its cells (small mean rank) scores high.
    """
    ids, n = totals.index.to_numpy(), totals["n_cells"].to_numpy()
    return [
        track("detection", ids, n.astype(float), n),
        track("mean_rank", ids, -totals["rank_mean"].to_numpy(), n),
    ]


# Sums per well


def well_groups(obs, labels, vehicle):
    """Return the group of every well that is whole in one: 'contrast' or 'reference'.

    Contrast wells hold cells of the task's last class. Reference wells hold untreated cells; where
    these are of the last class, or there are none, cells of the first class.

    Parameters
    ----------
    obs : DataFrame [n_cells]
        With the column well; without it there are no groups.
    labels : categorical [n_cells]
    vehicle : bool array [n_cells]

    Returns
    -------
    dict {well: group}
    """
    if "well" not in obs or obs["well"].nunique() < 2:
        return {}
    labels = pd.Categorical(labels)
    last, vehicle = labels.codes == len(labels.categories) - 1, np.asarray(vehicle, bool)
    reference = vehicle if vehicle.any() and not (vehicle & last).any() else labels.codes == 0
    frame = pd.DataFrame(
        {"well": obs["well"].astype(object).to_numpy(), "last": last, "reference": reference}
    ).dropna(subset=["well"])
    whole = frame.assign(well=frame["well"].astype(str)).groupby("well").all()
    return {
        well: "contrast" if row.last else "reference"
        for well, row in zip(whole.index, whole.itertuples(), strict=True)
        if row.last or row.reference
    }


def well_matrices(tables, columns):
    """Return sums per well and gene as matrices, several seeds' added up.

    Parameters
    ----------
    tables : list of DataFrame
        Columns well, ensembl_id, n_cells and those of `columns`; one row per well and gene.

    Returns
    -------
    dict
        wells, genes (arrays of str, sorted), n_cells and every column (float arrays
        [n_wells, n_genes]; zero where there is nothing).
    """
    wells = np.array(sorted(set().union(*(table["well"].astype(str).unique() for table in tables))))
    genes = np.array(
        sorted(set().union(*(table["ensembl_id"].astype(str).unique() for table in tables)))
    )
    shape = (len(wells), len(genes))
    found = {name: np.zeros(shape[0] * shape[1]) for name in ("n_cells", *columns)}
    for table in tables:
        place = _codes(table["well"], wells) * shape[1] + _codes(table["ensembl_id"], genes)
        for name, sums in found.items():
            values = table[name].to_numpy(float)
            sums += np.bincount(place, weights=values, minlength=len(sums))
    return {"wells": wells, "genes": genes} | {k: v.reshape(shape) for k, v in found.items()}


def _codes(column, names):
    column = pd.Categorical(column)
    return np.searchsorted(names, column.categories.astype(str).to_numpy(str))[column.codes]


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


def cells_of_wells(counts):
    """Return the cells of every well: those that express its most often detected gene."""
    return counts.max(axis=1, initial=0)


def mean_score(sums, counts, min_wells=1):
    """Return the mean over the cells that express each gene, NaN where these are too few.

    At least `MIN_CELLS` cells, or half of the cells where this is less, of `min_wells` wells.

    Parameters
    ----------
    sums, counts : float arrays [n_wells, n_genes]
    """
    n = counts.sum(0)
    least = min(MIN_CELLS, max(1.0, cells_of_wells(counts).sum() / 2))
    wells = min(min_wells, max(1, len(counts)))
    enough = (n >= least) & ((counts > 0).sum(0) >= wells)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, sums.sum(0) / n, np.nan)


def track_scores(name, matrices, places, rows=slice(None)):
    """Return the score of every gene on a track of a model, from some of its wells.

    Parameters
    ----------
    name : str
        Of `ATTENTION` or `ATTRIBUTIONS`.
    matrices : result of `well_matrices`
    places : int
        Layers x heads, for the thesis's total.
    rows : index of wells

    Returns
    -------
    float array [n_genes]
    """
    counts = matrices["n_cells"][rows]
    if name == "attention_total":
        return np.where(counts.sum(0) > 0, places * matrices["sum"][rows].sum(0), np.nan)
    column = BY_WELL.get(name, "sum_absolute")
    return mean_score(matrices[column][rows], counts, MIN_WELLS.get(name, 1))


def well_tests(values, wells, groups):
    """Return effect, p, q and n_wells of contrast against reference wells (moderated t).

    Parameters
    ----------
    values : float array [n_wells, n_genes]
        Means of wells; NaN: none.
    wells : sequence of str [n_wells]
    groups : dict {well: 'contrast' or 'reference'}

    Returns
    -------
    dict of float arrays [n_genes]
        q: Benjamini-Hochberg over the genes tested.
    """
    of_wells = np.array([groups.get(well, "") for well in wells])
    test = moderated_t(values[of_wells == "contrast"], values[of_wells == "reference"])
    q = np.full(values.shape[1], np.nan)
    known = ~np.isnan(test["p"])
    if known.any():
        q[known] = scipy.stats.false_discovery_control(test["p"][known])
    return {"effect": test["effect"], "p": test["p"], "q": q}


def model_track(name, matrices, places, groups, **names):
    """Return a track of one model, or of all seeds' together.

    Parameters
    ----------
    name : str
        Of `ATTENTION` or `ATTRIBUTIONS`.
    matrices : result of `well_matrices`
    places : int
        Layers x heads.
    groups : dict {well: 'contrast' or 'reference'}, or None
        None: scores alone, as for the few wells of a single fold.
    **names
        regime, seed.

    Returns
    -------
    DataFrame
        The score of an attribution is its mean absolute value, direction and effect are of the
        signed one. Of attention, direction is the effect's. Effects on the total are per cell of
        a well, whatever the number of its cells.
    """
    counts = matrices["n_cells"]
    score = track_scores(name, matrices, places)
    column = BY_WELL.get(name, "sum" if name == "attention_total" else "sum_absolute")
    signed = matrices["sum"] if name in ATTRIBUTIONS else matrices[column]
    columns = {"n_wells": (counts > 0).sum(0)}
    if name in ATTRIBUTIONS:
        columns["direction"] = np.sign(signed.sum(0))
    if len(counts) < 2:
        columns["n_wells"] = None
    elif groups is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            if name == "attention_total":
                # A gene that a well's cells do not express has received nothing there.
                means = places * signed / cells_of_wells(counts)[:, None]
            else:
                means = np.where(counts > 0, signed / counts, np.nan)
        means[:, np.isnan(score)] = np.nan
        columns |= well_tests(means, matrices["wells"], groups)
        if name not in ATTRIBUTIONS:
            columns["direction"] = np.sign(columns["effect"])
        if name != "attention_total":
            _, columns["ci_low"], columns["ci_high"] = ratio_interval(matrices[column], counts)
    return track(name, matrices["genes"], score, counts.sum(0).astype(int), **columns, **names)


def interval_over_cells(totals, ensembl_ids):
    """Return the 95 % interval of `received` over cells, for cells that have no wells."""
    totals = totals.reindex(ensembl_ids)
    half = scipy.stats.norm.ppf(0.975) * totals["sd"] / np.sqrt(totals["n_cells"])
    return (totals["received"] - half).to_numpy(), (totals["received"] + half).to_numpy()


def with_null(frame, permuted):
    """Return the evidence with null_mean and null_sd of the models with permuted labels.

    Over their seeds; the total of pooled rows is a sum over seeds, so its null is as well. Only
    models that are trained alike, on the same tokens, have it: a regime that trains less, or reads
    other tokens, differs from such a null for that reason alone.

    Parameters
    ----------
    frame : evidence of all tracks
    permuted : dict {regime with permuted labels: the regime that differs in its labels alone}
    """
    seeds = frame["seed"].notna()
    of_seeds = frame[seeds].groupby("regime")["seed"].nunique()
    keys = pd.MultiIndex.from_frame(frame[["track", "ensembl_id"]])
    for control, regime in permuted.items():
        null = frame[(frame["regime"] == control) & seeds]
        null = null.groupby(["track", "ensembl_id"])["score"].agg(["mean", "std"]).reindex(keys)
        alike = (frame["regime"] == regime).to_numpy()
        factor = np.where(
            (frame["track"] == "attention_total") & ~seeds, of_seeds.get(regime, 1.0), 1.0
        )
        mean, sd = null["mean"].to_numpy() * factor, null["std"].to_numpy() * np.sqrt(factor)
        frame = frame.assign(
            null_mean=np.where(alike, mean, frame["null_mean"]),
            null_sd=np.where(alike, sd, frame["null_sd"]),
        )
    return frame
