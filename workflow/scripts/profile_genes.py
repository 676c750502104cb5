"""Where each gene stands: its rank per class, its attention per layer and head."""

from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.evidence.profiles import gene_heads, gene_ranks

with step(snakemake):
    runs = [(fold, seed) for _, fold, seed in snakemake.params.runs]
    by_gene = dict(zip(runs, snakemake.input.by_gene, strict=True))
    write_table(gene_ranks(by_gene), snakemake.output.ranks, "gene_ranks")
    for path in snakemake.output.heads:  # none where there is no attention
        write_table(gene_heads(by_gene), path, "gene_heads")
