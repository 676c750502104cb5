"""Pretrain a small encoder by masked tokens."""

from keygenes.core.jobs import computing
from keygenes.core.step import step
from keygenes.models.pretrain import pretrain

with step(snakemake):
    pretrain(
        snakemake.input.tokens,
        snakemake.input.vocabulary,
        dict(snakemake.output.items()),
        options=snakemake.params.options,
        max_length=snakemake.params.max_length,
        compute=computing(snakemake.params.compute),
    )
