"""Figure 7 of one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_genes import figure7_attended_vs_de
from keygenes.report.plates import save_plate

with step(snakemake):
    gene_set = snakemake.params.gene_set
    table = read_table(snakemake.input.attended)
    figure = figure7_attended_vs_de(
        table,
        task=snakemake.wildcards.task,
        regime=snakemake.params.regime,
        comparison="each class vs the rest",
        fdr=snakemake.params.fdr,
        gene_set=f"in_{gene_set}" if gene_set else None,
    )
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
