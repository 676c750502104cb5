"""Write the wide gene table of a task, in three forms."""

from keygenes.core.step import step
from keygenes.report.gene_export import write_gene_table

with step(snakemake):
    files, out, params = snakemake.input, snakemake.output, snakemake.params
    write_gene_table(
        genes=files.genes,
        wilcoxon=files.wilcoxon,
        gene_sets={
            name: (path, entry)
            for (name, entry), path in zip(params.gene_sets.items(), files.gene_sets, strict=True)
        },
        out_table=out.table,
        out_tsv=out.tsv,
        out_xlsx=out.xlsx,
        out_columns=out.columns,
        task=snakemake.wildcards.task,
        study=params.study,
        regime=params.regime,
        simulated=params.simulated,
        readers=params.readers,
        leading=params.leading,
    )
