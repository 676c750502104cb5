"""Differential expression of every task with the well as the unit (DESeq2 on sums per well)."""

import pandas as pd

from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.progress import with_progress
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.expression.names import gene_names
from keygenes.expression.pseudobulk import pseudobulk

with step(snakemake):
    labels = read_table(snakemake.input.labels).set_index("cell")
    cells = read_matrix(snakemake.input.screen, labels.index)
    names = gene_names(cells.var_names, cells.var["symbol"], read_table(snakemake.input.vocabulary))
    vehicle = vehicle_cells(cells.obs, snakemake.params.vehicle)
    wells = cells.obs.get("well")
    tables = [
        pseudobulk(cells.X, wells, labels[task], vehicle, cells.var_names, names, task=task)
        for task in with_progress(labels.columns, "pseudobulk", "tasks")
    ]
    write_table(pd.concat(tables, ignore_index=True), snakemake.output.pseudobulk, "pseudobulk")
