"""Take away the genes that each track calls key, and learn again."""

from keygenes.core.step import step
from keygenes.evidence.roar import remove_genes

with step(snakemake):
    remove_genes(
        **dict(snakemake.input.items()),
        **{f"out_{name}": path for name, path in snakemake.output.items()},
        task=snakemake.wildcards.task,
        regime=snakemake.params.regime,
        n_random=snakemake.params.n_random,
        threads=snakemake.params.torch_threads,
    )
