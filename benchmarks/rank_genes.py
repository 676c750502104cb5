"""Time of the Wilcoxon test of all genes, against scanpy's, and how far their p-values differ.

    .venv/bin/python benchmarks/rank_genes.py [--h5ad CELLS.h5ad --column OBS_COLUMN]

What rule rank_genes runs for one task (`keygenes.expression.wilcoxon.rank_genes`: every class
against the rest and against the first class, from raw counts) against two calls of
`scanpy.tl.rank_genes_groups(method="wilcoxon", tie_correct=True)` on counts per 10,000, which is
handed to scanpy ready made. Without a file the cells are simulated: five groups, 683 genes of
10,000 in a cell, a tenth of the genes shifted. The script fails unless the p-values are equal to
1e-10 relative where both exceed 1e-300.
"""

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse
from threadpoolctl import threadpool_limits
from timing import arguments, emit, ratios, result

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.cells.normalise import counts_per_10k  # noqa: E402
from keygenes.expression.wilcoxon import (  # noqa: E402
    Counted,  # noqa: E402
    compare_groups,
    rank_genes,
)

TOLERANCE, SMALLEST = 1e-10, 1e-300
N_GROUPS, N_GENES, GENES_PER_CELL = 5, 10_000, 683


def simulated(n_cells):
    """Return counts (CSR) and a group for each cell, the first being the vehicle."""
    rng = np.random.default_rng(0)
    rates = rng.lognormal(0, 2, N_GENES)
    rates *= GENES_PER_CELL / rates.sum() * 3  # about as many genes seen
    groups = rng.integers(0, N_GROUPS, n_cells)
    shifts = np.ones((N_GROUPS, N_GENES))
    shifted = rng.random(N_GENES) < 0.1
    shifts[1:, shifted] = rng.lognormal(0, 0.5, (N_GROUPS - 1, shifted.sum()))
    depth = rng.lognormal(0, 0.4, n_cells)[:, None]
    blocks = [
        sparse.csr_matrix(
            rng.poisson(rates * shifts[groups[i : i + 256]] * depth[i : i + 256]), dtype="f4"
        )
        for i in range(0, n_cells, 256)
    ]
    return sparse.vstack(blocks, format="csr"), groups


def given(path, column):
    """Return counts and groups (the most frequent first, as its vehicle) of a file's cells."""
    cells = anndata.read_h5ad(path)
    codes, _ = pd.factorize(cells.obs[column].astype(str), sort=True)
    first = np.bincount(codes).argmax()
    return sparse.csr_matrix(cells.X, dtype=np.float32), (codes - first) % (codes.max() + 1)


def scanpys(cells, reference):
    """Run scanpy's test; the cells then hold its result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the counts not being logarithms, and slow frames
        sc.tl.rank_genes_groups(
            cells, "group", reference=reference, method="wilcoxon", tie_correct=True
        )
    return cells.uns["rank_genes_groups"]


def largest_difference(table, found, reference, genes):
    """Return the largest relative difference of p between our table and scanpy's result."""
    worst = 0.0
    ours = table[table["reference"] == reference]
    for group in found["names"].dtype.names:
        theirs = pd.Series(found["pvals"][group], index=found["names"][group])[genes]
        p = ours[ours["group"] == group].set_index("ensembl_id")["p"][genes].to_numpy()
        theirs = theirs.to_numpy()
        both = (p > SMALLEST) & (theirs > SMALLEST)
        worst = max(worst, (np.abs(p - theirs)[both] / theirs[both]).max())
    return worst


def main():
    """Print the results."""
    options = arguments(
        __doc__,
        [
            ("--h5ad", {"help": "cells with raw counts, instead of simulated ones"}),
            ("--column", {"help": "the obs column with their groups"}),
        ],
    )
    if options.h5ad:
        counts, groups = given(options.h5ad, options.column)
    else:
        counts, groups = simulated(1500 if options.quick else 3800)
    n_counts = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    seen = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]))
    counts = counts[:, seen]
    genes = np.array([f"g{i}" for i in range(len(seen))])
    labels = pd.Categorical.from_codes(groups, [str(i) for i in range(groups.max() + 1)])
    scaled = counts_per_10k(counts, n_counts)
    obs = pd.DataFrame({"group": labels}, index=[f"c{i}" for i in range(len(groups))])
    cells = anndata.AnnData(scaled, obs=obs, var=pd.DataFrame(index=genes))

    def ours():
        vehicle = groups == 0
        return rank_genes(
            Counted(counts, n_counts, genes, genes), labels, vehicle, task="task", pseudocount=1.0
        )

    def scanpy():
        return [scanpys(cells, reference) for reference in ("rest", "0")]

    with threadpool_limits(options.threads):
        table = ours()
        differences = {}
        for reference, name in (("rest", "rest"), ("0", "vehicle")):
            found = scanpys(cells, reference)
            differences[name] = largest_difference(table, found, name, genes)
            if not differences[name] <= TOLERANCE:
                raise SystemExit(f"p-values differ by {differences[name]:.2g} against {name}")
        both = ratios({"scanpy": scanpy, "ours": ours}, "ours", options.repeats, warm_up=False)
        rest = ratios(
            {
                "scanpy": lambda: scanpys(cells, "rest"),
                "ours": lambda: compare_groups(counts, n_counts, groups, pseudocount=1.0),
            },
            "ours",
            options.repeats,
            warm_up=False,
        )
    results = [
        result("scanpy_over_ours", both["scanpy"]["ratio"], ">= 10"),
        result("scanpy_over_ours_rest_only", rest["scanpy"]["ratio"]),
        result("seconds_scanpy", both["scanpy"]["seconds"], unit="s"),
        result("seconds_ours", both["ours"]["seconds"], unit="s"),
        result("largest_relative_difference_of_p", max(differences.values()), "<= 1e-10", unit=""),
    ]
    notes = {
        "cells": f"{options.h5ad and Path(options.h5ad).name or 'simulated'}, {len(groups)}",
        "genes": len(genes),
        "groups": int(groups.max()) + 1,
        "threads": options.threads,
    }
    emit("rank_genes", results, notes)


if __name__ == "__main__":
    main()
