"""Take over a classifier that was fine-tuned elsewhere, for one task and fold."""

from keygenes.core.jobs import computing
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.adopt import adopt_model
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles

with step(snakemake):
    files, fold = snakemake.input, run_named(snakemake.wildcards.run).fold
    adopt_model(
        TaskFold(files.tokens, files.labels, files.splits, snakemake.wildcards.task, fold),
        ModelFiles(files.weights, files.config, files.vocabulary, snakemake.params.max_length),
        dict(snakemake.output.items()),
        classes=snakemake.params.classes,
        compute=computing(snakemake.params.compute),
    )
