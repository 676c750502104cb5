"""Compare the attention of pairs of models on the test cells of a fold."""

from keygenes.attention.compare import OfRun, cells_compared, compare_attention, rank_shifts
from keygenes.core.jobs import computing
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import TaskFold

with step(snakemake):
    files, params, named = snakemake.input, snakemake.params, snakemake.wildcards
    run, pairs = run_named(named.run), [tuple(pair) for pair in params.pairs]

    def models(names, weights, configs):
        """Return {name: (weights path, config path)}."""
        return dict(zip(names, zip(weights, configs, strict=True), strict=True))

    cells = TaskFold(files.tokens, files.labels, files.splits, named.task, run.fold)
    other = params.other and OfRun(
        run_named(params.other), models(params.retrained, files.other_weights, files.other_config)
    )
    cosine, bounds = compare_attention(
        OfRun(run, models(params.names, files.weights, files.config)),
        other or None,
        pairs,
        cells_compared(cells, params.max_cells),
        computing(params.compute),
    )
    by_rank = dict(zip(params.names, map(read_table, files.by_rank), strict=True))
    write_table(cosine, snakemake.output.cosine, "cosine")
    write_table(bounds, snakemake.output.comparison_bounds, "comparison_bounds")
    write_table(rank_shifts(by_rank, pairs, run), snakemake.output.rank_shift, "rank_shift")
