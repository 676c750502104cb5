# Comes in: COMPARED, of compared.smk. Goes out, under results/compare/{name}/: replication (.parquet, .tsv),
# figures/{task}, index.html.


rule compare_studies:
    """Hold two finished studies against each other, track by track."""
    input:
        tables=tables_compared,
        records=[f"{s.folder}/provenance.json" for s in COMPARED.studies] if COMPARED else [],
        template=[
            of_workflow(f"workflow/scripts/keygenes/report/{name}")
            for name in ("page.css", "replication.html")
        ],
    output:
        table=f"{COMPARISON}/replication.parquet",
        text=f"{COMPARISON}/replication.tsv",
        figures=[
            f"{COMPARISON}/figures/{of}.{kind}"
            for of in (COMPARED.tasks if COMPARED else [])
            for kind in ("svg", "png", "tsv")
        ],
        page=f"{COMPARISON}/index.html",
    log:
        f"{COMPARISON}/logs/compare_studies.log",
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * min(attempt, 4),
        runtime=60,
    params:
        # Of such an object Snakemake keeps no copy: its digest stands for it.
        about=COMPARED,
        digest=digest_of(vars(COMPARED)) if COMPARED else "",
        code=code_digest("compare_studies"),
    script:
        "../scripts/compare_studies.py"
