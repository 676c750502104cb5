"""Merge the sums of a model's shards into its tables of attention."""

from keygenes.attention.extract import looked_at, write_attention
from keygenes.attention.sums import merged_sums
from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.cells import TaskFold

with step(snakemake):
    files, params, named = snakemake.input, snakemake.params, snakemake.wildcards
    obs = read_annotation(files.counts).obs
    tables = files.tokens, files.labels, files.splits
    cells = TaskFold(*tables, named.task, run_named(named.run).fold)
    write_attention(
        merged_sums(files.sums),
        looked_at(cells, obs, vehicle_cells(obs, params.vehicle), params.max_cells),
        dict(snakemake.output.items()),
        vocabulary=files.vocabulary,
        **params.options,
    )
