"""Measure how well a task's genes are told apart, beside the controls."""

from keygenes.core.step import step
from keygenes.evidence.gene_auc import score_gene_classes

with step(snakemake):
    runs = [tuple(run) for run in snakemake.params.runs]
    score_gene_classes(
        predictions=dict(zip(runs, snakemake.input.predictions, strict=True)),
        out_metrics=snakemake.output.metrics,
        out_genes=snakemake.output.genes,
        n_bootstrap=snakemake.params.n_bootstrap,
    )
