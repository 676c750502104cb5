"""Compute once what frozen layers make of the cells."""

from keygenes.core.jobs import computing
from keygenes.core.step import step
from keygenes.models.trunk import cache_trunk

with step(snakemake):
    cache_trunk(
        **dict(snakemake.input.items()),
        out_states=snakemake.output.states,
        patterns=snakemake.params.patterns,
        pooling=snakemake.params.pooling,
        cache=snakemake.params.cache,
        max_length=snakemake.params.max_length,
        compute=computing(snakemake.params.compute),
    )
