"""Score every listed gene out of fold, with the encoder or one of its controls."""

from keygenes.core.jobs import computing
from keygenes.core.step import step
from keygenes.models.gene_classes import classify_genes

with step(snakemake):
    classify_genes(
        **dict(snakemake.input.items()),
        out_predictions=snakemake.output.predictions,
        task=snakemake.wildcards.task,
        encoder=snakemake.wildcards.encoder,
        seed=int(snakemake.wildcards.seed),
        options=snakemake.params.options,
        max_length=snakemake.params.max_length,
        compute=computing(snakemake.params.compute),
    )
