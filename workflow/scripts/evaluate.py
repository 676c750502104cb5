"""Score the predictions of every regime and baseline of a task."""

from keygenes.cells.units import resampling_units
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.models.evaluate import evaluate


def tables(keys, paths):
    """Return {key: table}."""
    return {tuple(key): read_table(path) for key, path in zip(keys, paths, strict=True)}


with step(snakemake):
    inputs, params = snakemake.input, snakemake.params
    labels = read_table(inputs.labels).set_index("cell")[snakemake.wildcards.task]
    cells = resampling_units(read_annotation(inputs.counts).obs, labels, read_table(inputs.splits))
    metrics, confusion = evaluate(
        tables(params.runs, inputs.predictions),
        tables(params.baseline_runs, inputs.baselines),
        cells,
        list(labels.cat.categories),
        designs=params.designs,
        main=params.main,
        twins=params.twins,
    )
    write_table(metrics, snakemake.output.metrics, "metrics")
    write_table(confusion, snakemake.output.confusion, "confusion")
