"""Figure 1: UMAP, one panel per task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_data import figure1_umap
from keygenes.report.style import save_figure

with step(snakemake):
    figure = figure1_umap(
        read_table(snakemake.input.umap),
        read_table(snakemake.input.labels),
        units=snakemake.params.units,
    )
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
