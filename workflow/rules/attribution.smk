# Comes in: models, tokens, splits, differential expression. Goes out: evidence/{task}/{regime}/{run}/
# well_scores, cells, faithfulness, randomisation, and evidence/{task}/ faithfulness, randomisation (.parquet).


rule attribute_genes:
    """What a model's predictions are made of, and whether the model goes by it: one job per model."""
    input:
        tokens=lambda w: FILES.tokens_of(w.regime),
        labels=out("cells/labels.parquet"),
        splits=fold_splits,
        vocabulary=out("vocabulary.parquet"),
        counts=out("cells/counts.h5ad"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        by_well=of_job(FILES.by_well_of),
        weights=of_job(FILES.weights_of),
        config=of_job(FILES.config_of),
    output:
        well_scores=out("evidence/{task}/{regime}/{run}/well_scores.parquet"),
        cells=out("evidence/{task}/{regime}/{run}/cells.parquet"),
        faithfulness=out("evidence/{task}/{regime}/{run}/faithfulness.parquet"),
        randomisation=out("evidence/{task}/{regime}/{run}/randomisation.parquet"),
    log:
        logfile("attribute_genes.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/attribute_genes.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime="|".join(STUDY.attributed) or "(?!)",
        run=LABELS_AS_THEY_ARE,
    conda:
        "../../envs/attribution.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=720,
        gpu=GPUS,
    params:
        runs=names_of_runs,
        tracks=STUDY.evidence["tracks"],
        attribution=STUDY.evidence["attribution"],
        faithfulness=STUDY.evidence["faithfulness"],
        max_length=STUDY.tokens["max_length"],
        compute=COMPUTE,
        code=code_digest("attribute_genes"),
    script:
        "../scripts/attribute_genes.py"


use rule attribute_genes as attribute_relabelled with:
    output:
        well_scores=FILES.of_batch("evidence/{task}/{regime}/{run}/well_scores.parquet"),
        cells=FILES.of_batch("evidence/{task}/{regime}/{run}/cells.parquet"),
    log:
        logfile("attribute_relabelled.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/attribute_relabelled.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime="|".join(STUDY.attributed) or "(?!)",
        run=DEALT_LABELS,
    priority: LONGEST_WAY


rule collect_attribution:
    """Faithfulness and randomisation over all models of a task, with intervals over wells."""
    input:
        faithfulness=run_files("evidence", "faithfulness.parquet", STUDY.attributed),
        randomisation=run_files("evidence", "randomisation.parquet", STUDY.attributed),
        cells=run_files("evidence", "cells.parquet", STUDY.attributed),
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
        runs=lambda w: STUDY.runs(STUDY.attributed, w.task),
        code=code_digest("collect_attribution"),
    script:
        "../scripts/collect_attribution.py"
