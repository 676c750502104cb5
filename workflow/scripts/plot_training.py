"""Loss per epoch of every model."""

from keygenes.core.step import step
from keygenes.core.tables import read_runs
from keygenes.report.figures_models import training_curves
from keygenes.report.plates import save_plate

with step(snakemake):
    history = read_runs(snakemake.params.runs, snakemake.input.history)
    figure = training_curves(history, task=snakemake.wildcards.task)
    save_plate(figure, history, snakemake.output, simulated=snakemake.params.simulated)
