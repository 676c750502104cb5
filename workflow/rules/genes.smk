# Comes in: tokens, lists of genes with classes, a pretrained model. Goes out, per task of type
# 'gene': models/{task}/gene_classes, gene_metrics (.parquet), models/{task}/{encoder}/seed{seed}/
# gene_predictions.parquet, evidence/{task}/genes.parquet.
GENE_RUNS = [(encoder, seed) for encoder in GENE_MODELS for seed in STUDY.seeds]


rule label_genes:
    """Find the genes of a list with classes among the tokens."""
    input:
        genes=lambda wildcards: RESOLVED["gene_class_files"][STUDY.gene_classes[wildcards.task]],
        tokens=out("tokens.parquet"),
        vocabulary=out("vocabulary.parquet"),
    output:
        genes=out("models/{task}/gene_classes.parquet"),
    log:
        logfile("label_genes.{task}"),
    wildcard_constraints:
        task="|".join(STUDY.gene_classes) or "(?!)",
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=10,
    params:
        classes=lambda wildcards: STUDY.entries["gene_classes"][
            STUDY.gene_classes[wildcards.task]
        ]["classes"],
        code=code_digest("label_genes"),
    script:
        "../scripts/label_genes.py"


rule classify_genes:
    """Score the genes of each fold by a model trained on the others, or by a control."""
    input:
        tokens=out("tokens.parquet"),
        genes=out("models/{task}/gene_classes.parquet"),
        vocabulary=out("vocabulary.parquet"),
        weights=FILES.base_model("weights"),
        config=FILES.base_model("config"),
    output:
        predictions=out("models/{task}/{encoder}/seed{seed}/gene_predictions.parquet"),
    log:
        logfile("classify_genes.{task}.{encoder}.seed{seed}"),
    benchmark:
        out("benchmarks/classify_genes.{task}.{encoder}.seed{seed}.tsv")
    wildcard_constraints:
        task="|".join(STUDY.gene_classes) or "(?!)",
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=720,
        gpu=lambda wildcards: 0 if wildcards.encoder == "logistic" else GPUS,
    params:
        options={k: v for k, v in STUDY.gene_classification.items() if k != "n_bootstrap"},
        max_length=STUDY.tokens["max_length"],
        compute=COMPUTE,
        code=code_digest("classify_genes"),
    script:
        "../scripts/classify_genes.py"


rule score_gene_classes:
    """Measure how well the genes are told apart, with intervals over genes."""
    input:
        predictions=[
            out(f"models/{{task}}/{encoder}/seed{seed}/gene_predictions.parquet")
            for encoder, seed in GENE_RUNS
        ],
    output:
        metrics=out("models/{task}/gene_metrics.parquet"),
        genes=out("evidence/{task}/genes.parquet"),
    log:
        logfile("score_gene_classes.{task}"),
    benchmark:
        out("benchmarks/score_gene_classes.{task}.tsv")
    wildcard_constraints:
        task="|".join(STUDY.gene_classes) or "(?!)",
    conda:
        "../../envs/evidence.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        runs=GENE_RUNS,
        n_bootstrap=STUDY.gene_classification["n_bootstrap"],
        code=code_digest("score_gene_classes"),
    script:
        "../scripts/score_gene_classes.py"
