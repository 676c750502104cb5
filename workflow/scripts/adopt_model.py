"""Take over a classifier that was fine-tuned elsewhere, for one task and fold."""

from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.adopt import adopt_model

with step(snakemake):
    compute = snakemake.params.compute
    adopt_model(
        **dict(snakemake.input.items()),
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        classes=snakemake.params.classes,
        max_length=snakemake.params.max_length,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
        precision=compute["precision"],
    )
