"""A study of a few dozen cells and a model of a few thousand weights, as files."""

import numpy as np
import pandas as pd

from keygenes.core.tables import write_table
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles, new_masked_model, save_model, small_config

N_GENES = 30


def tiny_config(*, n_tokens=N_GENES + 2, layers=2, heads=2, hidden=16, max_length=24, spread=0.3):
    """Return the configuration of a tiny encoder.

    Parameters
    ----------
    spread : float
        Standard deviation of its random weights: wide enough that attention is far from uniform.
    """
    config = small_config(
        vocabulary_size=n_tokens, max_length=max_length, layers=layers, heads=heads, hidden=hidden
    )
    config.initializer_range = spread
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.1
    return config


def write_model(folder, seed=0, **config):
    """Write a tiny masked-token model; return {'weights', 'config'}."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"weights": folder / "model.safetensors", "config": folder / "config.json"}
    save_model(new_masked_model(tiny_config(**config), seed), *paths.values())
    return paths


def random_cells(n, seed=0, *, n_tokens=N_GENES + 2, first_gene=2, shortest=5, longest=20):
    """Return cells of different lengths, no gene twice: list of int32 arrays."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, n)
    genes = np.arange(first_gene, n_tokens)
    return [rng.permutation(genes)[:length].astype(np.int32) for length in lengths]


def write_study(folder, *, n_cells=60, specials=("<pad>", "<mask>"), seed=0):
    """Write tokens, labels, splits and vocabulary of cells whose class shows in their first gene.

    Cells c0, c1, ... have the classes low and high in turn, wells of six cells, and the dose of
    their class; a fifth is for testing, a fifth for validation. With <cls> among the specials
    every cell starts with it.

    Returns
    -------
    dict {'tokens', 'labels', 'splits', 'vocabulary': path}
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = len(specials)
    cells = random_cells(n_cells, seed, n_tokens=first + N_GENES, first_gene=first)
    for i, cell in enumerate(cells):
        top = first + i % 2
        cell[cell == top] = cell[0]
        cell[0] = top
        if "<cls>" in specials:
            cells[i] = np.concatenate([[specials.index("<cls>")], cell]).astype(np.int32)
    names = [f"c{i}" for i in range(n_cells)]
    ids = [*specials, *(f"ENSG{j:011d}" for j in range(N_GENES))]
    part = np.resize(["train"] * 6 + ["valid"] * 2 + ["test"] * 2, n_cells)
    tables = {
        "tokens": pd.DataFrame(
            {"cell": names, "input_ids": cells, "length": [len(cell) for cell in cells]}
        ),
        "splits": pd.concat(
            pd.DataFrame({"cell": names, "fold": k, "split": np.roll(part, 2 * k), "unit": "well"})
            for k in (1, 2)
        ),
        "vocabulary": pd.DataFrame(
            {
                "token": np.arange(len(ids)),
                "ensembl_id": ids,
                "symbol": [name.replace("ENSG00000000", "S") for name in ids],
                "median": 1.0,
            }
        ),
    }
    paths = {name: folder / f"{name}.parquet" for name in (*tables, "labels")}
    for name, table in tables.items():
        write_table(table, paths[name], name)
    level = pd.Categorical(np.resize(["low", "high"], n_cells), ["low", "high"], ordered=True)
    write_table(pd.DataFrame({"cell": names, "level": level}), paths["labels"])
    return paths


def task_fold(study, fold=1):
    """Return the cells of a fold of a study of `write_study`."""
    return TaskFold(study["tokens"], study["labels"], study["splits"], "level", fold)


def model_files(study, max_length=24):
    """Return the model of paths as those of `write_study` and `write_model` together."""
    names = ("weights", "config", "vocabulary")
    return ModelFiles(*(study.get(name) for name in names), max_length)


def obs_of(n_cells=60):
    """Return obs of the cells of `write_study`."""
    index = [f"c{i}" for i in range(n_cells)]
    return pd.DataFrame(
        {
            "well": [f"W{i // 6}" for i in range(n_cells)],
            "dose_um": np.resize([0.0, 25.0], n_cells),
            "n_counts": 1000.0,
        },
        index=index,
    )
