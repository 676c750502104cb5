"""Fit every baseline of prediction on one task and split."""

from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.models.baselines import EqualDepth, fit_baselines
from keygenes.models.cells import TaskFold

with step(snakemake):
    files, params, named = snakemake.input, snakemake.params, snakemake.wildcards
    predictions, coefficients = fit_baselines(
        TaskFold(files.tokens, files.labels, files.splits, named.task, int(named.fold)),
        files.counts,
        files.vocabulary,
        equal_depth=EqualDepth(params.depth, params.draw_seed),
        threads=params.torch_threads,
    )
    write_table(predictions, snakemake.output.predictions, "baseline_predictions")
    write_table(coefficients, snakemake.output.coefficients, "coefficients")
