"""Count the genes of a fold's test cells, and their ranks, without any model."""

from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.counted_genes import count_genes

with step(snakemake):
    files = snakemake.input
    labels = read_table(files.labels).set_index("cell")[snakemake.wildcards.task]
    by_gene, by_well = count_genes(
        files.tokens,
        read_table(files.vocabulary),
        labels,
        read_table(files.splits),
        read_annotation(files.counts).obs,
    )
    write_table(by_gene, snakemake.output.by_gene, "by_gene")
    write_table(by_well, snakemake.output.by_well, "by_well")
