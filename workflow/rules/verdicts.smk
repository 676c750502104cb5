# Comes in: EVIDENCE, scores of genes by models of true and of dealt labels, every table of evidence. Goes out, of the
# primary test's task: evidence/{task}/relabelled_genes, relabelled_scores, trained_accuracy, track_tests; of
# the study: evidence/primary.parquet, evidence/claims.parquet.

# [task, regime, fold, seed] of every model whose attention is looked at.
ATTENDED_RUNS = [[task, *run] for task in STUDY.tasks for run in STUDY.runs(STUDY.attended, task)]


rule score_relabelled:
    """Score every gene on every track, by models of true and of dealt labels."""
    input:
        by_well=FILES.of_primary("attention", "by_well.parquet"),
        well_scores=FILES.of_primary("evidence", "well_scores.parquet", STUDY.attributed),
        by_gene=FILES.of_primary("attention", "by_gene.parquet")[:1],
    output:
        genes=out(f"evidence/{STUDY.primary_task}/relabelled_genes.parquet"),
    log:
        logfile("score_relabelled"),
    benchmark:
        out("benchmarks/score_relabelled.tsv")
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        runs=[run.name for run in STUDY.primary_runs()],
        tracks=EVIDENCE["tracks"],
        code=code_digest("score_relabelled"),
    script:
        "../scripts/score_relabelled.py"


rule test_primary:
    """Put the one confirmatory test, against models that learned from dealt labels."""
    input:
        relabelled_genes=out(f"evidence/{STUDY.primary_task}/relabelled_genes.parquet"),
        predictions=FILES.of_primary("models", "predictions.parquet"),
        genes=out(f"evidence/{STUDY.primary_task}/genes.parquet"),
        metrics=out(f"models/{STUDY.primary_task}/metrics.parquet"),
        labels=out("cells/labels.parquet"),
        screen=out("cells/screen.h5ad"),
        gene_set=[FILES.gene_set(STUDY.primary["gene_set"])] if STUDY.primary else [],
    output:
        relabelled_scores=out(f"evidence/{STUDY.primary_task}/relabelled_scores.parquet"),
        trained_accuracy=out(f"evidence/{STUDY.primary_task}/trained_accuracy.parquet"),
        track_tests=out(f"evidence/{STUDY.primary_task}/track_tests.parquet"),
        primary=out("evidence/primary.parquet"),
    log:
        logfile("test_primary"),
    benchmark:
        out("benchmarks/test_primary.tsv")
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        runs=[run.name for run in STUDY.primary_runs()],
        named=STUDY.primary,
        options=keys_of(EVIDENCE, "min_effect", "n_null_draws"),
        brought=bool(STUDY.primary) and STUDY.primary["regime"] in STUDY.brought,
        code=code_digest("test_primary"),
    script:
        "../scripts/test_primary.py"


rule judge_claims:
    """Put every claim of the claims file to its test, with the control that decides it."""
    input:
        claims=CLAIMS or [],
        metrics=expand(out("models/{task}/metrics.parquet"), task=STUDY.tasks),
        confusion=expand(out("models/{task}/confusion.parquet"), task=STUDY.tasks),
        cosine=expand(out("attention/{task}/cosine.parquet"), task=STUDY.paired_tasks),
        bounds=expand(out("attention/{task}/comparison_bounds.parquet"), task=STUDY.paired_tasks),
        rank_shift=expand(out("attention/{task}/rank_shift.parquet"), task=STUDY.paired_tasks),
        norms=[
            FILES.run_file("attention", task, regime, Run(fold, seed), "norms.parquet")
            for task, regime, fold, seed in ATTENDED_RUNS
        ],
        genes=expand(out("evidence/{task}/genes.parquet"), task=STUDY.tasks),
        key_genes=expand(out("evidence/{task}/key_genes.parquet"), task=STUDY.tasks),
        attended=expand(out("evidence/{task}/attended_vs_expressed.parquet"), task=STUDY.tasks),
        scorecard=expand(out("evidence/{task}/scorecard.parquet"), task=STUDY.tasks),
        input_length=expand(
            out("evidence/{task}/input_length.parquet"),
            task=filter(STUDY.on_variants, STUDY.tasks),
        ),
    output:
        claims=out("evidence/claims.parquet"),
    log:
        logfile("judge_claims"),
    benchmark:
        out("benchmarks/judge_claims.tsv")
    conda:
        "../../envs/claims.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=10,
    params:
        runs=ATTENDED_RUNS,
        on_variants=list(filter(STUDY.on_variants, STUDY.tasks)),
        classes={task["name"]: list(task["classes"]) for task in STUDY.cell_tasks},
        code=code_digest("judge_claims"),
    script:
        "../scripts/judge_claims.py"
