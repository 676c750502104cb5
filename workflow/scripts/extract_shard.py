"""Sum one model's attention over one shard of the cells."""

from keygenes.attention.extract import looked_at, subset_sums
from keygenes.attention.sums import write_sums
from keygenes.cells.columns import vehicle_cells
from keygenes.core.jobs import computing
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles

with step(snakemake):
    files, params, named = snakemake.input, snakemake.params, snakemake.wildcards
    obs = read_annotation(files.counts).obs
    tables = files.tokens, files.labels, files.splits
    cells = TaskFold(*tables, named.task, run_named(named.run).fold)
    sums = subset_sums(
        looked_at(cells, obs, vehicle_cells(obs, params.vehicle), params.max_cells),
        ModelFiles(files.weights, files.config, files.vocabulary, params.max_length),
        compute=computing(params.compute),
        shard=(int(named.shard), params.shards),
        **params.options,
    )
    write_sums(sums, snakemake.output.sums)
