"""ROC-AUC of a gene task beside its controls, and the scores of its genes."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_classes import gene_classes
from keygenes.report.style import save_figure

with step(snakemake):
    figure = gene_classes(
        read_table(snakemake.input.metrics),
        read_table(snakemake.input.genes),
        read_table(snakemake.input.classes),
        task=snakemake.wildcards.task,
    )
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
