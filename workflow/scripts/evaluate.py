"""Score the predictions of every regime of a task."""

from keygenes.cells.units import resampling_units
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.models.evaluate import evaluate

with step(snakemake):
    labels = read_table(snakemake.input.labels).set_index("cell")[snakemake.wildcards.task]
    cells = resampling_units(
        read_matrix(snakemake.input.counts).obs, labels, read_table(snakemake.input.splits)
    )
    predictions = {
        (regime, seed): read_table(path)
        for (regime, seed), path in zip(
            snakemake.params.runs, snakemake.input.predictions, strict=True
        )
    }
    classes = list(labels.cat.categories)
    metrics, confusion = evaluate(predictions, cells, classes, snakemake.params.n_bootstrap)
    write_table(metrics, snakemake.output.metrics, "metrics")
    write_table(confusion, snakemake.output.confusion, "confusion")
