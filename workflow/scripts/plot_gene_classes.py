"""ROC-AUC of a gene task beside its controls, and the scores of its genes."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_classes import gene_classes
from keygenes.report.plates import save_plate

with step(snakemake):
    table = read_table(snakemake.input.metrics)
    figure = gene_classes(
        table,
        read_table(snakemake.input.genes),
        read_table(snakemake.input.classes),
        task=snakemake.wildcards.task,
    )
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
