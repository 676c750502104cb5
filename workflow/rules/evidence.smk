# Comes in: attention statistics, attributions, differential expression, gene sets. Goes out:
# evidence/{task}/genes, scorecard, agreement, key_genes, attended_vs_expressed (.parquet),
# figures/{task}/figure8_key_genes.tsv.

EVIDENCE = config["evidence"]
ATTRIBUTED = list(EVIDENCE["regimes"]) if set(EVIDENCE["tracks"]) & set(ATTRIBUTIONS) else []
SETS = {
    name: {k: v for k, v in GENE_SETS[name].items() if k in ("format", "set")}
    for name in EVIDENCE["gene_sets"]
}


rule score_genes:
    """Score every gene on every track, and make the key-gene table (Figures 7 and 8)."""
    input:
        by_gene=run_files("attention", "by_gene.parquet", ATTENDED),
        by_well=run_files("attention", "by_well.parquet", ATTENDED),
        well_scores=run_files("evidence", "well_scores.parquet", ATTRIBUTED),
        wilcoxon=out("expression/wilcoxon.parquet"),
        pseudobulk=out("expression/pseudobulk.parquet"),
        coefficients=expand(
            out("models/{{task}}/baselines/grouped/seed{seed}/coefficients.parquet"), seed=SEEDS
        ),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[RESOLVED["gene_set_files"][name] for name in SETS],
    output:
        genes=out("evidence/{task}/genes.parquet"),
        key_genes=out("evidence/{task}/key_genes.parquet"),
        attended=out("evidence/{task}/attended_vs_expressed.parquet"),
        figure8=report(
            out("figures/{task}/figure8_key_genes.tsv"),
            caption="../report/figure8_key_genes.rst",
            category="Genes",
            labels={"task": "{task}", "table": "key genes"},
        ),
    log:
        logfile("score_genes.{task}"),
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=30,
    params:
        runs=lambda wildcards: runs(ATTENDED, wildcards.task),
        attributed=lambda wildcards: runs(ATTRIBUTED, wildcards.task),
        seeds=SEEDS,
        vehicle=config["select"]["vehicle"],
        regime=EVIDENCE["regime"],
        tracks=EVIDENCE["tracks"],
        permuted=[name for name, regime in REGIMES.items() if "labels" in regime],
        n_key_genes=EVIDENCE["n_key_genes"],
        gene_sets=SETS,
        code=code_digest("score_genes"),
    script:
        "../scripts/score_genes.py"


rule score_tracks:
    """Hold every track against truth, expression, confounds and controls."""
    input:
        genes=out("evidence/{task}/genes.parquet"),
        by_well=run_files("attention", "by_well.parquet", ATTENDED),
        well_scores=run_files("evidence", "well_scores.parquet", ATTRIBUTED),
        faithfulness=[out("evidence/{task}/faithfulness.parquet")] if ATTRIBUTED else [],
        half_tests=out("expression/half_tests.parquet"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        tokens=out("tokens.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[RESOLVED["gene_set_files"][name] for name in SETS],
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
