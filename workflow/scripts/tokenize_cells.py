"""Encode the cells, or a shard of them, as ranked tokens, or put all shards together."""

from keygenes.core.step import step
from keygenes.tokens.store import merge_tokens, write_tokens

with step(snakemake):
    settings = {
        "max_length": snakemake.params.max_length,
        "upstream": snakemake.params.upstream,
    }
    if shards := snakemake.input.get("shards"):
        merge_tokens(
            shards,
            snakemake.input.shard_reports,
            snakemake.output.tokens,
            snakemake.output.report,
            where=snakemake.input.counts,
            **settings,
        )
    else:
        write_tokens(
            snakemake.input.counts,
            snakemake.input.vocabulary,
            snakemake.output.tokens,
            snakemake.output.report,
            version=snakemake.params.version,
            mapping_path=snakemake.input.get("mapping"),
            shard=snakemake.params.get("shard"),
            draws=snakemake.params.draws,
            **settings,
        )
