"""Accuracy, attended genes and shift by rank of the regimes that read a variant of the tokens."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_inputs import equal_length
from keygenes.report.style import save_figure

with step(snakemake):
    figure = equal_length(
        read_table(snakemake.input.input_length),
        read_table(snakemake.input.rank_shift),
        snakemake.params.pairs,
        n_top=snakemake.params.n_top,
        task=snakemake.wildcards.task,
    )
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
