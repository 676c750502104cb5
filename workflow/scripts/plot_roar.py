"""What is lost without the genes that each track calls key."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_models import roar
from keygenes.report.style import save_figure

with step(snakemake):
    figure = roar(read_table(snakemake.input.roar), task=snakemake.wildcards.task)
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
