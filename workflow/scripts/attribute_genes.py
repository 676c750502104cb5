"""Attribute models' predictions to genes, and test whether that is what they go by."""

from keygenes.core.jobs import computing
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import each_run
from keygenes.core.step import step
from keygenes.evidence.attribute import Asked, OrderFiles, attribute_genes
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles

with step(snakemake):
    inputs = dict(snakemake.input.items())
    outputs = {f"out_{name}": path for name, path in snakemake.output.items()}
    obs = read_annotation(inputs.pop("counts")).obs
    params, task = snakemake.params, snakemake.wildcards.task
    asked = Asked(list(params.tracks), params.attribution, params.faithfulness)
    for run, files in each_run(params.runs, {**inputs, **outputs}):
        model = files["weights"], files["config"], files["vocabulary"]
        attribute_genes(
            TaskFold(files["tokens"], files["labels"], files["splits"], task, run.fold),
            ModelFiles(*model, params.max_length),
            obs,
            asked,
            {name: files[f"out_{name}"] for name, _ in snakemake.output.items()},
            computing(params.compute),
            OrderFiles(files["wilcoxon"], files["by_well"]),
        )
