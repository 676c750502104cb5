"""Write the report's folder and the summary of a study."""

from pathlib import Path

from keygenes.core.step import software_versions, step
from keygenes.report.report import write_report

with step(snakemake):
    params = snakemake.params
    write_report(
        snakemake.input,
        Path(snakemake.output.page).parent,
        config=params.config,
        entries=params.entries,
        model=params.model,
        figures=params.figures,
        claims=params.claims,
        software=software_versions(),
        simulated=params.simulated,
    )
