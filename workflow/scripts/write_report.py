"""Write the report's folder and the summary of a study."""

from pathlib import Path

from keygenes.core.step import software_versions, step
from keygenes.core.study import Study
from keygenes.report.report import write_report

with step(snakemake):
    params = snakemake.params
    write_report(
        snakemake.input,
        Path(snakemake.output.page).parent,
        study=Study.of(params.config, params.entries, params.claims),
        config=params.config,
        figures=params.figures,
        software=software_versions(),
    )
