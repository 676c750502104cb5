"""Encode the cells as ranked tokens, and report what was lost."""

from keygenes.core.step import step
from keygenes.tokens.encode import write_tokens

with step(snakemake):
    write_tokens(
        snakemake.input.counts,
        snakemake.input.vocabulary,
        snakemake.output.tokens,
        snakemake.output.report,
        max_length=snakemake.params.max_length,
        version=snakemake.params.version,
        upstream=snakemake.params.upstream,
        mapping_path=snakemake.input.get("mapping"),
    )
