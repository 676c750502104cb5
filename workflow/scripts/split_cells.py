"""Split the cells into train, validation and test for one fold."""

from keygenes.cells.split import split_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table

with step(snakemake):
    obs = read_annotation(snakemake.input.counts).obs
    labels = read_table(snakemake.input.labels).set_index("cell")[snakemake.params.stratify]
    strata = obs.get("dose_um", labels).astype(str).to_numpy()
    options = {**snakemake.params.options, "folds": [int(snakemake.wildcards.fold)]}
    write_table(split_cells(obs, strata, **options), snakemake.output.splits, "splits")
    by_cell = split_cells(obs, strata, **{**options, "by": "random"})
    write_table(by_cell, snakemake.output.by_cell, "splits")
