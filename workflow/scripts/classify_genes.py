"""Score every listed gene out of fold, with the encoder or one of its controls."""

from keygenes.core.jobs import computing
from keygenes.core.step import step
from keygenes.models.encoder import ModelFiles
from keygenes.models.gene_classes import Scorer, classify_genes

with step(snakemake):
    files, params, named = snakemake.input, snakemake.params, snakemake.wildcards
    classify_genes(
        files.tokens,
        files.genes,
        ModelFiles(files.weights, files.config, files.vocabulary, params.max_length),
        snakemake.output.predictions,
        scorer=Scorer(named.task, named.encoder, int(named.seed)),
        options=params.options,
        compute=computing(params.compute),
    )
