"""Read a dataset of any known layout into the canonical matrix."""

from keygenes.core.matrices import write_matrix
from keygenes.core.step import step
from keygenes.inputs.readers import read_dataset

with step(snakemake):
    files = dict(snakemake.input.items())
    adata = read_dataset(snakemake.params.entry, files, snakemake.params.name)
    write_matrix(adata, snakemake.output[0])
