"""Write what the dictionaries of the models call which gene."""

from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.tokens.vocabulary import gene_names

with step(snakemake) as log:
    table = gene_names(snakemake.input.names, snakemake.input.mappings)
    log.info("%d names of %d genes", len(table), table["ensembl_id"].nunique())
    write_table(table, snakemake.output.names, "gene_names")
