"""Reduce models' attention to statistics per rank, gene and well."""

from keygenes.attention.extract import extract_attention
from keygenes.cells.columns import vehicle_cells
from keygenes.core.jobs import computing
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import each_run
from keygenes.core.step import step

with step(snakemake):
    inputs, outputs = dict(snakemake.input.items()), dict(snakemake.output.items())
    obs = read_annotation(inputs.pop("counts")).obs
    for run, files in each_run(snakemake.params.runs, {**inputs, **outputs}):
        extract_attention(
            {name: files.pop(name) for name in outputs},
            **files,
            counts_obs=obs,
            vehicle=vehicle_cells(obs, snakemake.params.vehicle),
            task=snakemake.wildcards.task,
            fold=run.fold,
            max_length=snakemake.params.max_length,
            max_cells=snakemake.params.max_cells,
            pair_norms=snakemake.params.pair_norms,
            compute=computing(snakemake.params.compute),
        )
