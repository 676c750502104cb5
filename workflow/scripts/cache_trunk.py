"""Compute once what frozen layers make of the cells."""

from keygenes.core.jobs import computing
from keygenes.core.step import step
from keygenes.models.encoder import ModelFiles
from keygenes.models.trunk import cache_trunk

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    cache_trunk(
        files.tokens,
        ModelFiles(files.weights, files.config, files.vocabulary, params.max_length),
        snakemake.output.states,
        patterns=params.patterns,
        pooling=params.pooling,
        cache=params.cache,
        compute=computing(params.compute),
    )
