"""Deal the classes of a task anew to its wells, and draw validation wells to go with it."""

from keygenes.cells.relabel import relabelled_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table

with step(snakemake):
    labels, splits = relabelled_cells(
        read_table(snakemake.input.labels),
        read_matrix(snakemake.input.counts).obs,
        read_table(snakemake.input.splits),
        snakemake.wildcards.task,
        int(snakemake.wildcards.relabelling),
        snakemake.params.options["valid_fraction"],
    )
    write_table(labels, snakemake.output.labels)
    write_table(splits, snakemake.output.splits, "splits")
