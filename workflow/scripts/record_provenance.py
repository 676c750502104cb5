"""Record what the study rests on and what it made."""

from datetime import UTC, datetime
from pathlib import Path

from keygenes.core.files import write_json
from keygenes.core.places import CHECKOUT
from keygenes.core.step import step
from keygenes.core.study import Study
from keygenes.report.provenance import provenance, run_crate

with step(snakemake):
    files, about = snakemake.input, snakemake.params.about
    record = provenance(
        Study.of(about.config, about.entries),
        about.config,
        given=dict(zip(about.given, files.given, strict=True)),
        sources=about.sources,
        code={"rules": about.rules, "scripts": about.scripts},
        checkout=CHECKOUT,
        snakemake=about.snakemake,
        results=Path(snakemake.output.record).parent,
        tables=files.results,
    )
    write_json(record, snakemake.output.record)
    write_json(run_crate(record, datetime.now(UTC)), snakemake.output.crate)
