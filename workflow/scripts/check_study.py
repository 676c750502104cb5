"""Say what is to be known of a study before anything trains."""

import logging

from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table, write_tsv
from keygenes.evidence.checks import study_checks

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    checks = study_checks(
        read_matrix(files.counts),
        read_table(files.labels),
        read_table(files.splits),
        read_table(files.vocabulary),
        columns=params.columns,
        sets=dict(zip(params.gene_sets, map(read_table, files.gene_sets), strict=True)),
        primary=params.primary,
        brought=params.brought,
        **params.options,
    )
    write_table(checks, snakemake.output.checks, "checks")
    write_tsv(checks, snakemake.output.shown, simulated=bool(params.simulated))
    logging.getLogger("keygenes").info("the same as a table: %s", snakemake.output.shown)
