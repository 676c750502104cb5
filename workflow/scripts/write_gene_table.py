"""Write the wide gene table of a task, in three forms."""

from keygenes.core.step import step
from keygenes.report.gene_export import Shown, write_gene_table

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    entries = zip(params.gene_sets.items(), files.gene_sets, strict=True)
    write_gene_table(
        files.genes,
        files.wilcoxon,
        {name: (path, entry) for (name, entry), path in entries},
        Shown(task=snakemake.wildcards.task, **params.shown),
        dict(snakemake.output.items()),
    )
