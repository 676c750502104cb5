"""Fit every baseline of prediction on one task and split."""

from keygenes.core.step import step
from keygenes.models.baselines import fit_baselines

with step(snakemake):
    fit_baselines(
        **dict(snakemake.input.items()),
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        fold=int(snakemake.wildcards.fold),
        depth=snakemake.params.depth,
        draw_seed=snakemake.params.draw_seed,
        threads=snakemake.params.torch_threads,
    )
