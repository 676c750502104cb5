"""Every gene's score on every track."""

import logging

import pandas as pd
import pyarrow.compute as pc

from keygenes.attention.subsets import TEST
from keygenes.core.tables import read_arrow, read_table, write_table, write_tsv
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS, TRACKS
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.key_genes import (
    attended_and_expressed,
    enrichment,
    key_genes,
    listed_genes,
)
from keygenes.evidence.tracks import (
    counted_once,
    expression_tests,
    expression_tracks,
    gene_totals,
    interval_over_cells,
    logistic_track,
    model_track,
    permuted_genes,
    random_track,
    with_permuted,
)
from keygenes.evidence.well_sums import well_groups, well_matrices

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


def of_regime(tables, regime):
    """Return {(fold, seed): path} of one regime from {(regime, fold, seed): path}."""
    return {(fold, seed): path for (one, fold, seed), path in tables.items() if one == regime}


def baseline_tracks(tests, pseudobulk, coefficients, totals):
    """Return the tracks that no transformer is needed for (`tracks.BASELINES`).

    Parameters
    ----------
    tests, pseudobulk : tables 'wilcoxon' and 'pseudobulk' of one task
    coefficients : sequence of table 'coefficients'
        One per fold.
    totals : result of `gene_totals`
    """
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
    """Return what tables 'by_gene' of one regime say of every gene.

    Parameters
    ----------
    paths : dict {(fold, seed): path}

    Returns
    -------
    everything : DataFrame
        All tables as one (`counted_once`).
    places : int
        Layers x heads.
    totals : dict {seed, or None for all: result of `gene_totals`}
    """
    read = {run: read_by_gene(path) for run, path in paths.items()}
    places = next(iter(read.values()))[1]
    tables = {run: table for run, (table, _) in read.items()}
    everything = counted_once(tables)
    totals = {None: gene_totals(everything, places)}
    for seed in sorted({seed for _, seed in tables}):
        of_seed = pd.concat([table for run, table in tables.items() if run[1] == seed])
        totals[seed] = gene_totals(of_seed, places)
    return everything, places, totals


def score_genes(
    *,
    by_gene,
    by_well,
    well_scores,
    relabelled_genes,
    wilcoxon,
    pseudobulk,
    coefficients,
    vocabulary,
    obs,
    labels,
    vehicle,
    gene_sets,
    out_genes,
    out_key_genes,
    out_attended,
    out_figure8,
    task,
    regime,
    tracks,
    relabelled_regime,
    n_key_genes,
    simulated,
    counted=None,
    readers=None,
    leading="attention_total",
):
    """Write a task's evidence table, its key genes and attended against expressed genes.

    Parameters
    ----------
    by_gene, by_well, well_scores : dict {(regime, fold, seed): path}
        well_scores: of the regimes that are attributed.
    relabelled_genes : path-like or None
        Table 'relabelled_genes' of `relabelled_regime`.
    coefficients : dict {fold: path}
    obs : DataFrame, indexed by cell
    labels : categorical [n_cells]
        Classes of the task, in the order of `obs`.
    vehicle : bool array [n_cells]
    gene_sets : dict {name: path of table 'gene_set'}
    out_figure8 : path-like
        The first `n_key_genes` key genes, as TSV.
    regime : str
        The regime whose attention makes the key-gene table.
    tracks : collection of str
        Tracks of models that are asked for.
    relabelled_regime : str or None
        The regime that may have learned from dealt labels too: its rows get permuted_mean and
        permuted_sd.
    simulated : bool or str
        If true, figure 8 has a column that says so.
    counted : dict {(fold, seed): path}, optional
        Tables 'by_gene' of no model (`counted_genes.count_genes`), where `regime` has no attention.
        Then there is no Figure 7 and no Figure 8.
    readers : dict {(reader, fold, seed): path}, optional
        Tables 'well_scores' of readers that were brought along.
    leading : str
        The track whose order the key genes have, where `regime` has no attention.
    """
    genes, tests, wells_tests = (read_table(path) for path in (vocabulary, wilcoxon, pseudobulk))
    tests, wells_tests = (table[table["task"] == task] for table in (tests, wells_tests))
    groups = well_groups(obs, labels, vehicle)
    if not groups:
        log.info("the cells have no wells: no p and no q for the tracks of a model")
    permuted = permuted_genes(read_table(relabelled_genes)) if relabelled_genes else {}
    frames, of_main = [], None
    for name in dict.fromkeys(name for name, _, _ in by_gene):
        everything, places, totals = read_totals(of_regime(by_gene, name))
        if name == regime:
            of_main = everything, places, totals[None]
        for kind, tables in ((ATTENTION, by_well), (ATTRIBUTIONS, well_scores)):
            wanted = [track for track in kind if track in tracks]
            paths = of_regime(tables, name)
            if wanted and paths:
                null = permuted if name == relabelled_regime else {}
                frames += model_tracks(
                    wanted, name, paths, places, groups, totals=totals, permuted=null
                )
    if of_main is None:
        everything, places, of_seeds = read_totals(counted)
        of_main = everything, places, of_seeds[None]
    everything, places, totals = of_main
    for name in dict.fromkeys(name for name, _, _ in readers or {}):
        frames += reader_tracks(name, of_regime(readers, name), groups, totals["n_cells"])
    coefficients = [read_table(path) for path in coefficients.values()]
    frames = [*baseline_tracks(tests, wells_tests, coefficients, totals), *frames]
    frame = pd.concat([f.astype({"regime": object}) for f in frames if len(f)], ignore_index=True)
    names = pd.concat([tests[["ensembl_id", "symbol"]], genes[["ensembl_id", "symbol"]]])
    names = names.drop_duplicates("ensembl_id", keep="first")
    frame["symbol"] = frame["ensembl_id"].map(names.set_index("ensembl_id")["symbol"])
    frame = frame.astype({"seed": "Int64", "n_wells": "Int64"})
    write_table(frame, out_genes, "genes")
    log.info("%s: %d tracks, %d rows", task, frame["track"].nunique(), len(frame))

    sets = {name: read_members(path) for name, path in gene_sets.items()}
    if counted:
        pooled = frame[(frame["track"] == leading) & frame["seed"].isna()]
        keys = listed_genes(pooled, totals, everything, names, sets)
    else:
        keys = key_genes(everything, names, sets, places)
        write_table(attended_and_expressed(keys, tests), out_attended)
        write_tsv(keys.head(n_key_genes), out_figure8, simulated=simulated)
    write_table(keys, out_key_genes)
    for name in sets:
        result = enrichment(keys[f"in_{name}"].to_numpy(), n_key_genes)
        log.info(
            "%s: {found} of the {n_top} first genes, {expected:.2f} expected, p = {p:.3g}".format(
                **result
            ),
            name,
        )
