# Comes in: attention statistics, differential expression, gene sets. Goes out: evidence/{task}/
# genes, key_genes, attended_vs_expressed (.parquet), figures/{task}/figure8_key_genes.tsv.


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


rule roar_genes:
    """Take away the genes that each track calls key, learn again, and see what is lost."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        genes=out("evidence/{task}/genes.parquet"),
    output:
        roar=out("evidence/{task}/roar.parquet"),
    log:
        logfile("roar_genes.{task}"),
    conda:
        "../../envs/baselines.yaml"
    threads: config["compute"]["torch_threads"]
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        regime=config["evidence"]["regime"],
        n_random=config["evidence"]["faithfulness"]["n_random"],
        n_bootstrap=config["evidence"]["n_bootstrap"],
        torch_threads=config["compute"]["torch_threads"],
        code=code_digest("roar_genes"),
    script:
        "../scripts/roar_genes.py"
