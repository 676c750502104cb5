"""What masking genes and randomising weights does, for one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_faithfulness import comprehensiveness, randomisation
from keygenes.report.style import save_figure

with step(snakemake):
    files = snakemake.output
    mark = {"simulated": snakemake.params.simulated}
    of = {"regime": snakemake.params.regime, "task": snakemake.wildcards.task}
    masked = comprehensiveness(read_table(snakemake.input.faithfulness), **of)
    save_figure(masked, files.masked_svg, files.masked_png, **mark)
    changed = randomisation(read_table(snakemake.input.randomisation), **of)
    save_figure(changed, files.changed_svg, files.changed_png, **mark)
