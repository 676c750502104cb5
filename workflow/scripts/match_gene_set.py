"""Find the genes that a gene set lists among those of the study."""

from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table, write_tsv
from keygenes.evidence.matched_sets import match_gene_set

with step(snakemake):
    files, out = snakemake.input, snakemake.output
    table = match_gene_set(
        files.gene_set,
        snakemake.params.entry,
        snakemake.wildcards.gene_set,
        read_annotation(files.matrix).var,
        read_table(files.vocabulary),
        next(map(read_table, files.names), None),
    )
    write_table(table, out.table, "gene_set")
    write_tsv(table, out.shown)
