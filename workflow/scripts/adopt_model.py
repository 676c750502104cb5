"""Take over a classifier that was fine-tuned elsewhere, for one task and fold."""

from keygenes.core.jobs import computing
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.adopt import adopt_model

with step(snakemake):
    adopt_model(
        **dict(snakemake.input.items()),
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        classes=snakemake.params.classes,
        max_length=snakemake.params.max_length,
        compute=computing(snakemake.params.compute),
    )
