"""Put the study's primary test, and score every other track on the same relabelled models."""

from keygenes.core.matrices import read_matrix
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.evidence.relabelled import test_primary

with step(snakemake):
    files, params = snakemake.input, snakemake.params

    def of_runs(kind):
        """Return {Run: path} of one kind of file."""
        paths = files.get(kind, [])
        return dict(zip(map(run_named, params.runs), paths, strict=True)) if paths else {}

    cells = read_table(files.labels)["cell"]
    test_primary(
        by_well=of_runs("by_well"),
        well_scores=of_runs("well_scores"),
        predictions=of_runs("predictions"),
        genes=files.genes,
        metrics=files.metrics,
        labels=files.labels,
        counts=read_matrix(files.screen)[cells],
        gene_set=(files.gene_set[0], params.gene_set),
        out=dict(snakemake.output.items()),
        named=params.named,
        tracks=params.tracks,
        min_effect=params.min_effect,
        n_null_draws=params.n_null_draws,
        brought=params.brought,
    )
