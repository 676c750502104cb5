"""What the tests of claims read: one number, one series of layers, ranks or genes of a study.

Every function takes ``tables``, a dict {name: {task: table}}, and raises `NotTestable` with the
reason where the study lacks what is asked for.
"""

import fnmatch

import numpy as np
import pandas as pd
import scipy

from keygenes.attention.subsets import TEST

RUN = ["fold", "seed"]


class NotTestable(Exception):
    """The study lacks what a claim is about; the message says what."""


def accuracy_row(tables, task, regime, design=None, metric="accuracy"):
    """Return the pooled test accuracy of a regime or baseline: value, ci_low, ci_high, n's.

    Parameters
    ----------
    design : str, optional
        'grouped' or 'random'; baselines have a row for each.
    metric : str
        Or another metric of table 'metrics'.
    """
    table = tables["metrics"][task]
    rows = table[
        (table["regime"] == regime)
        & (table["metric"] == metric)
        & (table["split"] == TEST)
        & table["fold"].isna()
        & table["seed"].isna()
    ]
    if design is not None:
        rows = rows[rows["design"] == design]
    if rows.empty:
        raise NotTestable(f"the study has no {metric} of '{regime}' for task {task}")
    if rows["ci_low"].isna().iloc[0]:
        unit = rows["unit"].iloc[0]
        raise NotTestable(f"there is one {unit} per class in task {task}, so no interval")
    return rows.iloc[0]


def accuracy_gap(tables, task, regime, over):
    """Return how much better one regime is than another, with its interval.

    Metric 'accuracy_gain' has the interval over the same resamples for pairs with the study's
    main regime. For others the half-widths are added in squares, as if the two were independent:
    they are of the same wells, so that interval is wider than a paired one.

    Returns
    -------
    value, low, high : float
    paired : bool
    row : accuracy row of `regime`
    """
    a, b = accuracy_row(tables, task, regime), accuracy_row(tables, task, over)
    value = a["value"] - b["value"]
    for name, design, sign in ((over, b["design"], 1), (regime, a["design"], -1)):
        try:
            gain = accuracy_row(tables, task, name, design, "accuracy_gain")
        except NotTestable:
            continue
        if abs(sign * gain["value"] - value) < 1e-9:  # else the gain is that of a third regime
            low, high = sorted((sign * gain["ci_low"], sign * gain["ci_high"]))
            return value, low, high, True, a
    low = value - np.hypot(a["value"] - a["ci_low"], b["ci_high"] - b["value"])
    high = value + np.hypot(a["ci_high"] - a["value"], b["value"] - b["ci_low"])
    return value, low, high, False, a


def accuracies(tables, task, names, design):
    """Return [(name, accuracy row or None)] of controls on the design of what they control."""
    found = []
    for name in names:
        try:
            found.append((name, accuracy_row(tables, task, name, design)))
        except NotTestable:
            found.append((name, None))
    return found


def standard_error(low, high, n_units):
    """Return the standard error behind a 95 % interval, and its degrees of freedom.

    Strata hold two wells or more, so these are at least half as many as there are wells.
    """
    df = max(2, int(n_units) // 2)
    return (high - low) / (2 * scipy.stats.t.ppf(0.975, df)), df


def _of_pair(table, pair):
    return table[(table["a"] == pair[0]) & (table["b"] == pair[1])]


def change_by_layer(tables, task, pair, measure="cosine"):
    """Return 1 - similarity of the attention of two models, averaged over heads.

    Parameters
    ----------
    pair : [name, name], in either order
    measure : 'cosine', 'pearson' or 'spearman'

    Returns
    -------
    DataFrame, a row per run (fold, seed), a column per layer
    n_cells : int, test cells of all folds
    """
    table = tables["cosine"][task]
    rows = _of_pair(table, pair)
    rows = rows if len(rows) else _of_pair(table, pair[::-1])
    rows = rows[rows[measure].notna()] if measure in rows else rows.head(0)
    if rows.empty:
        raise NotTestable(
            f"the study does not compare {pair[0]} with {pair[1]} by {measure} for task {task} "
            "(attention.pairs)"
        )
    change = 1 - rows.groupby([*RUN, "layer"], observed=True)[measure].mean().unstack("layer")
    return change, int(rows.drop_duplicates("fold")["n_cells"].sum())


def change_between_trainings(tables, task, regime, layers):
    """Return 1 - cosine between two trainings of one regime, per layer, and what differs in words.

    This is what training changes by chance. The two share the fold and differ in the seed; where
    each fold is trained once they differ in the fold, which is more. None if not known.

    Returns
    -------
    (float array [n_layers], str) or None
    """
    table = tables.get("bounds", {}).get(task)
    if table is None:
        return None
    rows = table[(table["regime"] == regime) & table["cosine"].notna()]
    words = {"other_seed": "two trainings of {} on a fold", "other_fold": "two folds of {}"}
    for bound, text in words.items():
        of_bound = rows[rows["bound"] == bound].groupby("layer", observed=True)["cosine"].mean()
        if len(of_bound):
            return 1 - of_bound.reindex(layers).to_numpy(), text.format(regime)
    return None


def shift_by_rank(tables, task, pair):
    """Return the change of attention per rank over all layers, from pair's second to its first.

    Returns
    -------
    dict {(fold, seed): DataFrame}
        Sorted by rank: rank, sum_a, sum_b, n_cells, percent_residual (missing where not known).
    """
    rows = _of_pair(tables["rank_shift"][task], pair)
    rows = rows[rows["layer"].isna()]
    if rows.empty:
        raise NotTestable(
            f"the study does not compare {pair[0]} with {pair[1]} for task {task} (attention.pairs)"
        )
    if "percent_residual" not in rows:
        rows = rows.assign(percent_residual=np.nan)
    columns = ["rank", "sum_a", "sum_b", "n_cells", "percent_residual"]
    return {
        run: part.sort_values("rank")[columns].reset_index(drop=True)
        for run, part in rows.groupby(RUN, observed=True)
    }


def pooled_shift(shifts):
    """Return the shifts of all runs as one: sums added, residuals averaged over cells."""
    frame = pd.concat(shifts.values(), ignore_index=True)
    frame["weighted"] = frame["percent_residual"] * frame["n_cells"]
    sums = frame.groupby("rank")[["sum_a", "sum_b", "n_cells", "weighted"]].sum(min_count=1)
    sums["percent_residual"] = sums["weighted"] / sums["n_cells"]
    return sums.drop(columns="weighted").reset_index()


def shifted_cells(shifts):
    """Return how many test cells are behind the shifts of all runs: those of every fold once."""
    return sum({fold: int(shift["n_cells"].max()) for (fold, _), shift in shifts.items()}.values())


def percent(shift):
    """Return the change per rank in percent: float array [n_ranks]."""
    return 100 * (shift["sum_a"].to_numpy() / shift["sum_b"].to_numpy() - 1)


def median_length(shift):
    """Return the median length of the cells behind a shift: the last rank that half of them reach.

    Half of the cells of these very tokens, so that it also holds for a variant of the encoding.
    """
    reached = shift["n_cells"] >= shift["n_cells"].max() / 2
    return int(shift.loc[reached, "rank"].max())


def norm_by_layer(tables, task, regime, measure):
    """Return the mean norm per layer (over heads where it has them) of the test cells.

    Returns
    -------
    DataFrame, a row per run (fold, seed), a column per layer
    n_cells : int, of all folds
    """
    table = tables["norms"][task]
    rows = table[
        (table["regime"] == regime)
        & (table["measure"] == measure)
        & (table["subset"] == TEST)
        & table["layer"].notna()
    ]
    if rows.empty:
        raise NotTestable(f"the study has no norm '{measure}' of {regime} for task {task}")
    norms = rows.groupby([*RUN, "layer"], observed=True)["mean"].mean().unstack("layer")
    return norms, int(rows.drop_duplicates("fold")["n_cells"].sum())


def beside(table, index):
    """Return a table by run for the runs of another; a model of one seed stands beside them all."""
    first = table.groupby("fold").first().reindex(index.get_level_values("fold"))
    return table.reindex(index).fillna(first.set_axis(index))


def norm_between_trainings(norms):
    """Return how far the norms of two runs of a regime lie apart, per layer, and what differs.

    None of a single run.
    """
    for level, text in (("fold", "two trainings on a fold"), (None, "two folds")):
        parts = [part for _, part in norms.groupby(level)] if level else [norms]
        pairs = [
            np.abs(part.to_numpy()[i] - part.to_numpy()[j])
            for part in parts
            for i in range(len(part))
            for j in range(i)
        ]
        if pairs:
            return np.mean(pairs, axis=0), text
    return None


def ranked_genes(tables, task, track, regime):
    """Return the genes of a track by falling pooled score, and those of every training seed.

    Tracks without a model (differential expression) are the same for every regime. Where a track
    has no pooled rows, the mean score over seeds stands for them.

    Returns
    -------
    DataFrame
        ensembl_id, symbol, score, n_cells; the first row is the most key gene.
    dict {seed: such a DataFrame}
    """
    table = tables["genes"][task]
    rows = table[(table["track"] == track) & ((table["regime"] == regime) | table["regime"].isna())]
    if rows.empty:
        raise NotTestable(f"the study has no track '{track}' of {regime} for task {task}")
    columns = ["ensembl_id", "symbol", "score", "n_cells"]

    def ordered(frame):
        order = {"by": ["score", "ensembl_id"], "ascending": [False, True], "kind": "stable"}
        return frame.sort_values(**order)[columns].reset_index(drop=True)

    seeds = {seed: ordered(part) for seed, part in rows[rows["seed"].notna()].groupby("seed")}
    pooled = rows[rows["seed"].isna()]
    if pooled.empty:
        groups = rows.groupby("ensembl_id", as_index=False)
        pooled = groups.agg(
            symbol=("symbol", "first"), score=("score", "mean"), n_cells=("n_cells", "sum")
        )
    return ordered(pooled), seeds


def in_group(symbols, patterns):
    """Return which symbols fit shell patterns; "!pattern" takes them out again: bool [n_genes].

    Raises
    ------
    NotTestable
        If none does: the study has no such genes.
    """
    symbols = pd.Series(symbols).fillna("").astype(str)
    inside = np.zeros(len(symbols), bool)
    for pattern in patterns:
        fits = np.array(
            [fnmatch.fnmatchcase(symbol, pattern.removeprefix("!")) for symbol in symbols], bool
        )
        inside = inside & ~fits if pattern[0] == "!" else inside | fits
    if not inside.any():
        raise NotTestable(f"none of the study's genes fits {', '.join(patterns)}")
    return inside


def in_gene_set(tables, task, ensembl_ids, gene_set):
    """Return which genes are in a gene set of the study: bool array [n_genes]."""
    keys = tables["key_genes"][task]
    column = f"in_{gene_set}"
    if column not in keys:
        raise NotTestable(f"the study has no gene set '{gene_set}' (evidence.gene_sets)")
    members = keys.loc[keys[column].to_numpy(bool), "ensembl_id"]
    if members.empty:
        raise NotTestable(f"no gene of the set '{gene_set}' is expressed in the study's cells")
    return pd.Series(ensembl_ids).isin(members).to_numpy()


def gene_mean_ranks(tables, task, gene, cell_class):
    """Return a gene's mean rank in its cells (of one class, or all), and those of all genes."""
    keys = tables["key_genes"][task]
    column = "rank_mean" if cell_class is None else f"mean_rank_{cell_class}"
    if column not in keys:
        raise NotTestable(f"the task {task} has no class '{cell_class}'")
    mine = keys.loc[(keys["symbol"] == gene) & keys[column].notna(), column]
    if mine.empty:
        raise NotTestable(f"{gene} is in no encoded cell (not expressed, or not in the vocabulary)")
    return float(mine.iloc[0]), keys[column].dropna().to_numpy()


def scorecard_row(tables, task, **where):
    """Return a pooled row of the scorecard: value, ci_low, ci_high, matched_p, n_genes."""
    table = tables["scorecard"][task]
    rows = table[table["seed"].isna()]
    for column, value in where.items():
        keep = rows[column] == value
        rows = rows[keep | rows[column].isna()] if column == "regime" else rows[keep]
    rows = rows[rows["value"].notna()]
    if rows.empty:
        raise NotTestable(
            f"the scorecard of task {task} has no {where['metric']} of {where['track']} against "
            f"{where['against']}"
        )
    return rows.iloc[0]


def input_row(tables, task, regime, against, measure):
    """Return a row of table 'input_length' that has a difference to a counterpart."""
    table = tables.get("input_length", {}).get(task)
    if table is not None:
        pair = table["against"].isna() if against is None else table["against"] == against
        rows = table[(table["regime"] == regime) & (table["measure"] == measure) & pair]
        rows = rows[rows["difference"].notna()]
        if len(rows):
            return rows.iloc[0]
    raise NotTestable(
        f"the study does not hold {measure} of '{regime}' against the cells as they are for task "
        f"{task} (tokens.variants)"
    )
