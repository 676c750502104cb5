"""Merge the sums of a model's shards into its tables of attention."""

from keygenes.attention.extract import write_attention
from keygenes.attention.sums import merged_sums
from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import run_named
from keygenes.core.step import step

with step(snakemake):
    inputs = dict(snakemake.input.items())
    obs = read_annotation(inputs.pop("counts")).obs
    write_attention(
        merged_sums(inputs.pop("sums")),
        dict(snakemake.output.items()),
        **inputs,
        counts_obs=obs,
        vehicle=vehicle_cells(obs, snakemake.params.vehicle),
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        max_cells=snakemake.params.max_cells,
        pair_norms=snakemake.params.pair_norms,
    )
