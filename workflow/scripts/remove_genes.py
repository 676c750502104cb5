"""Take away the genes that each track calls key, and learn again."""

from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.roar import remove_genes

with step(snakemake):
    files, params, task = snakemake.input, snakemake.params, snakemake.wildcards.task
    table = remove_genes(
        read_matrix(files.counts),
        read_table(files.labels, columns=["cell", task]).set_index("cell")[task],
        read_table(files.splits),
        read_table(files.genes),
        params.regime,
        threads=params.torch_threads,
        **params.options,
    )
    write_table(table, snakemake.output.roar, "roar")
