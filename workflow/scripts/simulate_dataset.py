"""Write a simulated dataset and its truth."""

from keygenes.core.step import step
from keygenes.inputs.simulate import write_simulation

with step(snakemake):
    write_simulation(snakemake.params.settings, snakemake.output.matrix, snakemake.output.truth)
