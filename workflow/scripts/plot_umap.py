"""Figure 1: UMAP, one panel per task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_data import figure1_umap
from keygenes.report.plates import save_plate

with step(snakemake):
    umap = read_table(snakemake.input.umap)
    labels = read_table(snakemake.input.labels)
    figure = figure1_umap(umap, labels, units=snakemake.params.units)
    table = umap.merge(labels, on="cell", how="left")
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
