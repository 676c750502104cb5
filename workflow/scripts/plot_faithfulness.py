"""What masking genes and randomising weights does, for one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_faithfulness import comprehensiveness, randomisation
from keygenes.report.plates import save_plate

with step(snakemake):
    files = snakemake.output
    mark = {"simulated": snakemake.params.simulated}
    of = {"regime": snakemake.params.regime, "task": snakemake.wildcards.task}
    table = read_table(snakemake.input.faithfulness)
    save_plate(comprehensiveness(table, **of), table, files.masked, **mark)
    table = read_table(snakemake.input.randomisation)
    save_plate(randomisation(table, **of), table, files.changed, **mark)
