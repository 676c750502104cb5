"""Count the genes that every dose changes against vehicle."""

from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.expression.wilcoxon import Counted, dose_screen

with step(snakemake):
    cells = read_matrix(snakemake.input.screen)
    n_counts = cells.obs["n_counts"].to_numpy(float)
    table = dose_screen(
        Counted(cells.X, n_counts, cells.var_names, cells.var_names),
        cells.obs["dose_um"].to_numpy(float),
        vehicle_cells(cells.obs, snakemake.params.vehicle),
        selected_doses=snakemake.params.selected,
        **snakemake.params.options,
    )
    write_table(table, snakemake.output.dose_screen, "dose_screen")
