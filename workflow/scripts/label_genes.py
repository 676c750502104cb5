"""Find the genes of a list with classes among the tokens."""

from keygenes.core.step import step
from keygenes.models.gene_lists import label_genes

with step(snakemake):
    label_genes(
        **dict(snakemake.input.items()),
        out_genes=snakemake.output.genes,
        classes=snakemake.params.classes,
    )
