"""Score every gene of a task, and make its key-gene table."""

from keygenes.core.step import step
from keygenes.evidence.score import score_genes

with step(snakemake):
    files = snakemake.input
    runs = [tuple(run) for run in snakemake.params.runs]
    sets = snakemake.params.gene_sets
    score_genes(
        by_gene=dict(zip(runs, files.by_gene, strict=True)),
        by_well=dict(zip(runs, files.by_well, strict=True)),
        wilcoxon=files.wilcoxon,
        vocabulary=files.vocabulary,
        gene_sets={
            name: (path, entry)
            for (name, entry), path in zip(sets.items(), files.gene_sets, strict=True)
        },
        out_genes=snakemake.output.genes,
        out_key_genes=snakemake.output.key_genes,
        out_attended=snakemake.output.attended,
        out_figure8=snakemake.output.figure8,
        task=snakemake.wildcards.task,
        regime=snakemake.params.regime,
        n_key_genes=snakemake.params.n_key_genes,
    )
