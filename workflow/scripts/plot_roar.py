"""What is lost without the genes that each track calls key."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_models import roar
from keygenes.report.plates import save_plate

with step(snakemake):
    table = read_table(snakemake.input.roar)
    figure = roar(table, task=snakemake.wildcards.task)
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
