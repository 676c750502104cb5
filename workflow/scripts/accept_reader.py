"""Check the tables of a reader that was brought along, and take them over."""

from keygenes.cells.units import well_codes
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.reader_tables import read_predictions, read_scores
from keygenes.models.cells import labelled_cells

with step(snakemake):
    files, wildcards = snakemake.input, snakemake.wildcards
    labels = read_table(files.labels, columns=["cell", wildcards.task])
    cells, classes = labelled_cells(labels, read_table(files.splits), wildcards.task)
    matrix = read_annotation(files.counts)
    predictions = read_predictions(files.predictions, cells, classes)
    tested = cells.loc[cells["split"] == "test", "cell"]
    wells = well_codes(matrix.obs, tested).value_counts()
    wells = wells[wells > 0].to_dict()
    scores = read_scores(files.scores, wildcards.reader, matrix.var_names, wells)
    write_table(predictions, snakemake.output.predictions, "predictions")
    write_table(scores, snakemake.output.well_scores, "well_scores")
