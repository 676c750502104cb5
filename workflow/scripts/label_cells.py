"""Label the cells for every task."""

from keygenes.cells.label import label_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import write_table

with step(snakemake):
    obs = read_annotation(snakemake.input.counts).obs
    write_table(label_cells(obs, snakemake.params.tasks), snakemake.output.labels)
