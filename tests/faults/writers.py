"""One writer per kind of file that the pipeline leaves, each with about a megabyte to write."""

import functools

import anndata
import matplotlib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from matplotlib.figure import Figure

from keygenes.attention.sums import Shape, Sums, write_sums
from keygenes.core.files import write_json, written
from keygenes.core.matrices import write_matrix
from keygenes.core.tables import write_table
from keygenes.inputs.download import fetch
from keygenes.models.encoder import new_masked_model, save_model, small_config
from keygenes.report.style import save_figure
from keygenes.tokens.encode import Encoding
from keygenes.tokens.store import write_tokens
from keygenes.tokens.vocabulary import dataset_vocabulary

matplotlib.use("svg")
N = 40_000


@functools.cache
def _random():
    return np.random.default_rng(0).random((3, N))


def _table(folder):
    one, two, _ = _random()
    cells = [f"cell{i}" for i in range(N)]
    table = pd.DataFrame({"cell": cells, "umap1": one, "umap2": two})
    write_table(table, folder / "umap.parquet", "umap")


@functools.cache
def _cells():
    counts = scipy.sparse.random(1500, 400, 0.5, format="csr", dtype=np.float32, rng=1)
    counts.data = np.ceil(counts.data * 1e6)
    genes = pd.Index([f"ENSG{i:011}" for i in range(400)], name="ensembl_id")
    obs = pd.DataFrame({"n_counts": np.ones(1500)}, index=[f"cell{i}" for i in range(1500)])
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame({"symbol": list(genes)}, index=genes))


def _matrix(folder):
    write_matrix(_cells().copy(), folder / "counts.h5ad")


@functools.cache
def _model():
    config = small_config(vocabulary_size=500, max_length=64, layers=2, heads=2, hidden=128)
    return new_masked_model(config, seed=0)


def _weights(folder):
    save_model(_model(), folder / "model.safetensors", folder / "config.json")


def _sums(folder):
    of_test = Sums(Shape(4, 4, n_tokens=500, n_classes=2, n_wells=2), max_length=500)
    write_sums({"test": of_test, "vehicle_train": of_test}, folder / "sums.safetensors")


def _figure(folder):
    figure = Figure()
    figure.subplots().plot(*_random()[:2, :20_000], ",")
    save_figure(figure, folder / "figure.svg", folder / "figure.png", simulated=True)


def _checkpoint(folder):
    with written(folder / "resume.pt") as part:
        torch.save({"model": _model().state_dict()}, part)


@functools.cache
def _encoding(folder):
    write_matrix(_cells().copy(), folder / "counts.h5ad")
    write_table(dataset_vocabulary(_cells()), folder / "vocabulary.parquet", "vocabulary")
    return folder / "counts.h5ad", folder / "vocabulary.parquet"


def _tokens(folder):
    outputs = folder / "tokens.parquet", folder / "report.parquet"
    write_tokens(*_encoding(folder.parent), *outputs, Encoding(400, "v1"))


def _json(folder):
    write_json({"values": _random()[0].tolist()}, folder / "states.json")


def _copy(folder):
    source = folder.parent / "source.bin"
    source.write_bytes(_random().tobytes())
    fetch(folder / "copied.bin", name="dataset 'x'", path=source)


WRITERS = {
    "table": _table,
    "matrix": _matrix,
    "weights": _weights,
    "sums": _sums,
    "figure": _figure,
    "checkpoint": _checkpoint,
    "tokens": _tokens,
    "json": _json,
    "copy": _copy,
}


def kinds(names):
    """Return kinds of files as parameters of a test, matrices in a process of their own.

    HDF5 is the worse for what a flipped bit left of a file.
    """
    apart = {"matrix": pytest.mark.damaging}
    return [pytest.param(name, marks=apart.get(name, ())) for name in names]
