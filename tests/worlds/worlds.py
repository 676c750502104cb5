"""Small worlds in which the right answer is known, as the files of a study.

A cell has 150 genes, each with a rate; its rate in a cell varies, and those that are highest make
up the cell, in falling order. Rare genes are therefore seen in long cells only: detection and
length go together, as in real cells. Wells share an offset per gene. What is planted differs:

planted   treated cells express a few genes that no other cell does, anywhere in their order
length    treated cells are longer, and that is all: the same genes at the same rates
nothing   classes are dealt to the wells at random
"""

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.tables import write_table

N_GENES = 150
PLANTED = np.arange(40, 46)
N_SHOWN = 4  # of them in each treated cell
DOSES = (0.0, 2.5, 12.5, 25.0)
HIGH = (12.5, 25.0)
SPECIALS = ("<pad>", "<mask>")
MAX_LENGTH = 128
WELL_SD = 0.1
CELL_SD = 0.8


def gene_ids():
    """Return the Ensembl ids of a world's genes, by falling rate."""
    return np.array([f"ENSG{i:011d}" for i in range(N_GENES)])


def world_cells(kind, *, n_replicates, cells_per_well, seed):
    """Return the obs of a world's cells, and their genes by falling value.

    Returns
    -------
    obs : DataFrame, indexed by cell
        well, replicate, dose_um (in the world 'nothing': dealt at random, as many of each).
    cells : list of int arrays
        Indices of genes.
    """
    rng = np.random.default_rng([seed, {"planted": 0, "length": 1, "nothing": 2}[kind]])
    rates = np.linspace(1.5, -1.5, N_GENES)
    rows, cells = [], []
    for replicate in range(1, n_replicates + 1):
        doses = rng.permutation(DOSES) if kind == "nothing" else np.array(DOSES)
        for place, dose in enumerate(doses):
            offset = WELL_SD * rng.standard_normal(N_GENES)
            treated = dose in HIGH
            for _ in range(cells_per_well):
                value = rates + offset + CELL_SD * rng.standard_normal(N_GENES)
                typical = (80 if treated else 50) if kind == "length" else 55
                length = int(np.clip(typical * np.exp(0.25 * rng.standard_normal()), 15, 120))
                cell = np.argsort(-value, kind="stable")
                if kind == "planted":
                    cell = cell[~np.isin(cell, PLANTED)]
                cell = cell[:length]
                if kind == "planted" and treated:  # anywhere: no rank gives them away
                    shown = rng.permutation(PLANTED)[:N_SHOWN]
                    cell[rng.choice(length, N_SHOWN, replace=False)] = shown
                cells.append(cell)
                rows.append((f"W{replicate}{place}", f"R{replicate}", dose))
    index = [f"c{i:04d}" for i in range(len(rows))]
    return pd.DataFrame(rows, columns=["well", "replicate", "dose_um"], index=index), cells


def write_world(folder, kind, *, n_replicates=6, cells_per_well=12, seed=0):
    """Write a world as tokens, labels, splits, vocabulary and counts; return {name: path}.

    Fold k of the splits tests replicate k and validates the next one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    obs, cells = world_cells(
        kind, n_replicates=n_replicates, cells_per_well=cells_per_well, seed=seed
    )
    first = len(SPECIALS)
    replicate = obs["replicate"].str[1:].astype(int).to_numpy()
    level = np.where(obs["dose_um"].isin(HIGH), "high", "low")
    tables = {
        "tokens": pd.DataFrame(
            {
                "cell": obs.index,
                "input_ids": [(cell + first).astype(np.int32) for cell in cells],
                "length": [len(cell) for cell in cells],
            }
        ),
        "splits": pd.concat(
            pd.DataFrame(
                {
                    "cell": obs.index,
                    "fold": k,
                    "split": np.select(
                        [replicate == k, replicate == k % n_replicates + 1],
                        ["test", "valid"],
                        "train",
                    ),
                    "unit": "well",
                }
            )
            for k in range(1, n_replicates + 1)
        ),
        "vocabulary": pd.DataFrame(
            {
                "token": np.arange(first + N_GENES),
                "ensembl_id": [*SPECIALS, *gene_ids()],
                "symbol": [*SPECIALS, *(f"G{i}" for i in range(N_GENES))],
                "median": 1.0,
            }
        ),
        "labels": pd.DataFrame(
            {
                "cell": obs.index,
                "level": pd.Categorical(level, ["low", "high"], ordered=True),
            }
        ),
    }
    paths = {name: folder / f"{name}.parquet" for name in tables}
    for name, table in tables.items():
        write_table(table, paths[name], None if name == "labels" else name)
    counts = sp.lil_matrix((len(cells), N_GENES), dtype=np.float32)
    for i, cell in enumerate(cells):  # counts in the order of the ranks
        counts[i, cell] = np.arange(len(cell), 0, -1) // 8 + 1
    counts = counts.tocsr()
    obs["n_counts"] = np.asarray(counts.sum(1)).ravel()
    obs["n_genes"] = np.diff(counts.indptr)
    var = pd.DataFrame({"symbol": [f"G{i}" for i in range(N_GENES)]}, index=gene_ids())
    var.index.name = "ensembl_id"
    paths["counts"] = folder / "counts.h5ad"
    ad.AnnData(X=counts, obs=obs, var=var).write_h5ad(paths["counts"])
    return paths
