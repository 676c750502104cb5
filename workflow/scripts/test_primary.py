"""Put the study's primary test, and score every other track on the same relabelled models."""

from keygenes.core.matrices import read_matrix
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.primary_tables import PrimaryTables, test_primary

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    runs = [run_named(name) for name in params.runs]
    tables = test_primary(
        PrimaryTables(
            relabelled_genes=read_table(files.relabelled_genes),
            predictions=dict(zip(runs, map(read_table, files.predictions), strict=True)),
            genes=read_table(files.genes),
            metrics=read_table(files.metrics),
            labels=read_table(files.labels),
        ),
        read_matrix(files.screen, read_table(files.labels)["cell"]),
        read_members(files.gene_set[0]),
        params.named,
        brought=params.brought,
        **params.options,
    )
    for name, path in snakemake.output.items():
        write_table(tables[name], path, name)
