"""Pretrain a small encoder by masked tokens."""

from keygenes.core.jobs import computing
from keygenes.core.step import step
from keygenes.models.pretrain import pretrain

with step(snakemake):
    pretrain(
        tokens=snakemake.input.tokens,
        vocabulary=snakemake.input.vocabulary,
        out_weights=snakemake.output.weights,
        out_config=snakemake.output.config,
        out_history=snakemake.output.history,
        options=snakemake.params.options,
        max_length=snakemake.params.max_length,
        compute=computing(snakemake.params.compute),
    )
