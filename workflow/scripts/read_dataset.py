"""Read a dataset of any known layout into the canonical matrix."""

import pandas as pd

from keygenes.core.matrices import write_matrix
from keygenes.core.step import step
from keygenes.core.tables import write_tsv
from keygenes.inputs.gene_columns import COLUMNS
from keygenes.inputs.readers import read_dataset

with step(snakemake):
    files = dict(snakemake.input.items())
    adata = read_dataset(snakemake.params.entry, files, snakemake.params.name)
    write_tsv(adata.uns.get("named_genes", pd.DataFrame(columns=COLUMNS)), snakemake.output.genes)
    write_matrix(adata, snakemake.output.matrix)
