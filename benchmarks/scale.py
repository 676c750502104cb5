"""Memory and time of the steps that hold cells x genes, against the number of cells.

    .venv/bin/python benchmarks/scale.py
    .venv/bin/python benchmarks/scale.py --cells 2500 5000 10000 --genes 25000

What the rules read_dataset, select_cells, tokenize_cells, rank_genes (one task of five classes) and
embed_cells run, on simulated cells of about 2,140 genes of 25,000. Each step has a process of its
own, which has run the step on 100 cells before: what it had in memory then (packages, compiled
code) is `memory_before`, and is taken from its peak. The rest is divided by the bytes of what the
study keeps: a count (float32) and a gene (int32) for each value of cells/counts.h5ad, all cells
here. Seconds are of the processor, not of the clock, so that whatever else runs there does not
count; their exponent is 1 where twice the cells take twice as long.
"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from timing import apart, arguments, emit, peak_megabytes, result

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.core.matrices import read_annotation, read_blocks, read_matrix  # noqa: E402
from keygenes.core.matrix_file import matrix_file  # noqa: E402
from keygenes.core.tables import write_table  # noqa: E402

SIZES = (25_000, 50_000, 100_000)
GENES, GENES_PER_CELL = 25_000, 2_140
CLASSES = 5
KNOWN, MAX_LENGTH = 0.8, 2048  # share of the genes that the vocabulary has; tokens of a cell
FEW = 100  # cells that a step runs on before it is measured
TARGET = "<= 1.5"
UMAP = {"n_variable_genes": 2000, "n_components": 50, "n_neighbors": 15, "min_dist": 0.5}
SELECT = {
    **{"drug": None, "doses_um": None, "hash_filter": None, "max_cells_per_dose": None, "seed": 1},
    **{"min_counts": 0, "min_genes": 0, "max_percent_mito": None, "min_cells_per_gene": 3},
    **{"highly_variable_genes": None, "vehicle": {"column": "group", "value": "class0"}},
}


def write_cells(folder, n_cells, n_genes):
    """Write a dataset as a user has it, block by block, and a vocabulary."""
    folder.mkdir()
    rng = np.random.default_rng(n_cells)
    rates = np.random.default_rng(0).lognormal(0, 2, (1, n_genes))
    rates = rates * np.random.default_rng(1).lognormal(0, 0.3, (CLASSES, n_genes))
    wanted = min(GENES_PER_CELL, n_genes // 4)
    low, high = 1e-9, 1e9
    for _ in range(100):  # how deep a cell must be read to show so many genes
        depth = (low * high) ** 0.5
        fewer = -np.expm1(-rates[0] * depth).sum() < wanted
        low, high = (depth, high) if fewer else (low, depth)
    classes = np.arange(n_cells) % CLASSES
    ids = np.array([f"ENSG{i:011d}" for i in range(n_genes)])
    with matrix_file(folder / "given.h5ad") as file:
        for start in range(0, n_cells, 250):
            of_cells = rates[classes[start : start + 250]] * depth
            file.append(sparse.csr_matrix(rng.poisson(of_cells), dtype=np.float32))
        names = [f"cell{i}" for i in range(n_cells)]
        obs = pd.DataFrame({"group": [f"class{i}" for i in classes]}, index=names)
        file.finish(obs, pd.DataFrame({"symbol": ids}, index=ids), {})
    known = ids[np.random.default_rng(2).random(n_genes) < KNOWN]
    names = ["<pad>", "<mask>", *known]
    medians = [np.nan, np.nan, *np.random.default_rng(3).lognormal(0.5, 0.5, len(known))]
    columns = {"token": np.arange(len(names)), "ensembl_id": names, "symbol": names}
    table = pd.DataFrame({**columns, "median": medians})
    write_table(table, folder / "vocabulary.parquet", "vocabulary")


def read(folder):
    """Run what rule read_dataset runs."""
    from keygenes.inputs.readers import open_dataset

    dataset = open_dataset({"layout": "h5ad"}, {"matrix": folder / "given.h5ad"})
    dataset.write(folder / "dataset.h5ad")


def select(folder):
    """Run what rule select_cells runs."""
    from keygenes.cells.select import select_cells

    paths = [folder / name for name in ("counts.h5ad", "screen.h5ad", "selection.parquet")]
    select_cells(folder / "dataset.h5ad", *paths, where="cells", options=SELECT)


def tokenize(folder):
    """Run what rule tokenize_cells runs."""
    from keygenes.tokens.encode import Encoding
    from keygenes.tokens.store import write_tokens

    inputs = folder / "counts.h5ad", folder / "vocabulary.parquet"
    outputs = folder / "tokens.parquet", folder / "report.parquet"
    write_tokens(*inputs, *outputs, Encoding(MAX_LENGTH, "v1"))


def wilcoxon(folder):
    """Run what rule rank_genes runs."""
    from keygenes.expression.wilcoxon import Counted, rank_genes

    labels = read_annotation(folder / "counts.h5ad").obs["group"]
    cells = read_matrix(folder / "screen.h5ad", labels.index)
    n_counts, vehicle = cells.obs["n_counts"].to_numpy(float), (labels == "class0").to_numpy()
    genes = cells.var_names, cells.var["symbol"]
    counted = Counted(cells.X, n_counts, *genes)
    rank_genes(counted, labels, vehicle, task="group", pseudocount=1.0)


def umap(folder):
    """Run what rule embed_cells runs."""
    from keygenes.expression.umap import umap_coordinates

    path = folder / "counts.h5ad"
    n_counts = read_annotation(path).obs["n_counts"].to_numpy(float)
    umap_coordinates(lambda: (part for part, _ in read_blocks(path)), n_counts, **UMAP, seed=1)


STEPS = {step.__name__: step for step in (read, select, tokenize, wilcoxon, umap)}


def resident():
    """Return the memory that this process has now, in MB; its peak counts from here."""
    with contextlib.suppress(OSError):  # elsewhere the peak is that of the start, too
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_megabytes()


def measured(step, few, folder):
    """Return the processor's seconds of a step, the memory before it and at its peak, in MB."""
    STEPS[step](few)
    before, started = resident(), time.process_time()
    STEPS[step](folder)
    return time.process_time() - started, before, peak_megabytes()


def kept_megabytes(folder):
    """Return the bytes of a count and its gene, for all values that the study keeps, in MB."""
    import h5py

    with h5py.File(folder / "counts.h5ad") as file:
        return 8 * len(file["X/data"]) / 1e6


def main():
    """Print the results."""
    more = [
        ("--cells", {"type": int, "nargs": "+", "help": "numbers of cells, rising"}),
        ("--genes", {"type": int, "default": GENES}),
        ("--steps", {"nargs": "+", "choices": list(STEPS), "default": list(STEPS)}),
    ]
    options = arguments(__doc__, more)
    sizes = options.cells or ((500, 1000, 2000) if options.quick else SIZES)
    found, kept = {}, {}
    with tempfile.TemporaryDirectory() as place:
        few = Path(place) / "few"
        write_cells(few, FEW, options.genes)
        for n in sizes:
            folder = Path(place) / str(n)
            write_cells(folder, n, options.genes)
            for step in STEPS:
                if step in options.steps or step in ("read", "select"):  # the others need these
                    found[step, n] = apart(measured, step, few, folder)[0]
                    print(step, n, *(f"{value:.1f}" for value in found[step, n]), flush=True)
            kept[n] = kept_megabytes(folder)
            for path in folder.iterdir():
                path.unlink()
    results = []
    for step in options.steps:
        times = [found[step, n][0] for n in sizes]
        for n in sizes:
            seconds, before, peak = found[step, n]
            target = TARGET if n == sizes[-1] else None
            over = (peak - before) / kept[n]
            results.append(result(f"{step}_memory_over_kept_{n}", over, target))
            results.append(result(f"{step}_seconds_{n}", seconds, unit="s"))
        results.append(result(f"{step}_memory_before", before, unit="MB"))
        results.append(result(f"{step}_peak_memory_{n}", peak, unit="MB"))
        if len(sizes) > 1:
            exponent = np.polyfit(np.log(sizes), np.log(times), 1)[0]
            results.append(result(f"{step}_exponent_of_time", exponent, unit=""))
    notes = {f"kept of {n} cells": f"{kept[n]:,.0f} MB" for n in sizes}
    emit("scale", results, {"genes": options.genes, "threads": 1, **notes})


if __name__ == "__main__":
    main()
