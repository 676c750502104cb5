"""Select the cells and genes of the study."""

from keygenes.cells.select import select_cells
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_tsv

with step(snakemake):
    select_cells(
        snakemake.input.dataset,
        snakemake.output.counts,
        snakemake.output.screen,
        snakemake.output.selection,
        where=snakemake.params.where,
        options=snakemake.params.options,
    )
    write_tsv(read_table(snakemake.output.selection), snakemake.output.shown)
