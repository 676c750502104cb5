"""Figure 7 of one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_genes import figure7_attended_vs_de
from keygenes.report.style import save_figure

with step(snakemake):
    gene_set = snakemake.params.gene_set
    figure = figure7_attended_vs_de(
        read_table(snakemake.input.attended),
        task=snakemake.wildcards.task,
        regime=snakemake.params.regime,
        comparison="each class vs the rest",
        fdr=snakemake.params.fdr,
        gene_set=f"in_{gene_set}" if gene_set else None,
    )
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
