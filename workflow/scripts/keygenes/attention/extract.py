"""Attention per rank, per gene and per well, and norms: reduced while the model runs."""

import logging

import numpy as np
import pandas as pd

from keygenes.attention.stream import ROW_STATISTICS
from keygenes.attention.subsets import TEST, VEHICLE
from keygenes.attention.sums import LAYER_MEASURES, NORM_MEASURES, attention_sums
from keygenes.attention.tables import gene_table, measure_table, rank_table, well_table
from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import task_cells
from keygenes.models.device import set_up_torch
from keygenes.models.encoder import check_fit, load_trunk

log = logging.getLogger("keygenes")


def drawn(indices, at_most, seed):
    """Return at most `at_most` of the indices, a fixed random draw, in their order."""
    if at_most is None or len(indices) <= at_most:
        return indices
    rng = np.random.default_rng([seed, 13])
    return np.sort(rng.permutation(indices)[:at_most])


def subset_sums(
    *,
    tokens,
    labels,
    splits,
    vocabulary,
    counts_obs,
    weights,
    config,
    task,
    seed,
    vehicle,
    max_length,
    batch_tokens,
    max_cells,
    pair_norms,
    threads,
    device,
    shard=(1, 1),
):
    """Return the `Sums` of one model on test cells and on vehicle training cells, by subset.

    Parameters
    ----------
    counts_obs : DataFrame, indexed by cell
        Obs of the study's cells; its `well` is used where there is one.
    vehicle : bool array, in the order of `counts_obs`
        Untreated cells; those in the training split give the null of later corrections.
    shard : (int, int)
        As of `attention_sums`.
    """
    device = set_up_torch(threads=threads, device=device)
    trunk = load_trunk(weights, config).to(device)
    n_tokens = len(read_table(vocabulary))
    check_fit(trunk.config, vocabulary_size=n_tokens, max_length=max_length, where=str(config))
    frame, cells, class_names = task_cells(tokens, labels, splits, task, seed)
    wells = well_codes(counts_obs, frame["cell"])
    is_vehicle = pd.Series(vehicle, counts_obs.index).loc[frame["cell"]].to_numpy()
    split = frame["split"].to_numpy()
    subsets = {
        TEST: drawn(np.flatnonzero(split == "test"), max_cells, seed),
        VEHICLE: drawn(np.flatnonzero((split == "train") & is_vehicle), max_cells, seed),
    }
    return {
        subset: attention_sums(
            trunk,
            [cells[i] for i in chosen],
            frame["label"].to_numpy()[chosen],
            wells.codes[chosen].astype(np.int64),
            n_classes=len(class_names),
            n_wells=len(wells.categories),
            max_length=max_length,
            batch_tokens=batch_tokens,
            pair_norms=pair_norms,
            shard=shard,
        )
        for subset, chosen in subsets.items()
    }


def well_codes(obs, cells):
    """Return the well of each cell as a categorical; one category 'all' where none is known."""
    known = "well" in obs and obs["well"].notna().all()
    of_cell = obs["well"].astype(str) if known else pd.Series("all", obs.index)
    return pd.Categorical(of_cell.loc[cells])


def write_attention(
    sums, outputs, *, vocabulary, tokens, labels, splits, counts_obs, task, seed, pair_norms, **_
):
    """Write the tables of a model's attention from its sums.

    Parameters
    ----------
    sums : dict {subset: Sums}
    outputs : five path-likes
        For the tables by_rank, by_gene, by_well, norms and heads.
    """
    genes = read_table(vocabulary)["ensembl_id"].to_numpy()
    # a leading <cls> takes position 0 without being a gene: ranks of genes start at 1 all the same
    leading = int("<cls>" in set(genes))
    frame, _, class_names = task_cells(tokens, labels, splits, task, seed)
    wells = well_codes(counts_obs, frame["cell"]).categories
    norms = [m for m in (*NORM_MEASURES, *LAYER_MEASURES) if m != "pair" or pair_norms]
    tables = {
        "by_rank": [rank_table(s, subset, 1 - leading) for subset, s in sums.items()],
        "by_gene": [
            gene_table(s, subset, genes, class_names, leading) for subset, s in sums.items()
        ],
        "by_well": [well_table(s, subset, genes, wells) for subset, s in sums.items()],
        "norms": [measure_table(s, subset, norms) for subset, s in sums.items()],
        "heads": [measure_table(s, subset, ROW_STATISTICS) for subset, s in sums.items()],
    }
    for subset, of_subset in sums.items():
        log.info("%s: attention of %d cells", subset, of_subset.counts["cells"][0])
    for (name, frames), path in zip(tables.items(), outputs, strict=True):
        write_table(pd.concat(frames, ignore_index=True), path, name)


def extract_attention(*, out_by_rank, out_by_gene, out_by_well, out_norms, out_heads, **where):
    """Write attention statistics of one model on test cells and on vehicle training cells.

    Parameters
    ----------
    where : dict
        Arguments of `subset_sums`.
    """
    outputs = (out_by_rank, out_by_gene, out_by_well, out_norms, out_heads)
    write_attention(subset_sums(**where), outputs, **where)
