"""Put the faithfulness and randomisation of all models of a task into one table each."""

from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.collected import collect_faithfulness, collect_randomisation
from keygenes.evidence.intervals import well_units

with step(snakemake):
    inputs, outputs = snakemake.input, snakemake.output
    labels = read_table(inputs.labels).set_index("cell")[snakemake.wildcards.task]
    units = well_units(read_annotation(inputs.counts).obs, labels)
    runs = [tuple(run) for run in snakemake.params.runs]
    faithfulness, cells, randomisation = (
        {run: read_table(path) for run, path in zip(runs, inputs[name], strict=True)}
        for name in ("faithfulness", "cells", "randomisation")
    )
    found = collect_faithfulness(faithfulness, cells, units)
    write_table(found, outputs.faithfulness, "faithfulness")
    write_table(collect_randomisation(randomisation, units), outputs.randomisation, "randomisation")
