"""What changes when all cells are equally long or deep: accuracy, attended genes, shift by rank.

Each regime that reads a variant of the tokens is held against its counterpart, the regime that is
trained alike on the tokens as they are, in the same test cells.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from keygenes.attention.subsets import TEST
from keygenes.core.jackknife import LEVEL
from keygenes.evidence.counterparts import Measure, of_models, row_of, shares
from keygenes.evidence.top_counts import count_interval, drawn_totals, in_top

SPECIAL = "<"
# Nuclear genes of the mitochondrial ribosome (MRPL...), kinases (RPS6KA1) and pseudogenes (RPL7P1)
# are neither.
GROUPS = {
    "mitochondrial": r"^MT-",
    "ribosomal": r"^RP(?:LP[0-2]|SA|[LS]\d+[AXY]?\d?(?:L\d?)?)$",
}
NUMBERS = {
    *("value", "ci_low", "ci_high"),
    *("difference", "difference_low", "difference_high"),
}
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


def runs_by_regime(tables):
    """Return {regime: {(fold, seed): table}} of {(regime, fold, seed): table}."""
    found = {}
    for (regime, fold, seed), table in tables.items():
        found.setdefault(regime, {})[fold, seed] = table
    return found


def well_totals(table):
    """Return total attention per well and gene of one model.

    Parameters
    ----------
    table : table 'by_well'

    Returns
    -------
    DataFrame [n_wells, n_genes]
        Test cells only, 0 where no cell has the gene; special tokens are left out.
    """
    table = table[table["subset"].astype(str) == TEST].astype({"well": str, "ensembl_id": str})
    table = table[~table["ensembl_id"].str.startswith(SPECIAL)]
    sums = table.groupby(["well", "ensembl_id"])["sum"].sum().unstack(fill_value=0.0)
    return sums.sort_index(axis=0).sort_index(axis=1)


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


def _fold_interval(values):
    """Return the 95 % t interval of the mean over folds."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return np.nan, np.nan
    t = scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    half = t * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def hits_per_unit(predictions, units):
    """Return the number of right answers and of test cells per unit.

    Parameters
    ----------
    predictions : table 'predictions'
    units : Series, indexed by cell

    Returns
    -------
    DataFrame, indexed by unit
        Columns correct, n.
    """
    table = predictions[predictions["split"].astype(str) == TEST]
    correct = table["true"].astype(str) == table["predicted"].astype(str)
    unit = units.reindex(table["cell"]).to_numpy()
    return correct.groupby(unit).agg(["sum", "size"]).set_axis(["correct", "n"], axis=1)


def _tested_cells(runs):
    """Return how many cells the models of a regime test, in all folds."""
    return len({cell for t in runs.values() for cell in t["cell"][t["split"].astype(str) == TEST]})


def accuracy_rows(predictions, counterparts, cells):
    """Return rows of table 'input_length': accuracy of each regime, and against its counterpart.

    Units (wells) are left out within their dose, for both regimes at once; so are models.

    Parameters
    ----------
    predictions : dict {(regime, fold, seed): table 'predictions'}
    counterparts : dict {regime: regime or None}
    cells : DataFrame of `resampling_units`
    """
    runs = runs_by_regime(predictions)
    strata = cells.drop_duplicates("unit_id").set_index("unit_id")["stratum"].sort_index()

    def hits(table):
        return hits_per_unit(table, cells["unit_id"])

    parts = {name: of_models(of, hits, strata.index, (2,)) for name, of in runs.items()}
    doses, unit = strata.to_numpy(str), cells["unit"].iloc[0]
    accuracy = Measure("accuracy", shares)
    return [
        row_of(accuracy, parts, name, counterparts[name], doses)
        | {"n_of": unit, "n_cells": _tested_cells(runs[name])}
        for name in parts
    ]


def share_rows(by_well, counterparts, groups, strata, n_top):
    """Return rows of table 'input_length': what groups of genes take of attention.

    ``{group}_share`` (0 to 1) is of all attention, ``{group}_in_top`` counts the group's genes
    among the `n_top` most attended ones. The count is not smooth: its intervals come from draws
    (`rescaled_draws`), which hold 90 to 99 % in simulations where leaving out one well at a time
    holds 80 to 98 %.

    Parameters
    ----------
    by_well : dict {(regime, fold, seed): table 'by_well'}
    counterparts : dict {regime: regime or None}
    groups : Series of str, indexed by ensembl_id
    strata : Series of str, indexed by well
        The dose; wells are left out within it, for both regimes at once.
    n_top : int
    """
    totals = {key: well_totals(table) for key, table in by_well.items()}
    wells, genes = (
        pd.Index(sorted(set().union(*(getattr(t, axis) for t in totals.values()))))
        for axis in ("index", "columns")
    )
    doses = strata.reindex(wells).astype(str).to_numpy()
    inside = groups.reindex(genes).fillna("").to_numpy(object)

    def every_gene(table):
        return table.reindex(columns=genes, fill_value=0.0)

    parts = {
        name: of_models(of, every_gene, wells, (len(genes),))
        for name, of in runs_by_regime(totals).items()
    }
    rows = []
    for group in GROUPS:
        own = inside == group
        sums = {name: np.stack([p[..., own].sum(-1), p.sum(-1)], -1) for name, p in parts.items()}

        def count(of_wells, design, own=own):
            totals = drawn_totals(of_wells, design, np.random.default_rng([0, 13]))
            return in_top(totals, own, n_top)

        share = Measure(f"{group}_share", shares)
        counted = Measure(f"{group}_in_top", count, count_interval, float(n_top))
        for measure, of in ((share, sums), (counted, parts)):
            for name, other in ((name, counterparts[name]) for name in parts):
                row = row_of(measure, of, name, other, doses) | {"n_of": "well"}
                missing = [r for r in (name, other) if r and not sums[r][..., 0].any()]
                for column in row.keys() & NUMBERS if missing else ():  # a group not measured
                    if name in missing or column.startswith("difference"):
                        row[column] = np.nan
                rows.append(row)
    return rows


def shift_rows(rank_shift, pairs, counterparts):
    """Return rows of table 'input_length': the shift by rank near the median length.

    Folds are the units here, each the mean over its training seeds: the tables by rank know no
    wells, and the place of the median length is each fold's own, so that nothing is left out.

    Parameters
    ----------
    rank_shift : table 'rank_shift'
    pairs : list of (regime, regime)
        Those looked at.
    counterparts : dict {regime: regime or None}
    """
    table = rank_shift[
        rank_shift["layer"].isna() & rank_shift["fold"].notna() & rank_shift["seed"].notna()
    ]
    found = {}
    for a, b in pairs:
        rows = table[(table["a"].astype(str) == a) & (table["b"].astype(str) == b)]
        runs = rows.groupby(["fold", "seed"])
        by_run = pd.DataFrame({run: change_near_median(of) for run, of in runs}).T
        cells = int(rows.groupby("fold")["n_cells"].max().sum())
        found[a, b] = (by_run.groupby(level=0).mean(), cells)
    result = []
    for (a, b), (by_fold, cells) in found.items():
        other = found.get((counterparts.get(a), counterparts.get(b)))
        for measure in by_fold:
            values = by_fold[measure]
            low, high = _fold_interval(values)
            row = {"regime": a, "against": b, "measure": measure, "value": values.mean()}
            row |= {"ci_low": low, "ci_high": high, "n": int(values.notna().sum()), "n_of": "fold"}
            if other is not None:
                change = values - other[0][measure]
                row["difference"] = change.mean()
                row["difference_low"], row["difference_high"] = _fold_interval(change)
            result.append({**row, "n_cells": cells})
    return result


class ModelTables(NamedTuple):
    """What is known of the models of a task.

    Attributes
    ----------
    predictions, by_well : dicts {(regime, fold, seed): table}
    rank_shift : DataFrame or None
        Table of that name.
    max_cells : int or None
        Test cells per fold whose attention was looked at; None: all.
    """

    predictions: dict[tuple[str, int, int], pd.DataFrame]
    by_well: dict[tuple[str, int, int], pd.DataFrame]
    rank_shift: pd.DataFrame | None
    max_cells: int | None = None


class Compared(NamedTuple):
    """Which regimes are held against each other.

    Attributes
    ----------
    counterparts : dict {regime: regime or None}
    encodings : dict {regime: name of its encoding, 'main' or a variant}
    pairs : list of (regime, regime)
        Of the shift by rank.
    """

    counterparts: dict[str, str | None]
    encodings: dict[str, str]
    pairs: list[tuple[str, str]]


def input_length(models, compared, cells, groups, n_top):
    """Return table 'input_length' of one task.

    Parameters
    ----------
    models : ModelTables
    compared : Compared
    cells : DataFrame, indexed by cell
        Of `resampling_units`, and the column well.
    groups : Series of str, indexed by ensembl_id
        From `gene_group`.
    n_top : int
    """
    predictions, by_well, rank_shift, max_cells = models
    counterparts, encodings, pairs = compared
    strata = cells.groupby("well")["stratum"].agg(lambda values: values.iloc[0])
    rows = accuracy_rows(predictions, counterparts, cells)
    of_attention = share_rows(by_well, counterparts, groups, strata, n_top)
    looked_at = {}
    for name, runs in runs_by_regime(predictions).items():
        tested = {fold: _tested_cells({0: table}) for (fold, _), table in runs.items()}
        looked_at[name] = sum(min(n, max_cells or n) for n in tested.values())
    rows += [{**row, "n_cells": looked_at[row["regime"]]} for row in of_attention]
    if rank_shift is not None:
        rows += shift_rows(rank_shift, pairs, counterparts)
    table = pd.DataFrame(rows)
    table["tokens"] = table["regime"].map(encodings)
    table["reference"] = table["regime"].map(counterparts)
    for column in ("against", "difference", "difference_low", "difference_high"):
        if column not in table:
            table[column] = None if column == "against" else np.nan
    return table
