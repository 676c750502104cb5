# Comes in: tokens, labels, splits, a pretrained model. Goes out: models/{task}/{regime}/{run}/
# (weights, config, history, predictions, loading), models/{task}/baselines/{design}/fold{fold}/
# (predictions, coefficients) and models/{task}/metrics, confusion (.parquet).
BASELINE_RUNS = [(design, fold) for design in STUDY.designs for fold in STUDY.folds]


rule pretrain:
    """Pretrain a small encoder by masked tokens (the demo, and users without weights)."""
    input:
        tokens=out("tokens/corpus.parquet"),
        vocabulary=out("vocabulary.parquet"),
    output:
        weights=out("models/pretrained/model.safetensors"),
        config=out("models/pretrained/config.json"),
        history=out("models/pretrained/history.parquet"),
    log:
        logfile("pretrain"),
    benchmark:
        out("benchmarks/pretrain.tsv")
    priority: LONGEST_WAY
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=720,
        gpu=GPUS,
    params:
        options={k: v for k, v in STUDY.pretrain.items() if k != "dataset"},
        max_length=STUDY.tokens["max_length"],
        compute=COMPUTE,
        code=code_digest("pretrain"),
    script:
        "../scripts/pretrain.py"


rule cache_trunk:
    """Compute once what a regime's frozen layers make of the cells, for all its tasks and runs."""
    input:
        tokens=lambda wildcards: FILES.encoded(STUDY.trunks[wildcards.trunk]["tokens"]),
        vocabulary=out("vocabulary.parquet"),
        weights=FILES.base_model("weights"),
        config=FILES.base_model("config"),
    output:
        states=out("models/cache/{trunk}/states.json"),
    log:
        logfile("cache_trunk.{trunk}"),
    benchmark:
        out("benchmarks/cache_trunk.{trunk}.tsv")
    wildcard_constraints:
        trunk="[0-9a-f]{12}",
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=360,
        gpu=GPUS,
    params:
        patterns=lambda wildcards: STUDY.trunks[wildcards.trunk]["patterns"],
        pooling=lambda wildcards: STUDY.trunks[wildcards.trunk]["pooling"],
        cache=STUDY.finetune["cache"],
        max_length=STUDY.tokens["max_length"],
        compute=COMPUTE,
        code=code_digest("cache_trunk"),
    script:
        "../scripts/cache_trunk.py"


rule finetune:
    """Fine-tune one regime for one task, fold and seed."""
    input:
        tokens=lambda wildcards: FILES.tokens_of(wildcards.regime),
        labels=of_job(FILES.labels_of),
        splits=of_job(FILES.splits_of),
        vocabulary=out("vocabulary.parquet"),
        weights=lambda wildcards: (
            [] if "encoder" in STUDY.regimes[wildcards.regime] else FILES.base_model("weights")
        ),
        config=FILES.base_model("config"),
        states=lambda wildcards: [
            out(f"models/cache/{digest}/states.json")
            for name, digest in STUDY.trunk_of.items()
            if name == wildcards.regime
        ],
    output:
        weights=out("models/{task}/{regime}/{run}/model.safetensors"),
        config=out("models/{task}/{regime}/{run}/config.json"),
        history=out("models/{task}/{regime}/{run}/history.parquet"),
        predictions=out("models/{task}/{regime}/{run}/predictions.parquet"),
        loading=out("models/{task}/{regime}/{run}/loading.json"),
    log:
        logfile("finetune.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/finetune.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime="|".join(STUDY.finetuned) or "(?!)",
        run=LABELS_AS_THEY_ARE,
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"] * STUDY.compute["processes"]
    resources:
        mem_mb=memory(8000),
        runtime=720,
        gpu=GPUS * STUDY.compute["processes"],
    params:
        runs=names_of_runs,
        patterns=lambda wildcards: STUDY.trained[wildcards.regime],
        options=lambda wildcards: STUDY.options_of(wildcards.regime),
        cache=lambda wildcards: STUDY.finetune["cache"] if wildcards.regime in STUDY.still else None,
        max_length=STUDY.tokens["max_length"],
        compute=FINETUNED_WITH,
        code=code_digest("finetune"),
    script:
        "../scripts/finetune.py"


use rule finetune as finetune_relabelled with:
    output:
        weights=FILES.of_batch("models/{task}/{regime}/{run}/model.safetensors"),
        config=FILES.of_batch("models/{task}/{regime}/{run}/config.json"),
        history=FILES.of_batch("models/{task}/{regime}/{run}/history.parquet"),
        predictions=FILES.of_batch("models/{task}/{regime}/{run}/predictions.parquet"),
        loading=FILES.of_batch("models/{task}/{regime}/{run}/loading.json"),
    log:
        logfile("finetune_relabelled.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/finetune_relabelled.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime="|".join(STUDY.finetuned) or "(?!)",
        run=DEALT_LABELS,
    priority: LONGEST_WAY


rule adopt_model:
    """Take over a classifier that was fine-tuned elsewhere, and let it predict the cells."""
    input:
        tokens=lambda wildcards: FILES.tokens_of(wildcards.regime),
        labels=of_run(FILES.labels_of),
        splits=of_run(FILES.splits_of),
        vocabulary=out("vocabulary.parquet"),
        weights=lambda wildcards: RESOLVED["finetuned"][wildcards.regime]["weights"],
        config=lambda wildcards: RESOLVED["finetuned"][wildcards.regime]["config"],
    output:
        weights=out("models/{task}/{regime}/{run}/model.safetensors"),
        config=out("models/{task}/{regime}/{run}/config.json"),
        predictions=out("models/{task}/{regime}/{run}/predictions.parquet"),
        loading=out("models/{task}/{regime}/{run}/loading.json"),
    log:
        logfile("adopt_model.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/adopt_model.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime="|".join(STUDY.brought) or "(?!)",
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=120,
        gpu=GPUS,
    params:
        classes=lambda wildcards: RESOLVED["finetuned"][wildcards.regime]["classes"],
        max_length=STUDY.tokens["max_length"],
        compute=COMPUTE,
        code=code_digest("adopt_model"),
    script:
        "../scripts/adopt_model.py"


rule fit_probe:
    """Fit a logistic regression on the encoder's pooled input, or on genes without an encoder."""
    input:
        tokens=lambda wildcards: FILES.tokens_of(wildcards.regime),
        labels=of_run(FILES.labels_of),
        splits=of_run(FILES.splits_of),
        counts=out("cells/counts.h5ad"),
        vocabulary=out("vocabulary.parquet"),
        weights=FILES.base_model("weights"),
        config=FILES.base_model("config"),
    output:
        weights=out("models/{task}/{regime}/{run}/model.safetensors"),
        config=out("models/{task}/{regime}/{run}/config.json"),
        predictions=out("models/{task}/{regime}/{run}/predictions.parquet"),
    log:
        logfile("fit_probe.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/fit_probe.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime="|".join(STUDY.logistic) or "(?!)",
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        features=lambda wildcards: STUDY.regimes[wildcards.regime]["features"],
        pooling=lambda wildcards: STUDY.regimes[wildcards.regime].get(
            "pooling", STUDY.finetune["pooling"]
        ),
        compute=COMPUTE,
        code=code_digest("fit_probe"),
    script:
        "../scripts/fit_probe.py"


rule fit_baselines:
    """Fit what needs no encoder: cell length, first gene, bags of genes, counts, trees."""
    input:
        tokens=out("tokens.parquet"),
        labels=out("cells/labels.parquet"),
        splits=lambda wildcards: out(f"{STUDY.designs[wildcards.design]}/fold{{fold}}.parquet"),
        counts=out("cells/counts.h5ad"),
        vocabulary=out("vocabulary.parquet"),
    output:
        predictions=out("models/{task}/baselines/{design}/fold{fold}/predictions.parquet"),
        coefficients=out("models/{task}/baselines/{design}/fold{fold}/coefficients.parquet"),
    log:
        logfile("fit_baselines.{task}.{design}.fold{fold}"),
    benchmark:
        out("benchmarks/fit_baselines.{task}.{design}.fold{fold}.tsv")
    wildcard_constraints:
        design="|".join(STUDY.designs),
    conda:
        "../../envs/baselines.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=120,
    params:
        depth=next((v["depth"] for v in STUDY.tokens["variants"].values() if v.get("depth")), None),
        draw_seed=STUDY.tokens["seed"],
        torch_threads=STUDY.compute["torch_threads"],
        code=code_digest("fit_baselines"),
    script:
        "../scripts/fit_baselines.py"


rule evaluate:
    """Score the predictions of every regime and baseline, with intervals over wells."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits.parquet"),
        predictions=run_files("models", "predictions.parquet", STUDY.predicting),
        baselines=[
            out(f"models/{{task}}/baselines/{design}/fold{fold}/predictions.parquet")
            for design, fold in BASELINE_RUNS
        ],
    output:
        metrics=out("models/{task}/metrics.parquet"),
        confusion=out("models/{task}/confusion.parquet"),
    log:
        logfile("evaluate.{task}"),
    benchmark:
        out("benchmarks/evaluate.{task}.tsv")
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        runs=lambda wildcards: STUDY.runs(STUDY.predicting, wildcards.task),
        baseline_runs=BASELINE_RUNS,
        designs={n: r["split"] for n, r in STUDY.regimes.items() if r.get("split") in STUDY.designs},
        main=STUDY.main,
        twins=STUDY.by_cell,
        code=code_digest("evaluate"),
    script:
        "../scripts/evaluate.py"
