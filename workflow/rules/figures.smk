# Comes in: the tables of all rooms. Goes out: figures/ (SVG, PNG and TSV), by the records of
# core/figures.py: a rule per sheet.
from keygenes.core.figures import SHEETS, tasks_with


def tables_of(sheet):
    """Return the tables that a sheet is drawn from: {name: path or input function}."""
    return {name: table_of(table) for name, table in sheet.tables.items()}


def table_of(table):
    """Return the path of a table, or an input function: its paths in several runs."""
    if isinstance(table, str):
        return out(table)
    return lambda wildcards: table(STUDY, FILES, wildcards.task)


def params_of(sheet):
    """Return what else a sheet depends on: {name: params function}."""
    return {name: param_of(value) for name, value in sheet.params.items()}


def param_of(value):
    """Return a params function: what a sheet is told of the study and its task."""
    return lambda wildcards: value(STUDY, wildcards.get("task"))


for sheet in SHEETS:

    rule:
        name:
            sheet.name
        input:
            **tables_of(sheet),
        output:
            **{figure.name: figure_files(sheet, figure) for figure in sheet.figures},
        log:
            logfile(sheet.of(sheet.name)),
        benchmark:
            out(f"benchmarks/{sheet.of(sheet.name)}.tsv")
        wildcard_constraints:
            task="|".join(tasks_with(STUDY, sheet)) or "(?!)",
        conda:
            "../../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=memory(2000),
            runtime=10,
        params:
            **params_of(sheet),
            simulated=STUDY.simulated,
            draws=sheet.draws,
            code=code_digest("draw_figures", sheet.module),
        script:
            "../scripts/draw_figures.py"
