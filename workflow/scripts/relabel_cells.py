"""Deal the classes of a task anew to its wells, and draw validation wells to go with it."""

from keygenes.cells.relabel import relabelled_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table

with step(snakemake):
    files, out = snakemake.input, snakemake.output
    cells = read_table(files.labels), read_annotation(files.counts).obs, read_table(files.splits)
    task, share = snakemake.wildcards.task, snakemake.params.options["valid_fraction"]
    for number, to_labels, to_splits in zip(
        snakemake.params.numbers, out.labels, out.splits, strict=True
    ):
        labels, splits = relabelled_cells(*cells, task, number, share)
        write_table(labels, to_labels)
        write_table(splits, to_splits, "splits")
