"""Where each gene stands: its rank per class, its attention per layer and head."""

from keygenes.core.step import step
from keygenes.evidence.profiles import profile_genes

with step(snakemake):
    profile_genes(snakemake.input.by_gene, snakemake.output.ranks, snakemake.output.heads)
