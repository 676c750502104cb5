"""Build the vocabulary: from a model's dictionaries, or from the cells to pretrain on."""

from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import write_table
from keygenes.tokens.vocabulary import dataset_vocabulary, geneformer_vocabulary

with step(snakemake) as log:
    files = dict(snakemake.input.items())
    if "corpus" in files:
        table = dataset_vocabulary(read_matrix(files["corpus"]))
    else:
        table = geneformer_vocabulary(**{f"{part}_path": path for part, path in files.items()})
    log.info("%d tokens", len(table))
    write_table(table, snakemake.output.vocabulary, "vocabulary")
