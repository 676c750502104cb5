"""Lay the cells out in two dimensions."""

import pandas as pd

from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.expression.umap import umap_coordinates

with step(snakemake):
    adata = read_matrix(snakemake.input.counts)
    xy = umap_coordinates(
        adata.X, adata.obs["n_counts"].to_numpy(float), **snakemake.params.options
    )
    table = pd.DataFrame({"cell": adata.obs_names, "umap1": xy[:, 0], "umap2": xy[:, 1]})
    write_table(table, snakemake.output.umap, "umap")
