"""Accuracy, attended genes and shift by rank of the regimes that read a variant of the tokens."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_inputs import equal_length
from keygenes.report.plates import save_plate

with step(snakemake):
    table = read_table(snakemake.input.input_length)
    figure = equal_length(
        table,
        read_table(snakemake.input.rank_shift),
        snakemake.params.pairs,
        n_top=snakemake.params.n_top,
        task=snakemake.wildcards.task,
    )
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
