"""Attribute one model's predictions to genes, and test whether that is what it goes by."""

from keygenes.core.matrices import read_matrix
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.evidence.attribute import attribute_genes

with step(snakemake):
    inputs = dict(snakemake.input.items())
    compute = snakemake.params.compute
    attribute_genes(
        counts_obs=read_matrix(inputs.pop("counts")).obs,
        **inputs,
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        tracks=list(snakemake.params.tracks),
        attribution_options=snakemake.params.attribution,
        faithfulness_options=snakemake.params.faithfulness,
        max_length=snakemake.params.max_length,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
    )
