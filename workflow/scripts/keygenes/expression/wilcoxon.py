"""Differential expression by the Wilcoxon rank-sum test, gene by gene.

The test sees counts per 10,000; p is asymptotic, two-sided, tie-corrected, without continuity
correction. A gene without a count on either side is not tested: it has statistic 0, auc 0.5, p 1.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
from illico import asymptotic_wilcoxon
from loguru import logger as illico_logger
from scipy import sparse
from scipy.stats import false_discovery_control

from keygenes.cells.normalise import counts_per_10k
from keygenes.core.blocks import values_per_column
from keygenes.core.schemas import TABLES
from keygenes.expression.sides import REST, VEHICLE, class_codes

illico_logger.disable("illico")  # it announces every call on stderr

VALUES = 1 << 20  # counts that are tested at a time, or more:
BLOCKS = 32  # of genes at most, as each is looked for in all counts


def _rank_sums(scaled, sides, reference):
    """Return z, U and p of every side but the reference, each {side: float64 array [n_genes]}.

    `sides` holds a whole number per cell; `reference` is one of them, or None for the rest.
    """
    obs = pd.DataFrame({"side": sides.astype(str)}, index=np.arange(len(sides)).astype(str))
    columns = scaled.tocsc()  # genes are ranked one by one: searching rows for each takes longer
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar cannot be turned off
        results = asymptotic_wilcoxon(
            anndata.AnnData(columns, obs=obs),
            is_log1p=False,
            group_keys="side",
            reference=None if reference is None else str(reference),
            use_continuity=False,
            tie_correct=True,
        )
    return {
        side: results.loc[str(side), ["z_score", "statistic", "p_value"]].to_numpy().T
        for side in np.unique(sides)
        if side != reference
    }


def _compare_block(scaled, groups, codes, reference, pseudocount):
    """Return what `compare_groups` does of some genes, but for p_adj.

    Parameters
    ----------
    scaled : scipy.sparse.csr_matrix of float64 [n_cells, n_genes]
        Counts per 10,000, none of them a stored 0.
    groups : int array [n_groups]
    codes : int array [n_cells]
        Place of each cell's group in `groups`.
    reference : int or None
    pseudocount : float
    """
    member = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    sums = (member @ scaled).toarray()
    present = sparse.csr_matrix(
        (np.ones(scaled.nnz), scaled.indices, scaled.indptr), scaled.shape, copy=False
    )
    seen = (member @ present).toarray()
    del present
    sizes = np.bincount(codes)
    compared = {}
    for group, (z, u, p) in _rank_sums(scaled, groups[codes], reference).items():
        own = groups == group
        other = ~own if reference is None else groups == reference
        n, n_reference = int(sizes[own].sum()), int(sizes[other].sum())
        mean, mean_reference = sums[own].sum(axis=0) / n, sums[other].sum(axis=0) / n_reference
        n_seen, n_seen_reference = seen[own].sum(axis=0), seen[other].sum(axis=0)
        compared[int(group)] = pd.DataFrame(
            {
                "statistic": z,
                "log2fc": np.log2((mean + pseudocount) / (mean_reference + pseudocount)),
                "auc": u / (n * n_reference),
                "p": p,
                "mean": mean,
                "mean_reference": mean_reference,
                "detection": n_seen / n,
                "detection_reference": n_seen_reference / n_reference,
                "n_cells": n,
                "n_reference": n_reference,
                "tested": n_seen + n_seen_reference > 0,
            }
        )
    return compared


def compare_groups(counts, n_counts, sides, reference=None, *, pseudocount):
    """Compare groups of cells with a reference group, or each with all the others.

    Genes are tested some at a time: beside the counts only these are in memory, as counts per
    10,000.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Raw counts.
    n_counts : float array [n_cells]
        Total counts of each cell over all measured genes.
    sides : int array [n_cells]
        Group of each cell; negative: left out.
    reference : int, optional
        The group the others are compared with; without one, each with the rest.
    pseudocount : float
        Counts per 10,000, added to both means before log2.

    Returns
    -------
    dict of int to pandas.DataFrame
        Per group, a row per gene in the order of the columns: statistic (z, positive where the
        group is higher), log2fc, auc (chance that a cell of the group is higher than one of the
        reference, ties counting half), p, p_adj (Benjamini-Hochberg over the tested genes), mean
        and mean_reference (counts per 10,000), detection and detection_reference (share of cells
        with a count), n_cells, n_reference, tested. Empty if there is nothing to compare with.
    """
    kept = np.flatnonzero(sides >= 0)
    groups, codes = np.unique(sides[kept], return_inverse=True)
    if len(groups) < 2 or (reference is not None and reference not in groups):
        return {}
    parts = []
    for start, stop in _gene_blocks(counts):
        scaled = counts_per_10k(counts[:, start:stop], n_counts)
        scaled = scaled if len(kept) == len(sides) else scaled[kept]
        parts.append(_compare_block(scaled, groups, codes, reference, pseudocount))
    compared = {}
    for group in parts[0]:
        genes = pd.concat([part[group] for part in parts], ignore_index=True)
        p_adj, tested = np.ones(len(genes)), genes["tested"].to_numpy()
        if tested.any():
            p_adj[tested] = false_discovery_control(genes["p"].to_numpy()[tested])
        genes.insert(genes.columns.get_loc("p") + 1, "p_adj", p_adj)
        compared[group] = genes
    return compared


def _gene_blocks(counts):
    """Return where to cut genes into blocks of about as many counts: starts and ends."""
    n_blocks = max(1, min(-(-counts.nnz // VALUES), counts.shape[1], BLOCKS))
    seen = values_per_column(counts).cumsum()
    cuts = np.searchsorted(seen, np.arange(1, n_blocks) * (counts.nnz / n_blocks))
    cuts = np.unique([0, *cuts, counts.shape[1]]).tolist()
    return list(zip(cuts[:-1], cuts[1:], strict=True))


class Counted(NamedTuple):
    """Raw counts of some cells.

    Attributes
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
    n_counts : float array [n_cells]
        Total counts of each cell over all measured genes.
    ensembl_ids, symbols : sequences of str [n_genes]
    """

    counts: sparse.csr_matrix
    n_counts: np.ndarray
    ensembl_ids: Sequence[str]
    symbols: Sequence[str]


def rank_genes(counted, labels, vehicle, *, task, pseudocount):
    """Test every gene of every class against the rest of the task and against vehicle.

    Parameters
    ----------
    counted : Counted
    labels : sequence [n_cells]
        Class of each cell; None or NaN: not in the task. A categorical keeps its order.
    vehicle : bool array [n_cells]
        Untreated cells, in the task or not.
    task : str
    pseudocount : float
        Counts per 10,000, added to both means before log2.

    Returns
    -------
    pandas.DataFrame
        Schema "wilcoxon" (columns explained in `compare_groups`). Reference "rest": the cells of
        the other classes. Reference "vehicle": the class's cells that are not vehicle against
        all vehicle cells; left out for a class without such cells. By class, reference, then
        p, falling \\|statistic\\| and id.
    """
    names, codes = class_codes(labels)
    of_vehicle = np.where(np.asarray(vehicle, dtype=bool), len(names), codes)
    by_reference = {
        reference: compare_groups(counted.counts, counted.n_counts, *sides, pseudocount=pseudocount)
        for reference, sides in {REST: (codes,), VEHICLE: (of_vehicle, len(names))}.items()
    }
    ids, symbols = np.asarray(counted.ensembl_ids, str), np.asarray(counted.symbols, str)
    frames = []
    for code, name in enumerate(names):
        for reference, compared in by_reference.items():
            if code not in compared:
                continue
            frame = compared[code].drop(columns="tested")
            order = np.lexsort((ids, -frame["statistic"].abs(), frame["p"]))
            frame = frame.assign(
                task=task, group=name, reference=reference, ensembl_id=ids, symbol=symbols
            )
            frames.append(frame.iloc[order])
    columns = TABLES["wilcoxon"].names
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns]


def dose_screen(counted, dose_um, vehicle, *, selected_doses, fdr, min_abs_log2fc, pseudocount):
    """Count the genes that each dose changes against vehicle.

    Parameters
    ----------
    counted : Counted
        Cells of all doses, also those that the study leaves out.
    dose_um : float array [n_cells]
        uM; NaN: unknown, the cell is left out unless it is vehicle.
    vehicle : bool array [n_cells]
    selected_doses : sequence of float, or None for all
        Doses (uM) that the study keeps.
    fdr : float
        A gene counts as changed with p_adj below this ...
    min_abs_log2fc : float
        ... and an absolute log2 fold change of at least this.
    pseudocount : float
        Counts per 10,000, added to both means before log2.

    Returns
    -------
    pandas.DataFrame
        Schema "dose_screen", one row per dose of the treated cells, rising. n_tested: genes with
        a count in at least one of the cells compared.
    """
    dose_um = np.asarray(dose_um, dtype=np.float64)
    vehicle = np.asarray(vehicle, dtype=bool)
    doses = np.unique(dose_um[~vehicle & ~np.isnan(dose_um)])
    codes = np.where(np.isnan(dose_um), -1, np.searchsorted(doses, dose_um))
    codes = np.where(vehicle, len(doses), codes)
    compared = compare_groups(
        counted.counts, counted.n_counts, codes, len(doses), pseudocount=pseudocount
    )
    rows = []
    for code, genes in compared.items():
        significant = genes["tested"] & (genes["p_adj"] < fdr)
        rows.append(
            {
                "dose_um": doses[code],
                "n_cells": genes["n_cells"].iloc[0],
                "n_vehicle": genes["n_reference"].iloc[0],
                "n_up": (significant & (genes["log2fc"] >= min_abs_log2fc)).sum(),
                "n_down": (significant & (genes["log2fc"] <= -min_abs_log2fc)).sum(),
                "n_tested": genes["tested"].sum(),
                "selected": selected_doses is None
                or bool(np.isclose(doses[code], selected_doses, rtol=1e-6).any()),
            }
        )
    return pd.DataFrame(rows, columns=TABLES["dose_screen"].names)
