# Comes in: models, tokens, splits, differential expression. Goes out: evidence/{task}/{regime}/seed{seed}/
# well_scores, cells, faithfulness, randomisation, and evidence/{task}/ faithfulness, randomisation (.parquet).


rule attribute_genes:
    """What a model's predictions are made of, and whether the model goes by it: one job per model."""
    input:
        tokens=lambda w: tokens_of(w.regime),
        labels=out("cells/labels.parquet"),
        splits=lambda w: splits_of(w.regime, w.seed),
        vocabulary=out("vocabulary.parquet"),
        counts=out("cells/counts.h5ad"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        by_well=out("attention/{task}/{regime}/seed{seed}/by_well.parquet"),
        weights=lambda w: model_of(w.regime, "weights", w.task, w.seed),
        config=lambda w: model_of(w.regime, "config", w.task, w.seed),
    output:
        well_scores=out("evidence/{task}/{regime}/seed{seed}/well_scores.parquet"),
        cells=out("evidence/{task}/{regime}/seed{seed}/cells.parquet"),
        faithfulness=out("evidence/{task}/{regime}/seed{seed}/faithfulness.parquet"),
        randomisation=out("evidence/{task}/{regime}/seed{seed}/randomisation.parquet"),
    log:
        logfile("attribute_genes.{task}.{regime}.seed{seed}"),
    benchmark:
        out("benchmarks/attribute_genes.{task}.{regime}.seed{seed}.tsv")
    wildcard_constraints:
        regime="|".join(ATTRIBUTED) or "(?!)",
    conda:
        "../../envs/attribution.yaml"
    threads: config["compute"]["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=720,
        gpu=GPUS,
    params:
        tracks=config["evidence"]["tracks"],
        attribution=config["evidence"]["attribution"],
        faithfulness=config["evidence"]["faithfulness"],
        max_length=config["tokens"]["max_length"],
        compute=COMPUTE,
        code=code_digest("attribute_genes"),
    script:
        "../scripts/attribute_genes.py"


rule collect_attribution:
    """Faithfulness and randomisation over all models of a task, with intervals over wells."""
    input:
        faithfulness=run_files("evidence", "faithfulness.parquet", ATTRIBUTED),
        randomisation=run_files("evidence", "randomisation.parquet", ATTRIBUTED),
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
    output:
        faithfulness=out("evidence/{task}/faithfulness.parquet"),
        randomisation=out("evidence/{task}/randomisation.parquet"),
    log:
        logfile("collect_attribution.{task}"),
    benchmark:
        out("benchmarks/collect_attribution.{task}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        runs=lambda w: runs(ATTRIBUTED, w.task),
        n_bootstrap=config["evidence"]["n_bootstrap"],
        code=code_digest("collect_attribution"),
    script:
        "../scripts/collect_attribution.py"
