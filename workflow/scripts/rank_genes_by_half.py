"""Differential expression of every task in each half of the wells: Wilcoxon rank-sum."""

import pandas as pd

from keygenes.cells.halves import halves_of_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.progress import with_progress
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.expression.halves import compare_halves
from keygenes.expression.names import gene_names
from keygenes.expression.wilcoxon import Counted

with step(snakemake):
    labels = read_table(snakemake.input.labels).set_index("cell")
    cells = read_matrix(snakemake.input.screen, labels.index)
    names = gene_names(cells.var_names, cells.var["symbol"], read_table(snakemake.input.vocabulary))
    counted = Counted(cells.X, cells.obs["n_counts"].to_numpy(float), cells.var_names, names)
    tables = [
        compare_halves(
            counted,
            labels[task],
            halves_of_cells(cells.obs, cells.obs.get("dose_um", labels[task])),
            task=task,
            **snakemake.params.options,
        )
        for task in with_progress(labels.columns, "Wilcoxon in halves", "tasks")
    ]
    write_table(pd.concat(tables, ignore_index=True), snakemake.output.half_tests, "half_tests")
