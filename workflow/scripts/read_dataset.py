"""Read a dataset of any known layout into the canonical matrix."""

from keygenes.core.matrices import write_matrix
from keygenes.core.step import step
from keygenes.inputs.readers import read_dataset

with step(snakemake):
    adata = read_dataset(snakemake.params.entry, dict(snakemake.input.items()))
    write_matrix(adata, snakemake.output[0])
