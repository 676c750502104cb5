"""Compare the attention of pairs of models on the test cells of a fold."""

from keygenes.attention.compare import compare_attention
from keygenes.core.jobs import computing
from keygenes.core.runs import run_named
from keygenes.core.step import step

with step(snakemake):
    files, params = snakemake.input, snakemake.params

    def models(names, weights, configs):
        """Return {name: (weights path, config path)}."""
        return dict(zip(names, zip(weights, configs, strict=True), strict=True))

    compare_attention(
        tokens=files.tokens,
        labels=files.labels,
        splits=files.splits,
        models=models(params.names, files.weights, files.config),
        others=models(params.retrained, files.other_weights, files.other_config),
        by_rank=dict(zip(params.names, files.by_rank, strict=True)),
        out_cosine=snakemake.output.cosine,
        out_rank_shift=snakemake.output.rank_shift,
        out_bounds=snakemake.output.comparison_bounds,
        task=snakemake.wildcards.task,
        run=run_named(snakemake.wildcards.run),
        other=run_named(params.other) if params.other else None,
        pairs=params.pairs,
        max_cells=params.max_cells,
        compute=computing(snakemake.params.compute),
    )
