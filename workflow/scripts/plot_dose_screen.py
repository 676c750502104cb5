"""Differentially expressed genes per dose."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_data import dose_screen
from keygenes.report.style import save_figure

with step(snakemake):
    figure = dose_screen(
        read_table(snakemake.input.dose_screen),
        fdr=snakemake.params.fdr,
        min_abs_log2fc=snakemake.params.min_abs_log2fc,
    )
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
