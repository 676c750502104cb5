"""The parts of a loom file: a dense matrix of genes x cells, and attributes of both."""

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import input_error
from keygenes.inputs.anndata_parts import ROWS, as_native
from keygenes.inputs.frames import read_attributes
from keygenes.inputs.hdf5 import opened, require_readable

CELLS = ("CellID", "cell_id", "obs_names", "barcode", "barcodes", "cell_names")
IDS = ("Accession", "ensembl_id", "gene_ids", "gene_id", "EnsemblID", "Ensembl", "var_names")
SYMBOLS = ("Gene", "gene_name", "gene_symbol", "Symbol", "var_names")


def read_loom_parts(path, layer=None):
    """Read counts, obs and var of a loom file.

    Parameters
    ----------
    path : path-like
    layer : str, optional
        Name of the layer with the counts; else the main matrix has them.

    Returns
    -------
    counts : scipy.sparse.csr_matrix, [n_cells, n_genes]
    obs, var : pandas.DataFrame
        All attributes of cells and genes with a value for each; `obs` is indexed by the cells'
        names.
    """
    with opened(path, "loom") as root:
        layers = root.get("layers", {})
        if layer not in (None, "X", "matrix") and layer not in layers:
            raise input_error(
                str(path),
                found="layers " + (", ".join(map(repr, layers)) or "(none)"),
                expected=f"the counts in {layer!r}",
                remedy="name the layer of raw counts under 'layer:' in the registry entry, or "
                "leave it out where the main matrix has them",
            )
        item = root["matrix"] if layer in (None, "X", "matrix") else layers[layer]
        require_readable([item], path)
        if not isinstance(item, h5py.Dataset) or item.ndim != 2 or item.dtype.kind not in "biufc":
            raise ValueError(f"no matrix of numbers at {item.name}")
        n_genes, n_cells = item.shape
        obs = read_attributes(root["col_attrs"], n_cells, path, "col_attrs", require_readable)
        var = read_attributes(root["row_attrs"], n_genes, path, "row_attrs", require_readable)
        name = next((name for name in CELLS if name in obs), None)
        if name is None:
            raise input_error(
                str(path),
                found="attributes of cells " + (", ".join(map(repr, obs)) or "(none)"),
                expected="one with their names: " + ", ".join(CELLS),
                remedy="add the column attribute CellID",
            )
        obs.index = pd.Index(obs.pop(name).astype(str).to_numpy(), dtype=object)
        return _cells_by_genes(item), obs, var


def _cells_by_genes(item):
    """Return a dense matrix of genes x cells as CSR of cells x genes, read in blocks of genes."""
    n_genes, n_cells = item.shape
    step = max(1, ROWS // max(1, n_cells))
    blocks = [sp.csr_matrix(as_native(item[i : i + step])) for i in range(0, n_genes, step)]
    if not blocks:
        return sp.csr_matrix((n_cells, n_genes), dtype=np.float32)
    return sp.vstack(blocks, format="csr").T.tocsr()


def default_columns(var):
    """Return the columns of a loom's genes that have their ids and symbols (None: none)."""
    ids = next((name for name in IDS if name in var), None)
    return ids, next((name for name in SYMBOLS if name in var and name != ids), None)
