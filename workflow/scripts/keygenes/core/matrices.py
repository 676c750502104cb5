"""Matrices of cells x genes: one way to read and write them."""

from pathlib import Path

import anndata
import h5py
import pandas as pd
import scipy.sparse
from anndata.io import read_elem, write_elem

from keygenes.core.files import intact, written

# Not lzf: it looks up matches in memory that it did not clear, so that its bytes do not repeat.
PACKED = {"compression": "gzip", "compression_opts": 1}
STORED = {**PACKED, "shuffle": True, "fletcher32": True}  # a checksum per block, any reader tests


def write_matrix(adata, path):
    """Write an AnnData as h5ad, atomically; text columns become categories.

    HDF5 makes the file in memory, where it never takes more than the matrix: with a disk that gets
    full under an open file, the library prints what nobody can read, and may crash much later.
    """
    for frame in (adata.obs, adata.var):
        for column in frame.columns:
            if frame[column].dtype == object or isinstance(frame[column].dtype, pd.StringDtype):
                frame[column] = pd.Categorical(frame[column].astype(object))
    if scipy.sparse.issparse(adata.X):
        adata.X.sort_indices()
    parts = {"obs": adata.obs, "var": adata.var, "obsm": dict(adata.obsm), "uns": adata.uns}
    with h5py.File("in memory", "w", driver="core", backing_store=False, block_size=2**22) as file:
        write_elem(file, "/", anndata.AnnData(**parts), dataset_kwargs=PACKED)  # text: no checksum
        write_elem(file, "X", adata.X, dataset_kwargs=STORED)
        file.flush()
        image = file.id.get_file_image()
    with written(path) as part:
        Path(part).write_bytes(image)


def read_genes(path):
    """Return var of an h5ad file that the pipeline wrote, without its counts.

    Raises
    ------
    InputError
        If the file cannot be read (half copied, damaged).
    """
    with intact(path), h5py.File(path, "r") as file:
        return read_elem(file["var"])


def read_matrix(path):
    """Return the AnnData of an h5ad file that the pipeline wrote.

    Raises
    ------
    InputError
        If the file cannot be read (half copied, damaged).
    """
    with intact(path):
        return anndata.read_h5ad(path)
