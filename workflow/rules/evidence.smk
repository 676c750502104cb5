# Comes in: attention statistics, attributions, differential expression, gene sets. Goes out:
# evidence/{task}/counted/, genes, scorecard, agreement, key_genes, attended_vs_expressed, gene_ranks,
# gene_heads, input_length, roar (.parquet), figures/{task}/figure8_key_genes.tsv.
EVIDENCE = STUDY.evidence


rule count_genes:
    """Count the genes of a fold's test cells, and their ranks, where no attention does."""
    input:
        tokens=FILES.tokens_of(STUDY.main),
        vocabulary=out("vocabulary.parquet"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits/fold{fold}.parquet"),
        counts=out("cells/counts.h5ad"),
    output:
        by_gene=out("evidence/{task}/counted/fold{fold}.by_gene.parquet"),
        by_well=out("evidence/{task}/counted/fold{fold}.by_well.parquet"),
    log:
        logfile("count_genes.{task}.fold{fold}"),
    benchmark:
        out("benchmarks/count_genes.{task}.fold{fold}.tsv")
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        code=code_digest("count_genes"),
    script:
        "../scripts/count_genes.py"


rule score_genes:
    """Score every gene on every track, and make the key-gene table (Figures 7 and 8)."""
    input:
        by_gene=gene_tables("by_gene"),
        by_well=gene_tables("by_well"),
        well_scores=run_files("evidence", "well_scores.parquet", STUDY.attributed),
        reader_scores=run_files("evidence", "well_scores.parquet", STUDY.readers),
        relabelled_genes=lambda w: primary_table("relabelled_genes", w.task),
        wilcoxon=out("expression/wilcoxon.parquet"),
        pseudobulk=out("expression/pseudobulk.parquet"),
        coefficients=expand(
            out("models/{{task}}/baselines/grouped/fold{fold}/coefficients.parquet"),
            fold=STUDY.folds,
        ),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[FILES.gene_set(name) for name in STUDY.gene_sets],
    output:
        genes=out("evidence/{task}/genes.parquet"),
        key_genes=out("evidence/{task}/key_genes.parquet"),
        attended=[out("evidence/{task}/attended_vs_expressed.parquet")] * STUDY.main_attended,
        figure8=[
            carried(
                out("figures/{task}/figure8_key_genes.tsv"), "figure8_key_genes", "Genes", "table"
            )
        ]
        * STUDY.main_attended,
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
        runs=lambda wildcards: list(FILES.gene_tables("by_gene", wildcards.task)),
        attributed=lambda wildcards: STUDY.runs(STUDY.attributed, wildcards.task),
        readers=lambda wildcards: STUDY.runs(STUDY.readers, wildcards.task),
        leading=STUDY.leading_track,
        vehicle=STUDY.select["vehicle"],
        regime=STUDY.main,
        tracks=EVIDENCE["tracks"],
        relabelled_regime=STUDY.primary["regime"] if STUDY.primary else None,
        n_key_genes=EVIDENCE["n_key_genes"],
        gene_sets=STUDY.gene_sets,
        simulated=STUDY.simulated,
        code=code_digest("score_genes"),
    script:
        "../scripts/score_genes.py"


rule profile_genes:
    """Where each gene stands: its rank per class, its attention per layer and head."""
    input:
        by_gene=gene_tables("by_gene", STUDY.main),
    output:
        ranks=out("evidence/{task}/gene_ranks.parquet"),
        heads=[out("evidence/{task}/gene_heads.parquet")] * STUDY.main_attended,
    log:
        logfile("profile_genes.{task}"),
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        runs=lambda wildcards: list(FILES.gene_tables("by_gene", wildcards.task, [STUDY.main])),
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
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        regime=STUDY.main,
        options=keys_of(EVIDENCE["faithfulness"], "n_random"),
        torch_threads=STUDY.compute["torch_threads"],
        code=code_digest("remove_genes"),
    script:
        "../scripts/remove_genes.py"


rule score_tracks:
    """Hold every track against truth, expression, confounds and controls."""
    input:
        genes=out("evidence/{task}/genes.parquet"),
        by_well=gene_tables("by_well"),
        well_scores=run_files("evidence", "well_scores.parquet", STUDY.attributed),
        faithfulness=lambda w: (
            [out("evidence/{task}/faithfulness.parquet")]
            if STUDY.of_task(STUDY.attributed, w.task)
            else []
        ),
        reader_scores=run_files("evidence", "well_scores.parquet", STUDY.readers),
        metrics=out("models/{task}/metrics.parquet"),
        track_tests=lambda w: primary_table("track_tests", w.task),
        half_tests=out("expression/half_tests.parquet"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        tokens=out("tokens.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[FILES.gene_set(name) for name in STUDY.gene_sets],
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
        runs=lambda wildcards: list(FILES.gene_tables("by_well", wildcards.task)),
        attributed=lambda wildcards: STUDY.runs(STUDY.attributed, wildcards.task),
        readers=lambda wildcards: STUDY.runs(STUDY.readers, wildcards.task),
        regime=STUDY.main,
        tracks=EVIDENCE["tracks"],
        controls=STUDY.controls,
        draws=keys_of(EVIDENCE, "n_bootstrap", "n_null_draws"),
        gene_sets=STUDY.gene_sets,
        code=code_digest("score_tracks"),
    script:
        "../scripts/score_tracks.py"


rule compare_inputs:
    """Hold regimes that read a variant of the tokens against those that read them as they are."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        vocabulary=out("vocabulary.parquet"),
        predictions=on_variants("models", "predictions.parquet"),
        by_well=on_variants("attention", "by_well.parquet"),
        rank_shift=lambda w: (
            [out("attention/{task}/rank_shift.parquet")] if w.task in STUDY.paired_tasks else []
        ),
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
        runs=lambda w: STUDY.runs(STUDY.on_variants(w.task), w.task),
        counterparts=lambda w: {
            name: STUDY.counterpart_of(name, w.task) for name in STUDY.on_variants(w.task)
        },
        encodings=lambda w: {name: STUDY.encoding_of(name) for name in STUDY.on_variants(w.task)},
        pairs=lambda w: STUDY.pairs_on_variants(w.task),
        max_cells=STUDY.attention["max_cells"],
        n_top=EVIDENCE["n_key_genes"],
        code=code_digest("compare_inputs"),
    script:
        "../scripts/compare_inputs.py"
