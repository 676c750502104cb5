"""The verdicts on all claims as one figure."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_claims import claims
from keygenes.report.plates import save_plate

with step(snakemake):
    table = read_table(snakemake.input.claims)
    figure = claims(table, title=snakemake.params.title)
    save_plate(figure, table, snakemake.output, simulated=snakemake.params.simulated)
