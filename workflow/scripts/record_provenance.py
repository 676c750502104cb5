"""Record what the study rests on and what it made."""

from datetime import UTC, datetime
from pathlib import Path

from keygenes.core.code import SCRIPTS
from keygenes.core.files import write_json
from keygenes.core.step import step
from keygenes.report.provenance import provenance, run_crate

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    record = provenance(
        params.config,
        given=dict(zip(params.given, files.given, strict=True)),
        sources=params.sources,
        entries=params.entries,
        code={"rules": params.rules, "scripts": params.scripts},
        checkout=SCRIPTS.parents[1],
        results=Path(snakemake.output.record).parent,
        tables=files.results,
        simulated=params.simulated,
    )
    write_json(record, snakemake.output.record)
    write_json(run_crate(record, datetime.now(UTC)), snakemake.output.crate)
