"""What changes when all cells are equally long or deep: accuracy, attended genes, shift by rank.

Each regime that reads a variant of the tokens is held against its counterpart, the regime that is
trained alike on the tokens as they are, in the same test cells.
"""

import numpy as np
import pandas as pd
import scipy.stats

from keygenes.attention.subsets import TEST
from keygenes.cells.units import resample_weights

SPECIAL = "<"
# Nuclear genes of the mitochondrial ribosome (MRPL...), kinases (RPS6KA1) and pseudogenes (RPL7P1)
# are neither.
GROUPS = {
    "mitochondrial": r"^MT-",
    "ribosomal": r"^RP(?:LP[0-2]|SA|[LS]\d+[AXY]?\d?(?:L\d?)?)$",
}
BLOCK = 100  # resamples at a time: 100 x 20,000 genes are 16 MB
PEAK = (0.9, 1.0)  # of the median length: where the thesis sees a small peak
BESIDE = (0.8, 0.9)  # the ranks before it, which the peak is held against


def gene_group(symbols):
    """Return the group of each gene ('mitochondrial', 'ribosomal' or ''), by its symbol.

    Parameters
    ----------
    symbols : sequence of str [n_genes]

    Returns
    -------
    object array [n_genes]
    """
    names, group = pd.Series(symbols, dtype=object).fillna("").str.upper(), ""
    found = np.full(len(names), group, dtype=object)
    for group, pattern in GROUPS.items():
        found[names.str.contains(pattern, regex=True).to_numpy(bool)] = group
    return found


def well_totals(tables):
    """Return total attention per well and gene of one regime, its seeds added up.

    Parameters
    ----------
    tables : list of table 'by_well', one per seed

    Returns
    -------
    DataFrame [n_wells, n_genes]
        Test cells only, 0 where no cell has the gene; special tokens are left out.
    """
    table = pd.concat([t[t["subset"].astype(str) == TEST] for t in tables], ignore_index=True)
    table = table.astype({"well": str, "ensembl_id": str})
    table = table[~table["ensembl_id"].str.startswith(SPECIAL)]
    sums = table.groupby(["well", "ensembl_id"])["sum"].sum().unstack(fill_value=0.0)
    return sums.sort_index(axis=0).sort_index(axis=1)


def attention_shares(totals, groups, n_top):
    """Return what a group of genes takes of all attention, and of the most attended genes.

    Parameters
    ----------
    totals : float array [n_samples, n_genes]
        Total attention per gene.
    groups : array of str [n_genes]
    n_top : int

    Returns
    -------
    dict {measure: float array [n_samples]}
        ``{group}_share`` (0 to 1) and ``{group}_in_top`` (genes among the `n_top` first).
    """
    n_top = min(n_top, totals.shape[1])
    top = np.argpartition(-totals, n_top - 1, axis=1)[:, :n_top]
    found = {}
    for group in GROUPS:
        inside = groups == group
        share = totals[:, inside].sum(axis=1) / totals.sum(axis=1)
        found[f"{group}_share"] = share
        found[f"{group}_in_top"] = inside[top].sum(axis=1).astype(float)
    return found


def resampled_shares(wells, groups, n_top, weights):
    """Return `attention_shares` of the sums over wells, and of their resamples.

    Parameters
    ----------
    wells : float array [n_wells, n_genes]
    weights : int array [n_bootstrap, n_wells]
        How often each well is drawn.

    Returns
    -------
    dict {measure: float}
    dict {measure: float array [n_bootstrap]}
    """
    value = attention_shares(wells.sum(axis=0)[None], groups, n_top)
    parts = [
        attention_shares(weights[i : i + BLOCK] @ wells, groups, n_top)
        for i in range(0, len(weights), BLOCK)
    ]
    drawn = {name: np.concatenate([p[name] for p in parts] or [[]]) for name in value}
    return {name: float(v[0]) for name, v in value.items()}, drawn


def change_near_median(shift):
    """Return how a pair's attention shifts just below and beyond the median length.

    Parameters
    ----------
    shift : table 'rank_shift' of one pair and one seed, all layers
        Its cells by rank give the median length: half of them are longer.

    Returns
    -------
    dict {measure: float}
        ``peak_below_median``: percent change of the ranks in the last tenth before the median
        length, minus that of the tenth before it (percentage points). ``change_beyond_median``:
        percent change of all ranks beyond it; missing where no cell is longer.
    """
    table = shift.sort_values("rank")
    rank, n = table["rank"].to_numpy(), table["n_cells"].to_numpy()
    median = rank[n >= n.max() / 2].max()

    def change(inside):
        below = table.loc[inside, "sum_b"].sum()
        return 100 * (table.loc[inside, "sum_a"].sum() / below - 1) if below > 0 else np.nan

    peak, beside = (
        change((rank > low * median) & (rank <= high * median)) for low, high in (PEAK, BESIDE)
    )
    return {"peak_below_median": peak - beside, "change_beyond_median": change(rank > median)}


def _interval(draws):
    draws = np.asarray(draws, float)
    if len(draws) < 2 or not np.isfinite(draws).all():
        return np.nan, np.nan
    return tuple(np.quantile(draws, [0.025, 0.975]))


def _seed_interval(values):
    """Return the 95 % t interval of the mean over seeds."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return np.nan, np.nan
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def correct_per_unit(predictions, units):
    """Return the number of test cells and of right answers per unit, the seeds pooled.

    Parameters
    ----------
    predictions : list of table 'predictions', one per seed
    units : Series, indexed by cell

    Returns
    -------
    DataFrame, indexed by unit
        Columns n, correct.
    """
    table = pd.concat([t[t["split"].astype(str) == TEST] for t in predictions], ignore_index=True)
    correct = table["true"].astype(str) == table["predicted"].astype(str)
    unit = units.reindex(table["cell"]).to_numpy()
    return correct.groupby(unit).agg(["size", "sum"]).set_axis(["n", "correct"], axis=1)


def accuracy_rows(predictions, counterparts, cells, n_bootstrap):
    """Return rows of table 'input_length': accuracy of each regime, and against its counterpart.

    Units (wells) are resampled within their dose, for both regimes at once.

    Parameters
    ----------
    predictions : dict {regime: [table 'predictions' per seed]}
    counterparts : dict {regime: regime or None}
    cells : DataFrame of `resampling_units`
    n_bootstrap : int
    """
    tables = {name: correct_per_unit(p, cells["unit_id"]) for name, p in predictions.items()}
    units = sorted(set().union(*(table.index for table in tables.values())))
    strata = cells.drop_duplicates("unit_id").set_index("unit_id")["stratum"].reindex(units)
    weights = resample_weights(strata.to_numpy(), n_bootstrap, np.random.default_rng([0, 12]))
    value, draws, rows = {}, {}, []
    for name, table in tables.items():
        n, correct = table.reindex(units, fill_value=0)[["n", "correct"]].to_numpy(float).T
        value[name] = correct.sum() / n.sum()
        draws[name] = (weights @ correct) / np.maximum(1, weights @ n)
    for name, table in tables.items():
        low, high = _interval(draws[name])
        row = {"regime": name, "measure": "accuracy", "value": value[name]}
        row |= {"ci_low": low, "ci_high": high, "n": len(table), "n_of": cells["unit"].iloc[0]}
        if other := counterparts[name]:
            low, high = _interval(draws[name] - draws[other])
            row["difference"] = value[name] - value[other]
            row |= {"difference_low": low, "difference_high": high}
        rows.append({**row, "n_cells": int(table["n"].sum())})
    return rows


def share_rows(by_well, counterparts, groups, strata, n_top, n_bootstrap):
    """Return rows of table 'input_length': what groups of genes take of attention.

    Parameters
    ----------
    by_well : dict {regime: [table 'by_well' per seed]}
    counterparts : dict {regime: regime or None}
    groups : Series of str, indexed by ensembl_id
    strata : Series of str, indexed by well
        The dose; wells are resampled within it, for both regimes at once.
    n_top, n_bootstrap : int
    """
    totals = {name: well_totals(tables) for name, tables in by_well.items()}
    wells = sorted(set().union(*(table.index for table in totals.values())))
    weights = np.zeros((0, len(wells)), int)
    if len(wells) > 1:
        doses = strata.reindex(wells).astype(str).to_numpy()
        weights = resample_weights(doses, n_bootstrap, np.random.default_rng([0, 13]))
    value, draws, rows = {}, {}, []
    for name, table in totals.items():
        inside = groups.reindex(table.columns).fillna("").to_numpy(object)
        matrix = table.reindex(wells, fill_value=0.0).to_numpy()
        value[name], draws[name] = resampled_shares(matrix, inside, n_top, weights)
        for group in set(GROUPS) - set(inside):  # not measured: nothing to take a share
            for measure in (f"{group}_share", f"{group}_in_top"):
                value[name][measure] = np.nan
    for name in totals:
        for measure, found in value[name].items():
            low, high = _interval(draws[name][measure])
            row = {"regime": name, "measure": measure, "value": found, "ci_low": low}
            row |= {"ci_high": high, "n": len(totals[name]), "n_of": "well"}
            if other := counterparts[name]:
                low, high = _interval(draws[name][measure] - draws[other][measure])
                row["difference"] = found - value[other][measure]
                row |= {"difference_low": low, "difference_high": high}
            rows.append(row)
    return rows


def shift_rows(rank_shift, pairs, counterparts):
    """Return rows of table 'input_length': the shift by rank near the median length.

    Seeds are the units here: the tables by rank know no wells.

    Parameters
    ----------
    rank_shift : table 'rank_shift'
    pairs : list of (regime, regime)
        Those looked at.
    counterparts : dict {regime: regime or None}
    """
    table = rank_shift[rank_shift["layer"].isna() & rank_shift["seed"].notna()]
    found = {}
    for a, b in pairs:
        rows = table[(table["a"].astype(str) == a) & (table["b"].astype(str) == b)]
        by_seed = {seed: change_near_median(rows_) for seed, rows_ in rows.groupby("seed")}
        cells = int(rows.groupby("seed")["n_cells"].max().sum())
        found[a, b] = (pd.DataFrame(by_seed).T, cells)
    result = []
    for (a, b), (by_seed, cells) in found.items():
        other = found.get((counterparts.get(a), counterparts.get(b)))
        for measure in by_seed:
            values = by_seed[measure]
            low, high = _seed_interval(values)
            row = {"regime": a, "against": b, "measure": measure, "value": values.mean()}
            row |= {"ci_low": low, "ci_high": high, "n": int(values.notna().sum()), "n_of": "seed"}
            if other is not None:
                change = values - other[0][measure]
                row["difference"] = change.mean()
                row["difference_low"], row["difference_high"] = _seed_interval(change)
            result.append({**row, "n_cells": cells})
    return result


def input_length(
    *,
    predictions,
    by_well,
    rank_shift,
    counterparts,
    encodings,
    pairs,
    cells,
    groups,
    n_top,
    n_bootstrap,
):
    """Return table 'input_length' of one task.

    Parameters
    ----------
    predictions, by_well : dicts {regime: [table per seed]}
    rank_shift : table 'rank_shift'
    counterparts : dict {regime: regime or None}
        Of each regime of the tables above.
    encodings : dict {regime: name of its encoding, 'main' or a variant}
    pairs : list of (regime, regime)
    cells : DataFrame, indexed by cell
        Of `resampling_units`, and the column well.
    groups : Series of str, indexed by ensembl_id
        From `gene_group`.
    n_top, n_bootstrap : int
    """
    strata = cells.groupby("well")["stratum"].agg(lambda values: values.iloc[0])
    rows = accuracy_rows(predictions, counterparts, cells, n_bootstrap)
    shares = share_rows(by_well, counterparts, groups, strata, n_top, n_bootstrap)
    tested = {row["regime"]: row["n_cells"] for row in rows}
    rows += [{**row, "n_cells": tested[row["regime"]]} for row in shares]
    table = pd.DataFrame(rows + shift_rows(rank_shift, pairs, counterparts))
    table["tokens"] = table["regime"].map(encodings)
    table["reference"] = table["regime"].map(counterparts)
    for column in ("against", "difference", "difference_low", "difference_high"):
        if column not in table:
            table[column] = None if column == "against" else np.nan
    return table
