"""Compare the attention of pairs of models on the test cells of one seed."""

from keygenes.attention.compare import compare_attention
from keygenes.core.step import step

with step(snakemake):
    names, files, compute = snakemake.params.names, snakemake.input, snakemake.params.compute
    compare_attention(
        tokens=files.tokens,
        labels=files.labels,
        splits=files.splits,
        models=dict(zip(names, zip(files.weights, files.config, strict=True), strict=True)),
        by_rank=dict(zip(names, files.by_rank, strict=True)),
        out_cosine=snakemake.output.cosine,
        out_rank_shift=snakemake.output.rank_shift,
        task=snakemake.wildcards.task,
        seed=int(snakemake.wildcards.seed),
        pairs=snakemake.params.pairs,
        max_cells=snakemake.params.max_cells,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
    )
