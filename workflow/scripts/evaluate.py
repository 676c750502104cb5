"""Score the predictions of every regime of a task."""

import pandas as pd

from keygenes.cells.units import resampling_units
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.models.evaluate import evaluate

with step(snakemake):
    labels = read_table(snakemake.input.labels).set_index("cell")[snakemake.wildcards.task]
    obs, splits = read_matrix(snakemake.input.counts).obs, read_table(snakemake.input.splits)
    designs = {"grouped": splits, "random": splits.assign(unit="cell")}
    metrics, confusion = [], []
    for design, table in designs.items():
        predictions = {
            (regime, seed): read_table(path)
            for (regime, seed), path in zip(
                snakemake.params.runs, snakemake.input.predictions, strict=True
            )
            if (regime in snakemake.params.split_by_cell) == (design == "random")
        }
        if predictions:
            cells, classes = resampling_units(obs, labels, table), list(labels.cat.categories)
            tables = evaluate(predictions, cells, classes, snakemake.params.n_bootstrap)
            if design == "random":  # one baseline is enough
                tables = [part[part["regime"] != "majority"] for part in tables]
            metrics.append(tables[0].assign(design=design))
            confusion.append(tables[1])
    write_table(pd.concat(metrics), snakemake.output.metrics, "metrics")
    write_table(pd.concat(confusion), snakemake.output.confusion, "confusion")
