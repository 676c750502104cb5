# Comes in: attention statistics, attributions, differential expression, gene sets. Goes out:
# evidence/gene_sets/{gene_set} (.parquet, .tsv: the genes of a set among the study's),
# evidence/{task}/genes, scorecard, agreement, key_genes, attended_vs_expressed, gene_ranks,
# gene_heads, input_length, roar (.parquet), figures/{task}/figure8_key_genes.tsv; evidence/claims.parquet.
# Of the primary test's task: relabelled_genes, relabelled_scores, trained_accuracy, track_tests; evidence/primary.parquet.

EVIDENCE = config["evidence"]
SETS = EVIDENCE["gene_sets"]


rule match_gene_set:
    """Find the genes that a gene set lists among those of the study; refuse a set without any."""
    input:
        gene_set=lambda wildcards: RESOLVED["gene_set_files"][wildcards.gene_set],
        matrix=out(f"inputs/{config['dataset']}.h5ad"),
        vocabulary=out("vocabulary.parquet"),
        names=GENE_NAMES,
    output:
        table=out("evidence/gene_sets/{gene_set}.parquet"),
        shown=out("evidence/gene_sets/{gene_set}.tsv"),
    log:
        logfile("match_gene_set.{gene_set}"),
    wildcard_constraints:
        gene_set="|".join(map(re.escape, SETS)) or "(?!)",
    priority: 1  # a set that does not fit is known before anything is trained
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        entry=lambda wildcards: {
            k: v for k, v in GENE_SETS[wildcards.gene_set].items() if k in ("format", "set")
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
        gene_sets=[gene_set_table(name) for name in SETS],
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
        columns={task["name"]: task["column"] for task in CELL_TASKS},
        gene_sets=SETS,
        primary=PRIMARY,
        permutations=EVIDENCE["permutations"],
        brought=bool(PRIMARY) and PRIMARY["regime"] in BROUGHT,
        simulated=SIMULATED,
        code=code_digest("check_study"),
    script:
        "../scripts/check_study.py"


rule score_genes:
    """Score every gene on every track, and make the key-gene table (Figures 7 and 8)."""
    input:
        by_gene=run_files("attention", "by_gene.parquet", ATTENDED),
        by_well=run_files("attention", "by_well.parquet", ATTENDED),
        well_scores=run_files("evidence", "well_scores.parquet", ATTRIBUTED),
        relabelled_genes=lambda w: primary_table("relabelled_genes", w.task),
        wilcoxon=out("expression/wilcoxon.parquet"),
        pseudobulk=out("expression/pseudobulk.parquet"),
        coefficients=expand(
            out("models/{{task}}/baselines/grouped/fold{fold}/coefficients.parquet"), fold=FOLDS
        ),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[gene_set_table(name) for name in SETS],
    output:
        genes=out("evidence/{task}/genes.parquet"),
        key_genes=out("evidence/{task}/key_genes.parquet"),
        attended=out("evidence/{task}/attended_vs_expressed.parquet"),
        figure8=carried(
            out("figures/{task}/figure8_key_genes.tsv"), "figure8_key_genes", "Genes", "table"
        ),
    log:
        logfile("score_genes.{task}"),
    benchmark:
        out("benchmarks/score_genes.{task}.tsv")
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=30,
    params:
        runs=lambda wildcards: runs(ATTENDED, wildcards.task),
        attributed=lambda wildcards: runs(ATTRIBUTED, wildcards.task),
        folds=FOLDS,
        vehicle=config["select"]["vehicle"],
        regime=EVIDENCE["regime"],
        tracks=EVIDENCE["tracks"],
        relabelled_regime=PRIMARY["regime"] if PRIMARY else None,
        n_key_genes=EVIDENCE["n_key_genes"],
        gene_sets=SETS,
        simulated=SIMULATED,
        code=code_digest("score_genes"),
    script:
        "../scripts/score_genes.py"


rule profile_genes:
    """Where each gene stands: its rank per class, its attention per layer and head."""
    input:
        by_gene=run_files("attention", "by_gene.parquet", [EVIDENCE["regime"]]),
    output:
        ranks=out("evidence/{task}/gene_ranks.parquet"),
        heads=out("evidence/{task}/gene_heads.parquet"),
    log:
        logfile("profile_genes.{task}"),
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        runs=lambda wildcards: runs([EVIDENCE["regime"]], wildcards.task),
        code=code_digest("profile_genes"),
    script:
        "../scripts/profile_genes.py"


rule remove_genes:
    """Take away the genes that each track calls key, learn again, and see what is lost."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        genes=out("evidence/{task}/genes.parquet"),
    output:
        roar=out("evidence/{task}/roar.parquet"),
    log:
        logfile("remove_genes.{task}"),
    benchmark:
        out("benchmarks/remove_genes.{task}.tsv")
    conda:
        "../../envs/baselines.yaml"
    threads: config["compute"]["torch_threads"]
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        regime=EVIDENCE["regime"],
        n_random=EVIDENCE["faithfulness"]["n_random"],
        torch_threads=config["compute"]["torch_threads"],
        code=code_digest("remove_genes"),
    script:
        "../scripts/remove_genes.py"


rule score_tracks:
    """Hold every track against truth, expression, confounds and controls."""
    input:
        genes=out("evidence/{task}/genes.parquet"),
        by_well=run_files("attention", "by_well.parquet", ATTENDED),
        well_scores=run_files("evidence", "well_scores.parquet", ATTRIBUTED),
        faithfulness=lambda w: (
            [out("evidence/{task}/faithfulness.parquet")] if of_task(ATTRIBUTED, w.task) else []
        ),
        metrics=out("models/{task}/metrics.parquet"),
        track_tests=lambda w: primary_table("track_tests", w.task),
        half_tests=out("expression/half_tests.parquet"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        tokens=out("tokens.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[gene_set_table(name) for name in SETS],
    output:
        scorecard=out("evidence/{task}/scorecard.parquet"),
        agreement=out("evidence/{task}/agreement.parquet"),
    log:
        logfile("score_tracks.{task}"),
    benchmark:
        out("benchmarks/score_tracks.{task}.tsv")
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=60,
    params:
        runs=lambda wildcards: runs(ATTENDED, wildcards.task),
        attributed=lambda wildcards: runs(ATTRIBUTED, wildcards.task),
        regime=EVIDENCE["regime"],
        tracks=EVIDENCE["tracks"],
        controls=[name for name in ATTENDED if {"labels", "encoder"} & set(REGIMES.get(name, {}))],
        n_bootstrap=EVIDENCE["n_bootstrap"],
        n_null_draws=EVIDENCE["n_null_draws"],
        gene_sets=SETS,
        code=code_digest("score_tracks"),
    script:
        "../scripts/score_tracks.py"


rule score_relabelled:
    """Score every gene on every track, by models of true and of dealt labels."""
    input:
        by_well=primary_files("attention", "by_well.parquet"),
        well_scores=primary_files("evidence", "well_scores.parquet", ATTRIBUTED),
        by_gene=primary_files("attention", "by_gene.parquet")[:1],
    output:
        genes=out(f"evidence/{PRIMARY_TASK}/relabelled_genes.parquet"),
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
        runs=[run.name for run in primary_runs()],
        tracks=EVIDENCE["tracks"],
        code=code_digest("score_relabelled"),
    script:
        "../scripts/score_relabelled.py"


rule test_primary:
    """Put the one confirmatory test, against models that learned from dealt labels."""
    input:
        relabelled_genes=out(f"evidence/{PRIMARY_TASK}/relabelled_genes.parquet"),
        predictions=primary_files("models", "predictions.parquet"),
        genes=out(f"evidence/{PRIMARY_TASK}/genes.parquet"),
        metrics=out(f"models/{PRIMARY_TASK}/metrics.parquet"),
        labels=out("cells/labels.parquet"),
        screen=out("cells/screen.h5ad"),
        gene_set=[gene_set_table(PRIMARY["gene_set"])] if PRIMARY else [],
    output:
        relabelled_scores=out(f"evidence/{PRIMARY_TASK}/relabelled_scores.parquet"),
        trained_accuracy=out(f"evidence/{PRIMARY_TASK}/trained_accuracy.parquet"),
        track_tests=out(f"evidence/{PRIMARY_TASK}/track_tests.parquet"),
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
        runs=[run.name for run in primary_runs()],
        named=PRIMARY,
        min_effect=EVIDENCE["min_effect"],
        n_null_draws=EVIDENCE["n_null_draws"],
        brought=bool(PRIMARY) and PRIMARY["regime"] in BROUGHT,
        code=code_digest("test_primary"),
    script:
        "../scripts/test_primary.py"


rule compare_inputs:
    """Hold regimes that read a variant of the tokens against those that read them as they are."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        vocabulary=out("vocabulary.parquet"),
        predictions=lambda w: run_files("models", "predictions.parquet", on_variants(w.task))(w),
        by_well=lambda w: run_files("attention", "by_well.parquet", on_variants(w.task))(w),
        rank_shift=out("attention/{task}/rank_shift.parquet"),
    output:
        table=out("evidence/{task}/input_length.parquet"),
    log:
        logfile("compare_inputs.{task}"),
    benchmark:
        out("benchmarks/compare_inputs.{task}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        runs=lambda w: runs(on_variants(w.task), w.task),
        counterparts=lambda w: {name: counterpart_of(name, w.task) for name in on_variants(w.task)},
        encodings=lambda w: {
            name: REGIMES[name].get("tokens", "main") for name in on_variants(w.task)
        },
        pairs=lambda w: pairs_on_variants(w.task),
        max_cells=config["attention"]["max_cells"],
        n_top=EVIDENCE["n_key_genes"],
        code=code_digest("compare_inputs"),
    script:
        "../scripts/compare_inputs.py"


rule judge_claims:
    """Put every claim of the claims file to its test, with the control that decides it."""
    input:
        claims=CLAIMS_FILE or [],
        metrics=expand(out("models/{task}/metrics.parquet"), task=TASKS),
        confusion=expand(out("models/{task}/confusion.parquet"), task=TASKS),
        cosine=expand(out("attention/{task}/cosine.parquet"), task=TASKS),
        bounds=expand(out("attention/{task}/comparison_bounds.parquet"), task=TASKS),
        rank_shift=expand(out("attention/{task}/rank_shift.parquet"), task=TASKS),
        norms=[
            run_file("attention", task, regime, Run(fold, seed), "norms.parquet")
            for task, regime, fold, seed in attended_runs()
        ],
        genes=expand(out("evidence/{task}/genes.parquet"), task=TASKS),
        key_genes=expand(out("evidence/{task}/key_genes.parquet"), task=TASKS),
        attended=expand(out("evidence/{task}/attended_vs_expressed.parquet"), task=TASKS),
        scorecard=expand(out("evidence/{task}/scorecard.parquet"), task=TASKS),
        input_length=expand(
            out("evidence/{task}/input_length.parquet"), task=filter(on_variants, TASKS)
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
        runs=attended_runs(),
        on_variants=list(filter(on_variants, TASKS)),
        classes={task["name"]: list(task["classes"]) for task in CELL_TASKS},
        code=code_digest("judge_claims"),
    script:
        "../scripts/judge_claims.py"
