"""Fine-tune one regime for one task and seed."""

from keygenes.core.step import step
from keygenes.models.finetune import finetune

with step(snakemake):
    compute = snakemake.params.compute
    finetune(
        **dict(snakemake.input.items()),
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        seed=int(snakemake.wildcards.seed),
        patterns=snakemake.params.patterns,
        options=snakemake.params.options,
        max_length=snakemake.params.max_length,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
        precision=compute["precision"],
    )
