"""The scorecard and the agreement of the tracks of one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_scorecard import agreement, scorecard
from keygenes.report.plates import save_plate

with step(snakemake):
    files, params, to = snakemake.input, snakemake.params, snakemake.output
    task = snakemake.wildcards.task
    table = read_table(files.scorecard)
    figure = scorecard(
        table,
        task=task,
        regime=params.regime,
        simulated_sets=params.simulated_sets,
    )
    save_plate(figure, table, to.scorecard, simulated=params.simulated)
    table = read_table(files.agreement)
    figure = agreement(table, task=task, regime=params.regime)
    save_plate(figure, table, to.agreement, simulated=params.simulated)
