"""Compute once what frozen layers make of the cells."""

from keygenes.core.step import step
from keygenes.models.trunk import cache_trunk

with step(snakemake):
    compute = snakemake.params.compute
    cache_trunk(
        **dict(snakemake.input.items()),
        out_states=snakemake.output.states,
        patterns=snakemake.params.patterns,
        pooling=snakemake.params.pooling,
        cache=snakemake.params.cache,
        max_length=snakemake.params.max_length,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
        precision=compute["precision"],
    )
