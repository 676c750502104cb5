"""Differential expression of every task: Wilcoxon rank-sum, over all detected genes."""

import pandas as pd

from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.progress import with_progress
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.expression.names import gene_names
from keygenes.expression.wilcoxon import Counted, rank_genes

with step(snakemake):
    labels = read_table(snakemake.input.labels).set_index("cell")
    cells = read_matrix(snakemake.input.screen, labels.index)
    names = gene_names(cells.var_names, cells.var["symbol"], read_table(snakemake.input.vocabulary))
    vehicle = vehicle_cells(cells.obs, snakemake.params.vehicle)
    counted = Counted(cells.X, cells.obs["n_counts"].to_numpy(float), cells.var_names, names)
    tables = [
        rank_genes(
            counted,
            labels[task],
            vehicle,
            task=task,
            **snakemake.params.options,
        )
        for task in with_progress(labels.columns, "Wilcoxon", "tasks")
    ]
    write_table(pd.concat(tables, ignore_index=True), snakemake.output.wilcoxon, "wilcoxon")
