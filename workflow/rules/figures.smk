# Comes in: the tables of all rooms. Goes out: figures/ (SVG, PNG and TSV), which carry the numbers
# they have in the thesis.
from keygenes.core.regimes import kind_of


rule plot_umap:
    """Figure 1: the cells by dose and by level."""
    input:
        umap=out("expression/umap.parquet"),
        labels=out("cells/labels.parquet"),
    output:
        figure=figure("figure1_umap", "Data"),
    log:
        logfile("plot_umap"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        units={task["name"]: "µM" for task in STUDY.cell_tasks if task["column"] == "dose_um"},
        simulated=STUDY.simulated,
        code=code_digest("plot_umap"),
    script:
        "../scripts/plot_umap.py"


rule plot_dose_screen:
    """Genes that change at each dose, and why the study leaves some doses out."""
    input:
        dose_screen=out("expression/dose_screen.parquet"),
    output:
        figure=figure("dose_screen", "Data"),
    log:
        logfile("plot_dose_screen"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        fdr=STUDY.expression["fdr"],
        min_abs_log2fc=STUDY.expression["min_abs_log2fc"],
        simulated=STUDY.simulated,
        code=code_digest("plot_dose_screen"),
    script:
        "../scripts/plot_dose_screen.py"


rule plot_training:
    """Loss per epoch of every model."""
    input:
        history=run_files("models", "history.parquet", STUDY.finetuned),
    output:
        figure=figure("{task}/training_curves", "Models"),
    log:
        logfile("plot_training.{task}"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        runs=lambda wildcards: STUDY.runs(STUDY.finetuned, wildcards.task),
        simulated=STUDY.simulated,
        code=code_digest("plot_training"),
    script:
        "../scripts/plot_training.py"


rule plot_predictions:
    """Figure 3, the confusion matrices, and every regime beside the baselines."""
    input:
        metrics=out("models/{task}/metrics.parquet"),
        confusion=out("models/{task}/confusion.parquet"),
        labels=out("cells/labels.parquet"),
    output:
        confusion=figure("{task}/figure3_confusion", "Models"),
        forest=figure("{task}/forest", "Models", table="metrics"),
    log:
        logfile("plot_predictions.{task}"),
    benchmark:
        out("benchmarks/plot_predictions.{task}.tsv")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        kinds=lambda wildcards: {
            name: kind_of(STUDY.regimes[name])
            for name in STUDY.of_task(STUDY.regimes, wildcards.task)
        },
        twins=STUDY.by_cell,
        main=STUDY.main,
        simulated=STUDY.simulated,
        code=code_digest("plot_predictions"),
    script:
        "../scripts/plot_predictions.py"


rule plot_attention:
    """Figures 4 (cosine), 5 and 6 (shift by rank), 9 (norms), and 5 corrected for length."""
    input:
        cosine=out("attention/{task}/cosine.parquet"),
        comparison_bounds=out("attention/{task}/comparison_bounds.parquet"),
        rank_shift=out("attention/{task}/rank_shift.parquet"),
        norms=run_files("attention", "norms.parquet", STUDY.attended),
        tokens=out("tokens/report.parquet"),
        key_genes=out("evidence/{task}/key_genes.parquet"),
    output:
        cosine=figure("{task}/figure4_cosine", "Attention"),
        shift=figure("{task}/figure5_rank_shift", "Attention"),
        layers=figure("{task}/figure6_rank_shift_layers", "Attention"),
        corrected=figure("{task}/rank_shift_corrected", "Attention"),
        norms=figure("{task}/figure9_norms", "Attention"),
    log:
        logfile("plot_attention.{task}"),
    benchmark:
        out("benchmarks/plot_attention.{task}.tsv")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        runs=lambda wildcards: STUDY.runs(STUDY.attended, wildcards.task),
        corrected=lambda wildcards: STUDY.corrected_pairs(wildcards.task),
        marker=STUDY.evidence["marker"],
        simulated=STUDY.simulated,
        code=code_digest("plot_attention"),
    script:
        "../scripts/plot_attention.py"


rule plot_inputs:
    """What is left of accuracy, attended genes and the shift by rank in equally long cells."""
    input:
        input_length=out("evidence/{task}/input_length.parquet"),
        rank_shift=out("attention/{task}/rank_shift.parquet"),
    output:
        figure=figure("{task}/equal_length", "Attention"),
    log:
        logfile("plot_inputs.{task}"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        pairs=lambda wildcards: STUDY.pairs_on_variants(wildcards.task),
        n_top=STUDY.evidence["n_key_genes"],
        simulated=STUDY.simulated,
        code=code_digest("plot_inputs"),
    script:
        "../scripts/plot_inputs.py"


rule plot_genes:
    """Figure 7: the most attended genes beside the most differentially expressed ones."""
    input:
        attended=out("evidence/{task}/attended_vs_expressed.parquet"),
    output:
        figure=figure("{task}/figure7_attended_vs_de", "Genes"),
    log:
        logfile("plot_genes.{task}"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        regime=STUDY.main,
        fdr=STUDY.expression["fdr"],
        gene_set=(STUDY.gene_sets or [None])[0],
        simulated=STUDY.simulated,
        code=code_digest("plot_genes"),
    script:
        "../scripts/plot_genes.py"


rule plot_primary:
    """The primary test: each track under the labels as they are and under dealt ones."""
    input:
        scores=out("evidence/{task}/relabelled_scores.parquet"),
        tests=out("evidence/{task}/track_tests.parquet"),
        outcome=out("evidence/primary.parquet"),
    output:
        figure=figure("{task}/primary_test", "Genes", table="primary_test"),
    log:
        logfile("plot_primary.{task}"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        simulated=STUDY.simulated,
        code=code_digest("plot_primary"),
    script:
        "../scripts/plot_primary.py"


rule plot_scorecard:
    """Every track against truth, chance, confounds and controls; how far the tracks agree."""
    input:
        scorecard=out("evidence/{task}/scorecard.parquet"),
        agreement=out("evidence/{task}/agreement.parquet"),
    output:
        scorecard=figure("{task}/scorecard", "Genes", table="scorecard"),
        agreement=figure("{task}/agreement", "Genes"),
    log:
        logfile("plot_scorecard.{task}"),
    benchmark:
        out("benchmarks/plot_scorecard.{task}.tsv")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        regime=STUDY.main,
        simulated_sets=[
            name for name in STUDY.gene_sets if STUDY.entries["gene_sets"][name].get("simulated")
        ],
        simulated=STUDY.simulated,
        code=code_digest("plot_scorecard"),
    script:
        "../scripts/plot_scorecard.py"


rule plot_faithfulness:
    """What masking the genes of a track does to the answer, and what is left of a random model's."""
    input:
        faithfulness=out("evidence/{task}/faithfulness.parquet"),
        randomisation=out("evidence/{task}/randomisation.parquet"),
    output:
        masked=figure("{task}/comprehensiveness", "Genes"),
        changed=figure("{task}/randomisation", "Genes"),
    log:
        logfile("plot_faithfulness.{task}"),
    benchmark:
        out("benchmarks/plot_faithfulness.{task}.tsv")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        regime=lambda w: next(
            name
            for name in [STUDY.main, *STUDY.attributed]
            if name in STUDY.of_task(STUDY.attributed, w.task)
        ),
        simulated=STUDY.simulated,
        code=code_digest("plot_faithfulness"),
    script:
        "../scripts/plot_faithfulness.py"


rule plot_roar:
    """What is lost without the genes that each track calls key."""
    input:
        roar=out("evidence/{task}/roar.parquet"),
    output:
        figure=figure("{task}/roar", "Genes"),
    log:
        logfile("plot_roar.{task}"),
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        simulated=STUDY.simulated,
        code=code_digest("plot_roar"),
    script:
        "../scripts/plot_roar.py"


rule plot_gene_classes:
    """The ROC-AUC of a gene task beside its controls, and the scores of its genes."""
    input:
        metrics=out("models/{task}/gene_metrics.parquet"),
        genes=out("evidence/{task}/genes.parquet"),
        classes=out("models/{task}/gene_classes.parquet"),
    output:
        figure=figure("{task}/gene_classes", "Gene classes", table="gene_metrics"),
    log:
        logfile("plot_gene_classes.{task}"),
    wildcard_constraints:
        task="|".join(STUDY.gene_classes) or "(?!)",
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        simulated=STUDY.simulated,
        code=code_digest("plot_gene_classes"),
    script:
        "../scripts/plot_gene_classes.py"


rule plot_claims:
    """The verdict on every claim, as one table for a slide."""
    input:
        claims=out("evidence/claims.parquet"),
    output:
        figure=figure("claims", "Claims", table="claims"),
    log:
        logfile("plot_claims"),
    benchmark:
        out("benchmarks/plot_claims.tsv")
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        title=STUDY.claims["title"] if STUDY.claims else "",
        simulated=STUDY.simulated,
        code=code_digest("plot_claims"),
    script:
        "../scripts/plot_claims.py"
