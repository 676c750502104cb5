"""Lay the cells out in two dimensions."""

import pandas as pd

from keygenes.core.matrices import read_annotation, read_blocks
from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.expression.umap import umap_coordinates

with step(snakemake):
    path = snakemake.input.counts
    obs = read_annotation(path).obs
    xy = umap_coordinates(
        lambda: (counts for counts, _ in read_blocks(path)),
        obs["n_counts"].to_numpy(float),
        **snakemake.params.options,
    )
    table = pd.DataFrame({"cell": obs.index, "umap1": xy[:, 0], "umap2": xy[:, 1]})
    write_table(table, snakemake.output.umap, "umap")
