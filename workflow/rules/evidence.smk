# Comes in: attention statistics, differential expression, gene sets. Goes out: evidence/{task}/
# genes, key_genes, attended_vs_expressed, input_length (.parquet), figures/{task}/
# figure8_key_genes.tsv.


rule score_genes:
    """Score every gene on every track, and make the key-gene table (Figures 7 and 8)."""
    input:
        by_gene=run_files("attention", "by_gene.parquet", ATTENDED),
        by_well=run_files("attention", "by_well.parquet", ATTENDED),
        wilcoxon=out("expression/wilcoxon.parquet"),
        vocabulary=out("vocabulary.parquet"),
        gene_sets=[RESOLVED["gene_set_files"][name] for name in config["evidence"]["gene_sets"]],
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
        regime=config["evidence"]["regime"],
        n_key_genes=config["evidence"]["n_key_genes"],
        gene_sets={
            name: {k: v for k, v in GENE_SETS[name].items() if k in ("format", "set")}
            for name in config["evidence"]["gene_sets"]
        },
        code=code_digest("score_genes"),
    script:
        "../scripts/score_genes.py"


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
        n_top=config["evidence"]["n_key_genes"],
        n_bootstrap=config["evidence"]["n_bootstrap"],
        code=code_digest("compare_inputs"),
    script:
        "../scripts/compare_inputs.py"
