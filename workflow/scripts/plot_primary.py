"""The primary test of one task: true labels against relabelled ones, a row per track."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_primary import primary_table, primary_test
from keygenes.report.plates import save_plate

with step(snakemake):
    scores, tests, outcome = (
        read_table(snakemake.input[name]) for name in ("scores", "tests", "outcome")
    )
    figure = primary_test(scores, tests, outcome, task=snakemake.wildcards.task)
    table = primary_table(scores, tests)
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
