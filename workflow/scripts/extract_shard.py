"""Sum one model's attention over one shard of the cells."""

from keygenes.attention.extract import subset_sums
from keygenes.attention.sums import write_sums
from keygenes.cells.columns import vehicle_cells
from keygenes.core.jobs import computing
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import run_named
from keygenes.core.step import step

with step(snakemake):
    inputs, params = dict(snakemake.input.items()), snakemake.params
    obs = read_annotation(inputs.pop("counts")).obs
    sums = subset_sums(
        **inputs,
        counts_obs=obs,
        vehicle=vehicle_cells(obs, params.vehicle),
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        max_length=params.max_length,
        max_cells=params.max_cells,
        pair_norms=params.pair_norms,
        compute=computing(snakemake.params.compute),
        shard=(int(snakemake.wildcards.shard), params.shards),
    )
    write_sums(sums, snakemake.output.sums)
