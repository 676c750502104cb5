"""Put the faithfulness and randomisation of all models of a task into one table each."""

from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.collected import collect_faithfulness, collect_randomisation
from keygenes.evidence.intervals import well_units

with step(snakemake):
    labels = read_table(snakemake.input.labels).set_index("cell")[snakemake.wildcards.task]
    units = well_units(read_matrix(snakemake.input.counts).obs, labels)
    runs = [tuple(run) for run in snakemake.params.runs]
    n_bootstrap = snakemake.params.n_bootstrap
    for name, collect in (
        ("faithfulness", collect_faithfulness),
        ("randomisation", collect_randomisation),
    ):
        paths = snakemake.input[name]
        tables = {run: read_table(path) for run, path in zip(runs, paths, strict=True)}
        write_table(collect(tables, units, n_bootstrap), snakemake.output[name], name)
