"""Count the genes that every dose changes against vehicle."""

from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.expression.wilcoxon import dose_screen

with step(snakemake):
    cells = read_matrix(snakemake.input.screen)
    table = dose_screen(
        cells.X,
        cells.obs["n_counts"].to_numpy(float),
        cells.obs["dose_um"].to_numpy(float),
        vehicle_cells(cells.obs, snakemake.params.vehicle),
        selected_doses=snakemake.params.selected,
        fdr=snakemake.params.fdr,
        min_abs_log2fc=snakemake.params.min_abs_log2fc,
        pseudocount=snakemake.params.pseudocount,
    )
    write_table(table, snakemake.output.dose_screen, "dose_screen")
