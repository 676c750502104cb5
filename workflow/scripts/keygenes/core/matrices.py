"""Matrices of cells x genes: one way to read and write them."""

import anndata
import pandas as pd
import scipy.sparse

from keygenes.core.errors import input_error
from keygenes.core.files import written


def write_matrix(adata, path):
    """Write an AnnData as h5ad, atomically; text columns become categories."""
    for frame in (adata.obs, adata.var):
        for column in frame.columns:
            if frame[column].dtype == object or isinstance(frame[column].dtype, pd.StringDtype):
                frame[column] = pd.Categorical(frame[column].astype(object))
    if scipy.sparse.issparse(adata.X):
        adata.X.sort_indices()
    with written(path) as part:
        adata.write_h5ad(part, compression="lzf")


def read_matrix(path):
    """Return the AnnData of an h5ad file that the pipeline wrote.

    Raises
    ------
    InputError
        If the file cannot be read (half copied, damaged).
    """
    try:
        return anndata.read_h5ad(path)
    except (OSError, KeyError) as error:
        raise input_error(
            str(path),
            found=f"a file that does not open as h5ad ({error})",
            expected="a matrix written by an earlier step",
            remedy="delete it and run again",
        ) from error
