"""Where each gene stands: its rank per class, its attention per layer and head."""

from keygenes.core.step import step
from keygenes.evidence.profiles import profile_genes

with step(snakemake):
    runs = [(fold, seed) for _, fold, seed in snakemake.params.runs]
    by_gene = dict(zip(runs, snakemake.input.by_gene, strict=True))
    profile_genes(by_gene, snakemake.output.ranks, snakemake.output.heads)
