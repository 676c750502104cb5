"""Find the genes that a gene set lists among those of the study."""

from keygenes.core.step import step
from keygenes.evidence.matched_sets import match_gene_set

with step(snakemake):
    files, out = snakemake.input, snakemake.output
    match_gene_set(
        files.gene_set,
        snakemake.params.entry,
        name=snakemake.wildcards.gene_set,
        matrix=files.matrix,
        vocabulary=files.vocabulary,
        names=next(iter(files.names), None),
        out=out.table,
        out_shown=out.shown,
    )
