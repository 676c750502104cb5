"""Reduce one model's attention to statistics per rank, gene and well."""

from keygenes.attention.extract import extract_attention
from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_matrix
from keygenes.core.runs import run_named
from keygenes.core.step import step

with step(snakemake):
    inputs = dict(snakemake.input.items())
    obs = read_matrix(inputs.pop("counts")).obs
    compute = snakemake.params.compute
    extract_attention(
        dict(snakemake.output.items()),
        **inputs,
        counts_obs=obs,
        vehicle=vehicle_cells(obs, snakemake.params.vehicle),
        task=snakemake.wildcards.task,
        fold=run_named(snakemake.wildcards.run).fold,
        max_length=snakemake.params.max_length,
        max_cells=snakemake.params.max_cells,
        pair_norms=snakemake.params.pair_norms,
        batch_tokens=compute["batch_tokens"],
        threads=compute["torch_threads"],
        device=compute["device"],
    )
