"""Attention per rank, per gene and per well, and norms: reduced while the model runs."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from keygenes.attention.expected import (
    ONE_BIN,
    Sizes,
    bins_for,
    expected_by_gene,
    fitted,
)
from keygenes.attention.stream import ROW_STATISTICS
from keygenes.attention.subsets import TEST, VEHICLE
from keygenes.attention.sums import (
    LAYER_MEASURES,
    NORM_MEASURES,
    Subset,
    add_attention,
    sums_of_model,
)
from keygenes.attention.tables import (
    expected_table,
    gene_table,
    measure_table,
    rank_table,
    well_table,
)
from keygenes.cells.units import well_codes
from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import task_cells
from keygenes.models.device import autocast, set_up_torch, token_budget
from keygenes.models.encoder import check_fit, load_trunk

log = logging.getLogger("keygenes")


def drawn(indices, at_most, fold):
    """Return at most `at_most` of the indices, a fixed random draw, in their order."""
    if at_most is None or len(indices) <= at_most:
        return indices
    rng = np.random.default_rng([fold, 13])
    return np.sort(rng.permutation(indices)[:at_most])


class LookedAt(NamedTuple):
    """The cells that attention is looked at in.

    Attributes
    ----------
    subsets : dict {subset: Subset}
    class_names, well_names : lists of str
    """

    subsets: dict[str, Subset]
    class_names: list[str]
    well_names: list[str]


def depths_of(obs, cells):
    """Return the total counts of each cell, at least 1; all 1 where they are not known."""
    if "n_counts" not in obs or obs["n_counts"].isna().any():
        return np.ones(len(cells))
    return np.maximum(obs["n_counts"].loc[cells].to_numpy(float), 1)


def looked_at(files, obs, vehicle, max_cells):
    """Return the cells that attention is looked at in, and the names of classes and wells.

    Parameters
    ----------
    files : TaskFold
    obs : DataFrame, indexed by cell
        Of the study's cells; its `well` and `n_counts` are used where there are any.
    vehicle : bool array, in the order of `obs`
        Untreated cells; those in the training split say what attention to expect.
    max_cells : int or None
        At most so many of each subset, the same ones for every model of the fold.

    Returns
    -------
    LookedAt
    """
    frame, cells, class_names = task_cells(*files)
    wells = well_codes(obs, frame["cell"])
    depths = depths_of(obs, frame["cell"])
    is_vehicle = pd.Series(vehicle, obs.index).loc[frame["cell"]].to_numpy()
    split = frame["split"].to_numpy()
    of_subset = {TEST: split == "test", VEHICLE: (split == "train") & is_vehicle}
    subsets = {}
    for subset, chosen in of_subset.items():
        chosen = drawn(np.flatnonzero(chosen), max_cells, files.fold)
        subsets[subset] = Subset(
            name=subset,
            cells=[cells[i] for i in chosen],
            sizes=Sizes(np.array([len(cells[i]) for i in chosen], int), depths[chosen]),
            classes=frame["label"].to_numpy()[chosen],
            wells=wells.codes[chosen].astype(np.int64),
        )
    return LookedAt(subsets, class_names, list(wells.categories))


def subset_sums(looked, files, *, pair_norms, compute, shard=(1, 1)):
    """Return the `Sums` of one model on test cells and on vehicle training cells, by subset.

    Parameters
    ----------
    looked : LookedAt
    files : ModelFiles
    pair_norms, shard
        As of `add_attention`.
    """
    device = set_up_torch(compute)
    trunk = load_trunk(files.weights, files.config).to(device)
    size = {"vocabulary_size": len(read_table(files.vocabulary)), "max_length": files.max_length}
    check_fit(trunk.config, **size, where=str(files.config))
    of_subset = {TEST: ONE_BIN, VEHICLE: bins_for(looked.subsets[VEHICLE].sizes)}
    names = len(looked.class_names), len(looked.well_names)
    how = {"batch_tokens": token_budget(compute, trunk.config), "pair_norms": pair_norms}
    found = {}
    with autocast(device, compute.precision):
        for subset, part in looked.subsets.items():
            bins = of_subset[subset]
            found[subset] = sums_of_model(trunk, *names, files.max_length, bins)
            add_attention(found[subset], trunk, part, **how, shard=shard, bins=bins)
    return found


def write_attention(sums, looked, outputs, *, vocabulary, pair_norms):
    """Write the tables of a model's attention from its sums.

    Parameters
    ----------
    sums : dict {subset: Sums}
    looked : LookedAt
    outputs : dict {table: path-like}
        For the tables by_rank, by_gene, by_well, norms, heads and expected.
    """
    genes = read_table(vocabulary)["ensembl_id"].to_numpy()
    # a leading <cls> takes position 0 without being a gene: ranks of genes start at 1 all the same
    leading = int("<cls>" in set(genes))
    subsets, class_names, well_names = looked
    untreated = subsets[VEHICLE].sizes
    bins = bins_for(untreated)
    expectation = fitted(sums[VEHICLE].log2_sums(), untreated, bins)
    if expectation is None:
        log.warning("no vehicle cell in training: residuals of attention are missing")
    norms = [m for m in (*NORM_MEASURES, *LAYER_MEASURES) if m != "pair" or pair_norms]
    tables = {"expected": [expected_table(sums[VEHICLE], untreated, bins, 1 - leading)]}
    for subset, part in subsets.items():
        of_subset, expected = sums[subset], np.nan
        if expectation is not None:
            codes = part.wells, len(well_names), len(genes)
            expected = expected_by_gene(expectation, part.cells, part.sizes.depths, *codes)
        found = {
            "by_rank": rank_table(of_subset, subset, 1 - leading, expectation, part.sizes),
            "by_gene": gene_table(of_subset, subset, genes, class_names, leading),
            "by_well": well_table(
                of_subset,
                subset,
                genes,
                well_names,
                pair_norms=pair_norms,
                expected=expected,
            ),
            "norms": measure_table(of_subset, subset, norms),
            "heads": measure_table(of_subset, subset, ROW_STATISTICS),
        }
        for name, table in found.items():
            tables.setdefault(name, []).append(table)
        n_cells, raised = (int(of_subset.count(name)[0]) for name in ("cells", "raised"))
        log.info("%s: attention of %d cells", subset, n_cells)
        if raised:
            log.warning(
                "%s: %d values of attention received were below the smallest float32 and count "
                "as it in the logs",
                subset,
                raised,
            )
    for name, path in outputs.items():
        write_table(pd.concat(tables[name], ignore_index=True), path, name)


def extract_attention(looked, files, outputs, *, pair_norms, compute):
    """Write attention statistics of one model; arguments as of `subset_sums`, `write_attention`."""
    sums = subset_sums(looked, files, pair_norms=pair_norms, compute=compute)
    write_attention(sums, looked, outputs, vocabulary=files.vocabulary, pair_norms=pair_norms)
