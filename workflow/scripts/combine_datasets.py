"""Put the canonical matrices of several datasets together."""

from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.step import step
from keygenes.inputs.combine import combine

with step(snakemake):
    parts = {
        name: read_matrix(path)
        for name, path in zip(snakemake.params.names, snakemake.input, strict=True)
    }
    write_matrix(combine(parts), snakemake.output[0])
