"""Put the study's primary test, and score every other track on the same relabelled models."""

from keygenes.core.matrices import read_matrix
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.evidence.primary_tables import test_primary

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    runs = [run_named(name) for name in params.runs]
    test_primary(
        relabelled_genes=files.relabelled_genes,
        predictions=dict(zip(runs, files.predictions, strict=True)),
        genes=files.genes,
        metrics=files.metrics,
        labels=files.labels,
        counts=read_matrix(files.screen, read_table(files.labels)["cell"]),
        gene_set=files.gene_set[0],
        out=dict(snakemake.output.items()),
        named=params.named,
        min_effect=params.min_effect,
        n_null_draws=params.n_null_draws,
        brought=params.brought,
    )
