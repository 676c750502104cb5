"""Time and memory of the rank-value encoding, against the published algorithm cell by cell.

    .venv/bin/python benchmarks/tokenize_cells.py

Simulated cells: about 2,000 genes of 25,000 in each (a whole transcriptome), and 683 of 10,000 (the
thesis's cells). One thread. The plain way is what Geneformer's first tokenizer does and a user
would write: a cell's dense vector, divided by its total and by the medians, the non-zero entries
sorted and cut. `sparse` is the same on the stored entries alone, a plain way at its best. Tokens
must be equal, or the script fails. From file to file both read 1,024 cells at a time and write
Parquet. (Not called tokenize.py: beside other scripts that would hide the standard library's.)
"""

import sys
import tempfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from anndata.io import write_elem
from scipy import sparse
from timing import apart, arguments, emit, ratios, result, rounds, spread

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.core.tables import write_table  # noqa: E402
from keygenes.tokens.encode import Encoding, encode_block  # noqa: E402
from keygenes.tokens.plan import frame_tokens, plan_genes  # noqa: E402
from keygenes.tokens.store import merge_tokens, read_tokens, write_tokens  # noqa: E402

MAX_LENGTH = 2048
TARGET_SUM = 10_000
KNOWN = 0.8  # share of the genes that the vocabulary has
SIZES = {"2000": (2000, 25_000), "683": (683, 10_000)}  # genes of a cell, of all
POOL = 2048  # cells simulated; a larger file repeats them


def simulated(n_cells, genes_per_cell, n_genes):
    """Return counts [n_cells, n_genes] (CSR, float32), ids and a vocabulary."""
    rng = np.random.default_rng(0)
    rates = rng.lognormal(0, 2, n_genes)
    low, high = 1e-9, 1e9
    for _ in range(100):  # how deep a cell must be read to show so many genes
        depth = (low * high) ** 0.5
        fewer = -np.expm1(-rates * depth).sum() < genes_per_cell
        low, high = (depth, high) if fewer else (low, depth)
    blocks = [
        sparse.csr_matrix(rng.poisson(rates * depth, (min(256, n_cells - i), n_genes)), dtype="f4")
        for i in range(0, n_cells, 256)
    ]
    counts = sparse.vstack(blocks, format="csr")
    ids = np.array([f"ENSG{i:011d}" for i in range(n_genes)])
    known = ids[rng.random(n_genes) < KNOWN]
    names = ["<pad>", "<mask>", *known]
    medians = [np.nan, np.nan, *rng.lognormal(0.5, 0.5, len(known))]
    columns = {"token": np.arange(len(names)), "ensembl_id": names, "symbol": names}
    return counts, ids, pd.DataFrame({**columns, "median": medians})


def known_genes(ids, vocabulary):
    """Return the columns in the vocabulary, their tokens and their medians."""
    table = vocabulary.set_index("ensembl_id")
    columns = np.flatnonzero(pd.Index(ids).isin(table.index))
    rows = table.loc[ids[columns]]
    return columns, rows["token"].to_numpy(), rows["median"].to_numpy()


def plain(counts, n_counts, columns, tokens, medians):
    """Encode cell by cell: the dense vector."""
    encoded = []
    for i in range(counts.shape[0]):
        values = counts[i].toarray().ravel()[columns] / n_counts[i] * TARGET_SUM / medians
        seen = np.flatnonzero(values)
        encoded.append(tokens[seen][np.argsort(-values[seen])][:MAX_LENGTH])
    return encoded


def plain_sparse(counts, n_counts, columns, tokens, medians):
    """Encode cell by cell: the stored entries."""
    counts, encoded = counts[:, columns], []
    for i in range(counts.shape[0]):
        cell = counts[i]
        values = cell.data / n_counts[i] * TARGET_SUM / medians[cell.indices]
        encoded.append(tokens[cell.indices][np.argsort(-values)][:MAX_LENGTH])
    return encoded


def encoding(n_cells, size, repeats):
    """Return the times of both plain ways and ours, from counts in memory to tokens."""
    counts, ids, vocabulary = simulated(n_cells, *SIZES[size])
    n_counts = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    known = known_genes(ids, vocabulary)
    plan, frame = plan_genes(ids, vocabulary), frame_tokens(vocabulary, "v1", MAX_LENGTH)
    tokens = encode_block(counts, n_counts, plan, frame)[0]
    for way in (plain, plain_sparse):
        if not np.array_equal(np.concatenate(way(counts, n_counts, *known)), tokens):
            raise SystemExit(f"{way.__name__} and ours give different tokens")
    ways = {
        "plain": lambda: plain(counts, n_counts, *known),
        "sparse": lambda: plain_sparse(counts, n_counts, *known),
        "ours": lambda: encode_block(counts, n_counts, plan, frame),
    }
    return ratios(ways, "ours", repeats), counts.nnz / n_cells


def write_cells(folder, n_cells):
    """Write an h5ad of so many cells with 2,000 genes each, block by block, and a vocabulary."""
    counts, ids, vocabulary = simulated(min(POOL, n_cells), *SIZES["2000"])
    write_table(vocabulary, folder / "vocabulary.parquet", "vocabulary")
    n_counts = np.resize(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), n_cells)
    names = pd.Index([f"cell{i}" for i in range(n_cells)])
    with h5py.File(folder / "cells.h5ad", "w") as file:
        frame = anndata.AnnData(
            sparse.csr_matrix((n_cells, len(ids)), dtype=np.float32),
            obs=pd.DataFrame({"n_counts": n_counts}, index=names),
            var=pd.DataFrame({"symbol": ids}, index=ids),
        )
        write_elem(file, "/", frame)
        del file["X/data"], file["X/indices"], file["X/indptr"]
        lengths = np.resize(np.diff(counts.indptr), n_cells)
        file["X/indptr"] = np.concatenate([[0], np.cumsum(lengths)])
        for part in ("data", "indices"):
            entries = getattr(counts, part)
            options = {"chunks": (1 << 17,), "compression": "lzf", "dtype": entries.dtype}
            stored = file.create_dataset(f"X/{part}", (lengths.sum(),), **options)
            for start in range(0, len(stored), len(entries)):
                stop = min(start + len(entries), len(stored))
                stored[start:stop] = entries[: stop - start]


def ours_to_file(folder, shard=None, name="tokens"):
    """Run what rule tokenize_cells runs."""
    paths = folder / f"{name}.parquet", folder / f"{name}.report.parquet"
    inputs = folder / "cells.h5ad", folder / "vocabulary.parquet"
    write_tokens(*inputs, *paths, Encoding(MAX_LENGTH, "v1"), shard=shard)
    return paths


def plain_to_file(folder, n_cells):
    """Read blocks of the file, encode the plain way, and write Parquet as pyarrow does unasked."""
    adata = anndata.read_h5ad(folder / "cells.h5ad", backed="r")
    known = known_genes(
        adata.var_names.to_numpy(str), pd.read_parquet(folder / "vocabulary.parquet")
    )
    n_counts, encoded = adata.obs["n_counts"].to_numpy(), []
    for start in range(0, n_cells, 1024):
        stop = min(start + 1024, n_cells)
        block = sparse.csr_matrix(adata.X[start:stop])
        encoded += plain(block, n_counts[start:stop], *known)
    adata.file.close()
    table = {
        "cell": adata.obs_names[:n_cells],
        "input_ids": pa.array(encoded, pa.list_(pa.int32())),
    }
    pq.write_table(pa.table(table), folder / "plain.parquet", compression="zstd")


def read(folder):
    """Read the tokens and forget them; the return value must be small."""
    return len(read_tokens(folder / "tokens.parquet")[1])


def merge(folder, n_shards):
    """Put the first shards of eight together."""
    paths = [[folder / f"part{i}{end}.parquet" for i in range(n_shards)] for end in ("", ".report")]
    merged = folder / "merged.parquet", folder / "merged.report.parquet"
    merge_tokens(*paths, *merged, where="cells.h5ad", max_length=MAX_LENGTH)


def scale(folder, n_cells, repeats):
    """Return results about a large file: times from file to file, linearity, peak memory."""
    write_cells(folder, n_cells)
    parts = {n_cells // k: (0, k) for k in (8, 4, 2)} | {n_cells: (0, 1)}
    runs = {size: lambda part=part: ours_to_file(folder, part) for size, part in parts.items()}
    seconds = {size: times.min() for size, times in rounds(runs, min(repeats, 3)).items()}
    sizes, times = np.array(list(seconds)), np.array(list(seconds.values()))
    slope, start = np.polyfit(sizes, times, 1)
    exponent = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    few = n_cells // 8
    whole = {
        "plain": lambda: plain_to_file(folder, few),
        "ours": lambda: ours_to_file(folder, (0, 8), "few"),
    }
    compared = ratios(whole, "ours", repeats)
    writing, reading = apart(ours_to_file, folder)[2], apart(read, folder)[2]
    for i in range(8):
        ours_to_file(folder, (i, 8), f"part{i}")
    merging = {n: apart(merge, folder, n)[2] for n in (2, 8)}
    equal = (folder / "merged.parquet").read_bytes() == (folder / "tokens.parquet").read_bytes()
    if not equal:
        raise SystemExit("merged shards differ from the tokens without shards")
    return [
        result("file_plain_over_ours_2000", compared["plain"]["ratio"]),
        result("seconds_per_1000_cells", 1000 * slope, unit="s"),
        result("seconds_at_the_start", start, unit="s"),
        result("exponent_of_time_over_cells", exponent, "<= 1.1", unit=""),
        result("peak_memory_writing", writing, "< 1000", unit="MB"),
        result("peak_memory_reading", reading, "< 1000", unit="MB"),
        result("peak_memory_merging", merging[8], "< 1000", unit="MB"),
        result("merging_4_times_the_cells", merging[8] - merging[2], "< 50", unit="MB"),
    ]


def main():
    """Print the results."""
    options = arguments(__doc__, [("--cells", {"type": int, "help": "of the large file"})])
    n_cells = options.cells or (8192 if options.quick else 100_000)
    n_timed = 1024 if options.quick else 2048
    results, genes = [], {}
    for size in SIZES:
        timed, genes[size] = encoding(n_timed, size, options.repeats)
        ours = timed["ours"]["all_seconds"] / n_timed
        results += [
            result(f"plain_over_ours_{size}", timed["plain"]["ratio"], ">= 5"),
            result(f"sparse_over_ours_{size}", timed["sparse"]["ratio"]),
            result(f"microseconds_per_cell_{size}", spread(1e6 * ours), unit="us"),
        ]
    with tempfile.TemporaryDirectory() as folder:
        results += scale(Path(folder), n_cells, options.repeats)
    notes = {f"genes per cell ({size})": round(n) for size, n in genes.items()}
    notes |= {"threads": 1, "cells of the large file": n_cells, "tokens": "equal"}
    emit("tokenize_cells", results, notes)


if __name__ == "__main__":
    main()
