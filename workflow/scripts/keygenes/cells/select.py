"""Which cells and genes enter the study, and how many each step kept."""

import contextlib
import logging

import numpy as np
import pandas as pd

from keygenes.cells.columns import (
    cells_with,
    not_measured,
    passing_cells,
    require_column,
    vehicle_cells,
)
from keygenes.cells.normalise import scaled_blocks
from keygenes.cells.variable_genes import variable_genes
from keygenes.core.errors import input_error
from keygenes.core.matrices import read_annotation, read_blocks
from keygenes.core.matrix_file import matrix_file
from keygenes.core.tables import write_table
from keygenes.core.values import texts_of
from keygenes.inputs.gene_columns import left_out, n_left_out

log = logging.getLogger("keygenes")

# Srivatsan et al. 2020: a cell belongs to a well when its top hash oligo is clear of the second,
# significant, and seen often enough.
HASH_TESTS = {
    "top_to_second_best_ratio": np.greater,
    "qval_demultiplexing": np.less,
    "hash_umis": np.greater,
}


def drug_mask(obs, drug):
    """Return which cells received `drug`."""
    require_column(obs, "drug", "select.drug")
    return cells_with(obs, "drug", drug, "select.drug")


def dose_mask(obs, doses_um):
    """Return which cells received one of the doses; every dose must have cells."""
    require_column(obs, "dose_um", "select.doses_um")
    return np.any(
        [cells_with(obs, "dose_um", dose, "select.doses_um") for dose in doses_um], axis=0
    )


def hash_mask(obs, limits):
    """Return which cells pass the authors' hash filter; columns that are absent are skipped.

    So are those that a dataset lacks which is combined with others, for its own cells.
    """
    mask = np.ones(len(obs), bool)
    for column, limit in limits.items():
        if column in obs:
            passed = HASH_TESTS[column](obs[column].astype(float).to_numpy(), limit)
            mask &= passed | not_measured(obs, column)
    return mask


def quality_mask(obs, *, min_counts, min_genes, max_percent_mito):
    """Return which cells have enough counts and genes, and not too many mitochondrial counts."""
    mask = (obs["n_counts"] >= min_counts) & (obs["n_genes"] >= min_genes)
    if max_percent_mito is not None:
        require_column(obs, "percent_mito", "select.max_percent_mito")
        passed = obs["percent_mito"] <= max_percent_mito
        mask &= passed | not_measured(obs, "percent_mito")
    return mask.to_numpy()


def cell_filters(obs, options):
    """Yield the filters that ask nothing of other cells: step, mask and note.

    All are asked of all cells: whether a dataset has measured a column shows in them all.

    Parameters
    ----------
    obs : DataFrame [n_cells]
    options : dict
        Section 'select' of the config.
    """
    if "filter_pass" in obs:
        note = _with_unmeasured("filter_pass = 1", obs, ["filter_pass"])
        yield "filter_pass", passing_cells(obs), note
    if options["drug"] is not None:
        yield "drug", drug_mask(obs, options["drug"]), f"drug = {options['drug']}"
    if (limits := options["hash_filter"]) is not None:
        used = [column for column in limits if column in obs]
        note = ", ".join(f"{c} {'<' if c.startswith('q') else '>'} {limits[c]:g}" for c in used)
        note = _with_unmeasured(note or "no hash columns: skipped", obs, used)
        yield "hash filter", hash_mask(obs, limits), note
    limits = {k: options[k] for k in ("min_counts", "min_genes", "max_percent_mito")}
    note = ", ".join(f"{k} = {v:g}" for k, v in limits.items() if v is not None)
    mask = quality_mask(obs, **limits)
    if limits["max_percent_mito"] is not None:
        note = _with_unmeasured(note, obs, ["percent_mito"])
    yield "quality", mask, note


def _with_unmeasured(note, obs, columns):
    """Return a filter's note with the combined datasets that have none of a column; warn of them.

    What is added has no test such as 'hash_umis > 5', which the methods read from the note.
    """
    for column in columns:
        if lacking := sorted(_datasets(obs[not_measured(obs, column)])):
            added = f"no {column} in {_several(lacking)}: all cells kept"
            log.warning("%s", added)
            note += f", {added}"
    return note


def _datasets(obs):
    """Return the names of the datasets that the cells are combined from."""
    return set(obs["dataset"].astype(str)) if "dataset" in obs else set()


def _several(names):
    """Return names in quotes, with ' and ', as notes list with commas."""
    more = [f"{len(names) - 5} more"] if names[5:] else []
    return " and ".join([*(f"'{name}'" for name in names[:5]), *more])


def subsample_mask(groups, n, seed):
    """Return which cells stay when each group keeps at most `n`, drawn without replacement."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(groups), bool)
    codes = texts_of(groups).codes
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        mask[np.sort(rng.permutation(members)[:n])] = True
    return mask


def most_variable(path, cells, genes, n):
    """Return which genes of a canonical matrix are among the `n` most variable of some.

    Parameters
    ----------
    path : path-like
    cells, genes : bool array [n_cells], [n_genes]
        What is looked at.

    Returns
    -------
    bool array [n_genes]
    """
    if n >= genes.sum():
        return genes

    def looked_at():
        start = 0
        for counts, _ in read_blocks(path):
            stop = start + counts.shape[0]
            yield counts[cells[start:stop]][:, genes]
            start = stop

    n_counts = read_annotation(path).obs["n_counts"].to_numpy(float)[cells]
    chosen = np.zeros(len(genes), bool)
    chosen[np.flatnonzero(genes)[variable_genes(scaled_blocks(looked_at(), n_counts), n)]] = True
    return chosen


def cells_per_gene(path, groups):
    """Return in how many cells of each group every gene of a canonical matrix has a count.

    Parameters
    ----------
    path : path-like
    groups : bool array [n_groups, n_cells]

    Returns
    -------
    int array [n_groups, n_genes]
    """
    start, sums = 0, 0
    for counts, _ in read_blocks(path):
        chosen = [counts[group[start : start + counts.shape[0]]] for group in groups]
        n_genes, start = counts.shape[1], start + counts.shape[0]
        sums += np.array([np.bincount(c.indices[c.data > 0], minlength=n_genes) for c in chosen])
    return sums


def write_selected(path, selected):
    """Write parts of a canonical matrix, all in one pass over it.

    Parameters
    ----------
    path : path-like
    selected : dict {path: AnnData without counts}
        What to write there: its cells, in the order of the matrix, and its genes.
    """
    whole = read_annotation(path)
    places = [
        (whole.obs_names.isin(part.obs_names), whole.var_names.isin(part.var_names))
        for part in selected.values()
    ]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(matrix_file(name)) for name in selected]
        start = 0
        for counts, apart in read_blocks(path):
            stop = start + counts.shape[0]
            for file, (cells, genes) in zip(files, places, strict=True):
                rows = cells[start:stop]
                file.append(counts[rows][:, genes], **{k: v[rows] for k, v in apart.items()})
            start = stop
        for file, part in zip(files, selected.values(), strict=True):
            file.finish(part.obs, part.var, dict(part.uns))


def select_cells(dataset_path, counts_path, screen_path, selection_path, *, where, options):
    """Cut a canonical matrix to the study's cells and genes.

    Parameters
    ----------
    dataset_path : path-like
        Canonical matrix of all cells.
    counts_path, screen_path : path-like
        Written: the study's cells x genes, and the same drug's cells of every dose with every
        detected gene (for differential expression, and to see what the left-out doses do).
    selection_path : path-like
        Written: table 'selection', a row per step.
    where : str
        What messages call the dataset.
    options : dict
        Section 'select' of the config.
    """
    # All that decides on cells is in obs: the counts are read for the genes, and to be copied.
    whole = adata = read_annotation(dataset_path)
    genes = adata.uns.pop("named_genes", None)
    left = "" if genes is None else left_out(genes)
    rows, datasets = [], _datasets(adata.obs)

    def keep(mask, step, note=""):
        nonlocal adata
        adata = adata[mask].copy()
        record(step, note)

    def record(step, note, n_more=0):
        nonlocal datasets
        before, datasets = datasets, _datasets(adata.obs)
        if lost := sorted(before - datasets):
            note += f", no cell left of {_several(lost)}"
            log.warning("%s: no cell is left of %s", step, _several(lost))
        n_genes = adata.n_vars + n_more
        rows.append({"step": step, "n_cells": adata.n_obs, "n_genes": n_genes, "note": note})
        log.info("%-24s %7d cells %7d genes  %s", step, adata.n_obs, n_genes, note)
        if adata.n_obs == 0:
            raise input_error(
                f"dataset '{where}'",
                found=f"no cell left after the step '{step}' ({note})",
                expected="cells that pass every filter of 'select'",
                remedy="loosen that filter in the config",
            )

    record("dataset", where, n_left_out(genes) if left else 0)
    if left:
        record("genes without an id", f"left out: {left}")
    names = adata.obs_names
    for step, mask, note in list(cell_filters(adata.obs, options)):
        keep(pd.Series(mask, names).reindex(adata.obs_names).to_numpy(), step, note)

    screen = adata
    if options["doses_um"] is not None:
        note = "uM: " + ", ".join(f"{dose:g}" for dose in options["doses_um"])
        keep(dose_mask(adata.obs, options["doses_um"]), "doses", note)
    vehicle_cells(adata.obs, options["vehicle"])  # refuses a vehicle that is not there
    if options["max_cells_per_dose"] is not None:
        column = "dose_um" if "dose_um" in adata.obs else options["vehicle"]["column"]
        mask = subsample_mask(adata.obs[column], options["max_cells_per_dose"], options["seed"])
        group = "dose" if column == "dose_um" else f"value of {column}"
        keep(mask, "subsample", f"at most {options['max_cells_per_dose']} per {group}")
    groups = np.array([whole.obs_names.isin(part.obs_names) for part in (screen, adata)])
    detected = cells_per_gene(dataset_path, groups) >= options["min_cells_per_gene"]
    screen, adata = screen[:, detected[0]].copy(), adata[:, detected[1]].copy()
    record("detected genes", f"seen in >= {options['min_cells_per_gene']} cells")
    if options["highly_variable_genes"] is not None:
        n = options["highly_variable_genes"]
        chosen = most_variable(dataset_path, groups[1], detected[1], n)
        adata = adata[:, chosen[detected[1]]].copy()
        record("variable genes", f"{n} most variable")
    write_selected(dataset_path, {screen_path: screen, counts_path: adata})
    write_table(pd.DataFrame(rows), selection_path, "selection")
