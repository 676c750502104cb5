"""Encode the cells, or a shard of them, as ranked tokens, or put all shards together."""

from keygenes.core.step import step
from keygenes.tokens.encode import Encoding
from keygenes.tokens.store import merge_tokens, write_tokens
from keygenes.tokens.vocabulary import read_mapping

with step(snakemake):
    files, params, out = snakemake.input, snakemake.params, snakemake.output
    if shards := files.get("shards"):
        merge_tokens(
            shards,
            files.shard_reports,
            out.tokens,
            out.report,
            where=files.counts,
            max_length=params.max_length,
            upstream=params.upstream,
        )
    else:
        mapping = files.get("mapping")
        encoding = Encoding(
            params.max_length,
            params.version,
            read_mapping(mapping) if mapping else None,
            params.upstream,
            params.draws,
        )
        inputs = files.counts, files.vocabulary
        write_tokens(*inputs, out.tokens, out.report, encoding, shard=params.get("shard"))
