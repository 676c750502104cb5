"""Read a dataset of any known layout into the canonical matrix."""

from keygenes.core.step import step
from keygenes.inputs.readers import open_dataset

with step(snakemake):
    dataset = open_dataset(snakemake.params.entry, dict(snakemake.input.items()))
    dataset.write(snakemake.output[0])
