"""Merge the sums of a model's shards into its tables of attention."""

from keygenes.attention.extract import write_attention
from keygenes.attention.sums import merged_sums
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step

with step(snakemake):
    inputs, outputs = snakemake.input, snakemake.output
    write_attention(
        merged_sums(inputs.sums),
        [outputs[name] for name in ("by_rank", "by_gene", "by_well", "norms", "heads")],
        vocabulary=inputs.vocabulary,
        tokens=inputs.tokens,
        labels=inputs.labels,
        splits=inputs.splits,
        counts_obs=read_matrix(inputs.counts).obs,
        task=snakemake.wildcards.task,
        seed=int(snakemake.wildcards.seed),
        pair_norms=snakemake.params.pair_norms,
    )
