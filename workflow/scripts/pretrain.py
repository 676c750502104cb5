"""Pretrain a small encoder by masked tokens."""

from keygenes.core.step import step
from keygenes.models.pretrain import pretrain

with step(snakemake):
    compute = snakemake.params.compute
    pretrain(
        tokens=snakemake.input.tokens,
        vocabulary=snakemake.input.vocabulary,
        out_weights=snakemake.output.weights,
        out_config=snakemake.output.config,
        out_history=snakemake.output.history,
        options=snakemake.params.options,
        max_length=snakemake.params.max_length,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
        precision=compute["precision"],
    )
