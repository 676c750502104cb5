# Comes in: tables and figures. Goes out: report/, a folder that opens from disk and by mail.

ASSETS = ["page.css", "page.js", "vega.js", "tables.js", "tables.css", "licences.txt"]
GENE_FILES = [
    out(f"report/tables/{task}/genes.{kind}") for task in STUDY.tasks for kind in ("tsv", "xlsx")
]
PACKED = ["charts", "run_times"] + [
    f"{of}.{task}" for of in ("genes", "details") for task in STUDY.tasks
]


rule write_report:
    """The folder that people read: a page with figures, charts, genes, methods and provenance."""
    input:
        selection=out("cells/selection.parquet"),
        checks=out("cells/checks.parquet"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        tokens=out("tokens/report.parquet"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        vocabulary=out("vocabulary.parquet"),
        metrics=expand(out("models/{task}/metrics.parquet"), task=STUDY.tasks),
        cosine=expand(out("attention/{task}/cosine.parquet"), task=STUDY.paired_tasks),
        comparison_bounds=expand(
            out("attention/{task}/comparison_bounds.parquet"), task=STUDY.paired_tasks
        ),
        key_genes=expand(out("evidence/{task}/key_genes.parquet"), task=STUDY.tasks),
        genes=expand(out("evidence/{task}/genes.parquet"), task=STUDY.tasks),
        scorecard=expand(out("evidence/{task}/scorecard.parquet"), task=STUDY.tasks),
        gene_sets=[FILES.gene_set(name) for name in STUDY.gene_sets],
        gene_ranks=expand(out("evidence/{task}/gene_ranks.parquet"), task=STUDY.tasks),
        gene_heads=expand(
            out("evidence/{task}/gene_heads.parquet"),
            task=STUDY.tasks if STUDY.main_attended else [],
        ),
        gene_tables=expand(out("export/{task}/genes.parquet"), task=STUDY.tasks),
        gene_columns=expand(out("export/{task}/columns.tsv"), task=STUDY.tasks),
        gene_tsv=expand(out("export/{task}/genes.tsv"), task=STUDY.tasks),
        gene_xlsx=expand(out("export/{task}/genes.xlsx"), task=STUDY.tasks),
        gene_classes=expand(out("models/{task}/gene_classes.parquet"), task=STUDY.gene_classes),
        gene_metrics=expand(out("models/{task}/gene_metrics.parquet"), task=STUDY.gene_classes),
        gene_scores=expand(out("evidence/{task}/genes.parquet"), task=STUDY.gene_classes),
        claims=[out("evidence/claims.parquet")] if STUDY.claims else [],
        primary=[out("evidence/primary.parquet")] if STUDY.primary else [],
        track_tests=[
            out(f"evidence/{task}/track_tests.parquet")
            for task in STUDY.tasks
            if primary_tables(task)
        ],
        provenance=out("provenance.json"),
        figures=[out(f"figures/{name}.{kind}") for name in FIGURES for kind in FIGURE_FILES],
        captions=sorted(map(str, Path(of_workflow("workflow/report")).glob("*.rst"))),
        references=of_workflow("workflow/report/references.yaml"),
        references_schema=of_workflow("workflow/schemas/references.schema.yaml"),
        citation=of_workflow("CITATION.cff"),
        template=[
            of_workflow(f"workflow/scripts/keygenes/report/page.{kind}")
            for kind in ("html", "css", "js")
        ],
    output:
        page=out("report/index.html"),
        summary=out("report/summary.txt"),
        bibliography=out("report/references.bib"),
        assets=[out(f"report/assets/{name}") for name in ASSETS],
        data=[out(f"report/data/{name}.js") for name in PACKED],
        figures=[out(f"report/figures/{name}.{kind}") for name in FIGURES for kind in FIGURE_FILES],
        tables=GENE_FILES,
    log:
        logfile("write_report"),
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        config=config,
        entries=RESOLVED["entries"],
        figures=FIGURES,
        claims=STUDY.claims,
        code=code_digest("write_report"),
    script:
        "../scripts/write_report.py"
