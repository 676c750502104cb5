"""Read a dataset of any known layout into the canonical matrix."""

import pandas as pd

from keygenes.core.step import step
from keygenes.core.tables import write_tsv
from keygenes.inputs.gene_columns import COLUMNS
from keygenes.inputs.readers import named, open_dataset

with step(snakemake), named(snakemake.params.name):
    dataset = open_dataset(snakemake.params.entry, dict(snakemake.input.items()))
    dataset.write(snakemake.output.matrix)
    genes = dataset.uns.get("named_genes", pd.DataFrame(columns=COLUMNS))
    write_tsv(genes, snakemake.output.genes)
