# Comes in: cells, labels, splits, lists of genes. Goes out, before anything trains: evidence/gene_sets/{gene_set}
# (.parquet, .tsv: the genes of a set among the study's), cells/checks (.parquet, .tsv).


rule match_gene_set:
    """Find the genes that a gene set lists among those of the study; refuse a set without any."""
    input:
        gene_set=lambda wildcards: RESOLVED["gene_set_files"][wildcards.gene_set],
        matrix=out(f"inputs/{STUDY.dataset}.h5ad"),
        vocabulary=out("vocabulary.parquet"),
        names=GENE_NAMES,
    output:
        table=out("evidence/gene_sets/{gene_set}.parquet"),
        shown=out("evidence/gene_sets/{gene_set}.tsv"),
    log:
        logfile("match_gene_set.{gene_set}"),
    wildcard_constraints:
        gene_set="|".join(map(re.escape, STUDY.gene_sets)) or "(?!)",
    priority: 1  # a set that does not fit is known before anything is trained
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        entry=lambda wildcards: {
            k: v
            for k, v in STUDY.entries["gene_sets"][wildcards.gene_set].items()
            if k in ("format", "set")
        },
        code=code_digest("match_gene_set"),
    script:
        "../scripts/match_gene_set.py"


rule check_study:
    """Say what is to be known of the study before anything trains: classes, batches, sets, test."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[FILES.gene_set(name) for name in STUDY.gene_sets],
    output:
        checks=out("cells/checks.parquet"),
        shown=carried(out("cells/checks.tsv"), "checks", "Data", "table"),
    log:
        logfile("check_study"),
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=10,
    params:
        columns={task["name"]: task["column"] for task in STUDY.cell_tasks},
        gene_sets=STUDY.gene_sets,
        primary=STUDY.primary,
        options=keys_of(STUDY.evidence, "permutations"),
        brought=bool(STUDY.primary) and STUDY.primary["regime"] in STUDY.brought,
        simulated=STUDY.simulated,
        code=code_digest("check_study"),
    script:
        "../scripts/check_study.py"
