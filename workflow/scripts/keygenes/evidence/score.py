"""Every gene's score on every track."""

import logging
from typing import NamedTuple

import pandas as pd
import pyarrow.compute as pc

from keygenes.attention.subsets import TEST
from keygenes.core.tables import read_arrow, read_table
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS, TRACKS
from keygenes.evidence.track_files import of_regime
from keygenes.evidence.tracks import (
    counted_once,
    expression_tests,
    expression_tracks,
    gene_totals,
    interval_over_cells,
    logistic_track,
    model_track,
    random_track,
    with_permuted,
)
from keygenes.evidence.well_sums import well_matrices

log = logging.getLogger("keygenes")

SPECIAL = "<"


def without_special_tokens(by_gene):
    """Return the rows of genes: <cls> and <eos> receive attention but are no genes."""
    ids = by_gene["ensembl_id"].astype("category")
    special = ids.cat.categories[ids.cat.categories.astype(str).str.startswith(SPECIAL)]
    return by_gene[~ids.isin(special)]


def places_of(path):
    """Return layers x heads of a table 'by_gene'; 0 where it holds no attention."""
    places = read_arrow(path, columns=["layer", "head"])
    most = [pc.max(places[name]).as_py() for name in ("layer", "head")]
    return most[0] * most[1] if None not in most else 0


def read_by_gene(path):
    """Return a table 'by_gene' without its rows per layer and head, and layers x heads."""
    table = read_arrow(path, filters=pc.field("layer").is_null()).to_pandas()
    return without_special_tokens(table), places_of(path)


def read_well_sums(paths, names):
    """Return the sums per well that the tracks of `names` need, pooled and per training seed.

    Parameters
    ----------
    paths : dict {(fold, seed): path}
        Tables 'by_well' or 'well_scores'.
    names : sequence of str
        Tracks of `ATTENTION`, or of others.

    Returns
    -------
    dict {track: {seed, or None for all: result of `well_matrices`}}
        All folds of a seed together; of all seeds together, every cell counts once. A track that
        the tables do not hold is left out.
    """
    tables = {run: without_special_tokens(read_table(path)) for run, path in paths.items()}
    found = {}
    if set(names) & set(ATTENTION):
        tables = {run: table[table["subset"] == TEST] for run, table in tables.items()}
        columns = ["sum", *{TRACKS[name].column for name in names} - {"sum"}]
        columns = [c for c in columns if all(t[c].notna().any() for t in tables.values())]
        sums = _sums_per_seed(tables, columns)
        return {name: sums for name in names if TRACKS[name].column in columns}
    for name in names:
        own = {run: table[table["track"] == name] for run, table in tables.items()}
        own = {run: table for run, table in own.items() if len(table)}
        if own:
            found[name] = _sums_per_seed(own, ["sum", "sum_absolute"])
    return found


def _sums_per_seed(tables, columns):
    def sums(runs):
        return well_matrices([tables[run] for run in runs], columns, [fold for fold, _ in runs])

    seeds = sorted({seed for _, seed in tables})
    per_seed = {seed: sums([run for run in tables if run[1] == seed]) for seed in seeds}
    return {None: sums(list(tables)) if len(seeds) > 1 else per_seed[seeds[0]], **per_seed}


class Totals(NamedTuple):
    """What the tables 'by_gene' of one regime say of every gene.

    Attributes
    ----------
    by_gene : DataFrame
        All tables as one (`counted_once`).
    places : int
        Layers x heads.
    of_seeds : dict {seed, or None for all: result of `gene_totals`}
    """

    by_gene: pd.DataFrame
    places: int
    of_seeds: dict[int | None, pd.DataFrame]


class BaselineTables(NamedTuple):
    """What the tracks that no transformer is needed for come from.

    Attributes
    ----------
    wilcoxon, pseudobulk : DataFrames
        Tables of that name, of one task.
    coefficients : list of DataFrame
        Table 'coefficients', one per fold.
    """

    wilcoxon: pd.DataFrame
    pseudobulk: pd.DataFrame
    coefficients: list[pd.DataFrame]


def baseline_tracks(tables, totals):
    """Return the tracks that no transformer is needed for (`tracks.BASELINES`).

    Parameters
    ----------
    tables : BaselineTables
    totals : result of `gene_totals`
    """
    tests, pseudobulk, coefficients = tables
    cells = tests.drop_duplicates("group").set_index("group")["n_cells"]
    cells = {str(group): n for group, n in cells.items()}
    return [
        expression_tests("wilcoxon", tests),
        expression_tests("pseudobulk", pseudobulk, n_cells=cells),
        expression_tests("mean_difference", tests, by="log2fc"),
        *expression_tracks(totals),
        logistic_track(coefficients, totals["n_cells"]),
        random_track(totals.index, totals["n_cells"].to_numpy()),
    ]


def model_tracks(names, regime, paths, places, groups, *, totals=None, permuted=None):
    """Return the tracks of one regime: all runs pooled, and of several training seeds each.

    Rows of a seed pool its folds and have scores alone; of a single seed they would be the pooled
    ones again, and are left out.

    Parameters
    ----------
    names : sequence of str
        All of `ATTENTION`, or all of `ATTRIBUTIONS`.
    paths : dict {(fold, seed): path}
        Tables 'by_well' or 'well_scores'.
    places : int
        Layers x heads.
    groups : dict {well: 'contrast' or 'reference'}
    totals : dict {seed, or None for all: result of `gene_totals`}, optional
        Where the cells have no wells, attention_received gets its interval over cells from it.
    permuted : result of `permuted_genes`, optional
    """
    tracks = []
    several = len({seed for _, seed in paths}) > 1
    for name, sums in read_well_sums(paths, names).items():
        for seed, matrices in sums.items():
            if seed is not None and not several:
                continue
            frame = model_track(
                name,
                matrices,
                places,
                groups if seed is None else None,
                regime=regime,
                seed=seed,
            )
            if name == "attention_received" and len(matrices["wells"]) < 2 and totals:
                ids = frame["ensembl_id"].to_numpy()
                frame["ci_low"], frame["ci_high"] = interval_over_cells(totals[seed], ids)
            tracks.append(with_permuted(frame, (permuted or {}).get(name)))
    return tracks


def reader_tracks(name, paths, groups, n_cells):
    """Return the track of a reader that was brought along: of all runs, and of each seed.

    Parameters
    ----------
    name : str
    paths : dict {(fold, seed): path}
        Tables 'well_scores'. Where they are of one well alone there is no interval and no test.
    groups : dict {well: 'contrast' or 'reference'}
    n_cells : Series, indexed by ensembl_id
        Test cells that have the gene among their tokens.
    """
    frames = []
    for frame in model_tracks([name], None, paths, 1, groups):
        if frame["n_wells"].isna().all():
            n = n_cells.reindex(frame["ensembl_id"]).fillna(0).astype(int)
            frame = frame.assign(n_cells=n.to_numpy())
        frames.append(frame)
    return frames


def read_totals(paths):
    """Return the `Totals` of tables 'by_gene' of one regime, {(fold, seed): path}."""
    read = {run: read_by_gene(path) for run, path in paths.items()}
    places = next(iter(read.values()))[1]
    tables = {run: table for run, (table, _) in read.items()}
    everything = counted_once(tables)
    totals = {None: gene_totals(everything, places)}
    for seed in sorted({seed for _, seed in tables}):
        of_seed = pd.concat([table for run, table in tables.items() if run[1] == seed])
        totals[seed] = gene_totals(of_seed, places)
    return Totals(everything, places, totals)


def symbols_of(wilcoxon, vocabulary):
    """Return ensembl_id and symbol of all genes: the data's name before the vocabulary's."""
    tables = [table[["ensembl_id", "symbol"]] for table in (wilcoxon, vocabulary)]
    return pd.concat(tables).drop_duplicates("ensembl_id", keep="first")


def score_genes(files, tables, vocabulary, groups, question, permuted=None):
    """Return a task's evidence table, and what is known of the genes of the regime in question.

    Parameters
    ----------
    files : TrackFiles
    tables : BaselineTables
    vocabulary : table 'vocabulary'
    groups : dict {well: 'contrast' or 'reference'}
        From `well_groups`.
    question : Question
    permuted : dict {regime: result of `permuted_genes`}, optional
        Of the regime that has learned from dealt labels too: its rows get permuted_mean and
        permuted_sd.

    Returns
    -------
    DataFrame
        Table 'genes'.
    Totals
        Of `question.regime`.
    """
    if not groups:
        log.info("the cells have no wells: no p and no q for the tracks of a model")
    frames = []
    for name in dict.fromkeys(name for name, _, _ in files.by_gene):
        found = read_totals(of_regime(files.by_gene, name))
        if name == question.regime:
            of_main = found
        null = (permuted or {}).get(name)
        for kind, of_kind in ((ATTENTION, files.by_well), (ATTRIBUTIONS, files.well_scores)):
            wanted = [track for track in kind if track in question.tracks]
            paths = of_regime(of_kind, name)
            if wanted and paths:
                how = {"totals": found.of_seeds, "permuted": null}
                frames += model_tracks(wanted, name, paths, found.places, groups, **how)
    totals = of_main.of_seeds[None]
    for name in dict.fromkeys(name for name, _, _ in files.readers):
        frames += reader_tracks(name, of_regime(files.readers, name), groups, totals["n_cells"])
    frames = [*baseline_tracks(tables, totals), *frames]
    frame = pd.concat([f.astype({"regime": object}) for f in frames if len(f)], ignore_index=True)
    names = symbols_of(tables.wilcoxon, vocabulary).set_index("ensembl_id")["symbol"]
    frame["symbol"] = frame["ensembl_id"].map(names)
    log.info("%d tracks, %d rows", frame["track"].nunique(), len(frame))
    return frame.astype({"seed": "Int64", "n_wells": "Int64"}), of_main
