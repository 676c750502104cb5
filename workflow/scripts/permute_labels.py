"""Permute the classes of every task among the wells."""

from keygenes.cells.label import permuted_labels
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table

with step(snakemake):
    table = permuted_labels(
        read_table(snakemake.input.labels),
        read_matrix(snakemake.input.counts).obs,
        read_table(snakemake.input.splits),
        int(snakemake.wildcards.seed),
    )
    write_table(table, snakemake.output.labels)
