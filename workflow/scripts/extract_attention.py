"""Reduce models' attention to statistics per rank, gene and well."""

from keygenes.attention.extract import extract_attention, looked_at
from keygenes.cells.columns import vehicle_cells
from keygenes.core.jobs import computing
from keygenes.core.matrices import read_annotation
from keygenes.core.runs import each_run
from keygenes.core.step import step
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles

with step(snakemake):
    inputs, outputs = dict(snakemake.input.items()), dict(snakemake.output.items())
    obs = read_annotation(inputs.pop("counts")).obs
    params, vehicle = snakemake.params, vehicle_cells(obs, snakemake.params.vehicle)
    for run, files in each_run(params.runs, {**inputs, **outputs}):
        tables = files["tokens"], files["labels"], files["splits"]
        cells = TaskFold(*tables, snakemake.wildcards.task, run.fold)
        model = files["weights"], files["config"], files["vocabulary"]
        extract_attention(
            looked_at(cells, obs, vehicle, params.max_cells),
            ModelFiles(*model, params.max_length),
            {name: files[name] for name in outputs},
            compute=computing(params.compute),
            **params.options,
        )
