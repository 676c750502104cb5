"""The figures of one sheet, drawn together from the tables that they share."""

from importlib import import_module  # noqa: TID251 (its digest comes with the rule's params)

from keygenes.core.step import step
from keygenes.core.tables import read_runs, read_table
from keygenes.report.plates import save_plate

with step(snakemake):
    params = dict(snakemake.params.items())
    module, function = params["draws"].split(":")
    plates_of = getattr(import_module(f"keygenes.report.{module}"), function)
    tables = {
        name: read_table(path) if isinstance(path, str) else read_runs(params["runs"], path)
        for name, path in snakemake.input.items()
    }
    plates = plates_of(tables, params, snakemake.wildcards.get("task"))
    for name, (figure, table) in plates.items():
        save_plate(figure, table, snakemake.output[name], simulated=params["simulated"])
