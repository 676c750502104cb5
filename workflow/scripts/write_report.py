"""Write the page and the summary of a study."""

import yaml

from keygenes.core.files import read_json, write_text
from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.core.tasks import cell_tasks, gene_tasks
from keygenes.report.contents import (
    claims_section,
    headline_numbers,
    page_sections,
    provenance_facts,
    summary_text,
)
from keygenes.report.page import write_page

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    tasks = [task["name"] for task in cell_tasks(params.config)]
    of_genes = [task["name"] for task in gene_tasks(params.config)]
    tables = {
        name: read_table(files[name])
        for name in ("selection", "labels", "splits", "tokens", "wilcoxon")
    }
    for name in ("metrics", "cosine", "key_genes", "genes"):
        tables[name] = dict(zip(tasks, map(read_table, files[name]), strict=True))
    for name in ("gene_classes", "gene_metrics", "gene_scores"):
        tables[name] = dict(zip(of_genes, map(read_table, files[name]), strict=True))
    claims = read_table(files.claims[0]) if params.claims else None
    of_claims = claims_section(
        claims, params.claims, params.config, params.figures, params.simulated
    )
    headline = headline_numbers(tables, params.config)
    record = read_json(files.provenance)
    write_page(
        snakemake.output.page,
        title=f"{params.config['study']}: which genes does the model look at?",
        study=params.config["study"],
        simulated=params.simulated,
        headline=headline,
        sections=[
            *of_claims,
            *page_sections(tables, params.config, params.figures, params.dataset),
        ],
        config_yaml=yaml.safe_dump(params.config, sort_keys=False, allow_unicode=True),
        versions={name: ", ".join(found) for name, found in record["software"].items()},
        provenance=provenance_facts(record),
    )
    write_text(
        summary_text(headline, snakemake.output.page, params.simulated, claims),
        snakemake.output.summary,
    )
