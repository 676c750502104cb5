"""Fit a logistic regression on hidden states or on genes."""

from keygenes.core.jobs import computing
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.probe import fit_probe

with step(snakemake):
    fit_probe(
        **dict(snakemake.input.items()),
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        features=snakemake.params.features,
        pooling=snakemake.params.pooling,
        compute=computing(snakemake.params.compute),
    )
