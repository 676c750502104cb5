"""Differentially expressed genes per dose."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_data import dose_screen
from keygenes.report.plates import save_plate

with step(snakemake):
    table = read_table(snakemake.input.dose_screen)
    figure = dose_screen(
        table,
        fdr=snakemake.params.fdr,
        min_abs_log2fc=snakemake.params.min_abs_log2fc,
    )
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
