"""The verdicts on all claims as one figure."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_claims import claims
from keygenes.report.style import save_figure

with step(snakemake):
    figure = claims(read_table(snakemake.input.claims), title=snakemake.params.title)
    save_figure(figure, *snakemake.output, simulated=snakemake.params.simulated)
