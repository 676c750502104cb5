"""Fit a logistic regression on hidden states or on genes."""

from keygenes.core.jobs import computing
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles
from keygenes.models.probe import fit_probe

with step(snakemake):
    files, fold = snakemake.input, run_named(snakemake.wildcards.run).fold
    fit_probe(
        TaskFold(files.tokens, files.labels, files.splits, snakemake.wildcards.task, fold),
        ModelFiles(files.weights, files.config, files.vocabulary),
        files.counts,
        dict(snakemake.output.items()),
        features=snakemake.params.features,
        pooling=snakemake.params.pooling,
        compute=computing(snakemake.params.compute),
    )
