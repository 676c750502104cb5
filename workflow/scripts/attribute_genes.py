"""Attribute models' predictions to genes, and test whether that is what they go by."""

from keygenes.core.jobs import computing
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import each_run
from keygenes.core.step import step
from keygenes.evidence.attribute import attribute_genes

with step(snakemake):
    inputs = dict(snakemake.input.items())
    outputs = {f"out_{name}": path for name, path in snakemake.output.items()}
    obs = read_annotation(inputs.pop("counts")).obs
    for run, files in each_run(snakemake.params.runs, {**inputs, **outputs}):
        attribute_genes(
            counts_obs=obs,
            **files,
            task=snakemake.wildcards.task,
            fold=run.fold,
            tracks=list(snakemake.params.tracks),
            attribution_options=snakemake.params.attribution,
            faithfulness_options=snakemake.params.faithfulness,
            max_length=snakemake.params.max_length,
            compute=computing(snakemake.params.compute),
        )
