"""Write the study's cells with the scores of their genes, for scanpy."""

from keygenes.core.step import step
from keygenes.report.scored_cells import write_scored_cells

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    n = len(params.folds)
    predictions = [files.predictions[i : i + n] for i in range(0, len(files.predictions), n)]
    write_scored_cells(
        counts=files.counts,
        labels=files.labels,
        umap=files.umap,
        predictions=dict(zip(params.tasks, predictions, strict=False)),  # none: no model predicts
        gene_tables=dict(zip(params.tasks, files.gene_tables, strict=True)),
        provenance=files.provenance,
        out_cells=snakemake.output.cells,
        regime=params.regime,
    )
