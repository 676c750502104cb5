"""The scorecard and the agreement of the tracks of one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_scorecard import agreement, scorecard
from keygenes.report.style import save_figure

with step(snakemake):
    files, params, to = snakemake.input, snakemake.params, snakemake.output
    task = snakemake.wildcards.task
    figure = scorecard(
        read_table(files.scorecard),
        task=task,
        regime=params.regime,
        simulated_sets=params.simulated_sets,
    )
    save_figure(figure, to.scorecard_svg, to.scorecard_png, simulated=params.simulated)
    figure = agreement(read_table(files.agreement), task=task, regime=params.regime)
    save_figure(figure, to.agreement_svg, to.agreement_png, simulated=params.simulated)
