"""Put the canonical matrices of several datasets together."""

from keygenes.core.step import step
from keygenes.inputs.combine import write_combined

with step(snakemake):
    paths = dict(zip(snakemake.params.names, snakemake.input, strict=True))
    write_combined(paths, snakemake.output[0])
