# Comes in: models, tokens, splits. Goes out: attention/{task}/{regime}/{run}/ by_rank, by_gene,
# by_well, norms, heads, expected (.parquet), and attention/{task}/cosine, rank_shift,
# comparison_bounds (.parquet).

# One job per model, or one per shard of its cells and one that merges them.
SHARDS = STUDY.attention["shards"]
LOOKED_AT_WITH = {**COMPUTE, "precision": STUDY.attention["precision"]}
LOOKED_AT = "|".join(STUDY.attended) or "(?!)"


rule extract_attention:
    """Attention per rank, gene and well, and norms, on test cells and vehicle training cells."""
    input:
        tokens=lambda w: FILES.tokens_of(w.regime),
        labels=out("cells/labels.parquet"),
        splits=fold_splits,
        vocabulary=out("vocabulary.parquet"),
        counts=out("cells/counts.h5ad"),
        weights=of_job(FILES.weights_of),
        config=of_job(FILES.config_of),
    output:
        by_rank=out("attention/{task}/{regime}/{run}/by_rank.parquet"),
        by_gene=out("attention/{task}/{regime}/{run}/by_gene.parquet"),
        by_well=out("attention/{task}/{regime}/{run}/by_well.parquet"),
        norms=out("attention/{task}/{regime}/{run}/norms.parquet"),
        heads=out("attention/{task}/{regime}/{run}/heads.parquet"),
        expected=out("attention/{task}/{regime}/{run}/expected.parquet"),
    log:
        logfile("extract_attention.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/extract_attention.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime=LOOKED_AT if SHARDS == 1 else "(?!)",
        run=LABELS_AS_THEY_ARE,
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=240,
        gpu=GPUS,
    params:
        runs=names_of_runs,
        vehicle=STUDY.select["vehicle"],
        max_length=STUDY.tokens["max_length"],
        max_cells=STUDY.attention["max_cells"],
        options=keys_of(STUDY.attention, "pair_norms"),
        compute=LOOKED_AT_WITH,
        code=code_digest("extract_attention"),
    script:
        "../scripts/extract_attention.py"


# Of models trained on dealt labels nothing else is asked; they are too many for shards.
use rule extract_attention as extract_relabelled with:
    output:
        by_well=FILES.of_batch("attention/{task}/{regime}/{run}/by_well.parquet"),
    log:
        logfile("extract_relabelled.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/extract_relabelled.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime=LOOKED_AT,
        run=DEALT_LABELS,
    priority: LONGEST_WAY


rule extract_shard:
    """The sums of attention over one shard of the cells."""
    input:
        tokens=lambda w: FILES.tokens_of(w.regime),
        labels=out("cells/labels.parquet"),
        splits=fold_splits,
        vocabulary=out("vocabulary.parquet"),
        counts=out("cells/counts.h5ad"),
        weights=of_run(FILES.weights_of),
        config=of_run(FILES.config_of),
    output:
        sums=temp(out("attention/{task}/{regime}/{run}/shards/{shard}.safetensors")),
    log:
        logfile("extract_shard.{task}.{regime}.{run}.{shard}"),
    benchmark:
        out("benchmarks/extract_shard.{task}.{regime}.{run}.{shard}.tsv")
    wildcard_constraints:
        shard=r"\d+",
        run=LABELS_AS_THEY_ARE,
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=240,
        gpu=GPUS,
    params:
        vehicle=STUDY.select["vehicle"],
        max_length=STUDY.tokens["max_length"],
        max_cells=STUDY.attention["max_cells"],
        options=keys_of(STUDY.attention, "pair_norms"),
        shards=SHARDS,
        compute=LOOKED_AT_WITH,
        code=code_digest("extract_shard"),
    script:
        "../scripts/extract_shard.py"


rule merge_attention:
    """The tables of extract_attention from the sums of all shards."""
    input:
        tokens=lambda w: FILES.tokens_of(w.regime),
        labels=out("cells/labels.parquet"),
        splits=fold_splits,
        vocabulary=out("vocabulary.parquet"),
        counts=out("cells/counts.h5ad"),
        sums=expand(
            out("attention/{{task}}/{{regime}}/{{run}}/shards/{shard}.safetensors"),
            shard=range(1, SHARDS + 1),
        ),
    output:
        by_rank=out("attention/{task}/{regime}/{run}/by_rank.parquet"),
        by_gene=out("attention/{task}/{regime}/{run}/by_gene.parquet"),
        by_well=out("attention/{task}/{regime}/{run}/by_well.parquet"),
        norms=out("attention/{task}/{regime}/{run}/norms.parquet"),
        heads=out("attention/{task}/{regime}/{run}/heads.parquet"),
        expected=out("attention/{task}/{regime}/{run}/expected.parquet"),
    log:
        logfile("merge_attention.{task}.{regime}.{run}"),
    benchmark:
        out("benchmarks/merge_attention.{task}.{regime}.{run}.tsv")
    wildcard_constraints:
        regime=LOOKED_AT if SHARDS > 1 else "(?!)",
        run=LABELS_AS_THEY_ARE,
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        vehicle=STUDY.select["vehicle"],
        max_cells=STUDY.attention["max_cells"],
        options=keys_of(STUDY.attention, "pair_norms"),
        code=code_digest("merge_attention"),
    script:
        "../scripts/merge_attention.py"


rule compare_attention:
    """Agreement of attention per layer and head, its bounds, and shift by rank, of pairs of models."""
    input:
        tokens=lambda w: FILES.encoded(w.encoding),
        labels=out("cells/labels.parquet"),
        splits=fold_splits,
        weights=of_compared(FILES.weights_of),
        config=of_compared(FILES.config_of),
        other_weights=of_retrained(FILES.weights_of),
        other_config=of_retrained(FILES.config_of),
        by_rank=of_compared(FILES.by_rank_of),
    output:
        cosine=out("attention/{task}/cosine.{encoding}.{run}.parquet"),
        rank_shift=out("attention/{task}/rank_shift.{encoding}.{run}.parquet"),
        comparison_bounds=out("attention/{task}/comparison_bounds.{encoding}.{run}.parquet"),
    log:
        logfile("compare_attention.{task}.{encoding}.{run}"),
    benchmark:
        out("benchmarks/compare_attention.{task}.{encoding}.{run}.tsv")
    conda:
        "../../envs/models.yaml"
    threads: STUDY.compute["torch_threads"]
    resources:
        mem_mb=memory(8000),
        runtime=240,
        gpu=GPUS,
    params:
        names=lambda w: STUDY.compared(w.task, w.encoding),
        pairs=lambda w: STUDY.pairs_of(w.task, w.encoding),
        retrained=retrained,
        other=lambda w: getattr(STUDY.run_before(w.run), "name", ""),
        max_cells=STUDY.attention["max_cells"],
        compute=LOOKED_AT_WITH,
        code=code_digest("compare_attention"),
    script:
        "../scripts/compare_attention.py"


rule collect_comparisons:
    """Put the comparisons of all runs into one table each."""
    input:
        cosine=comparisons("cosine"),
        rank_shift=comparisons("rank_shift"),
        comparison_bounds=comparisons("comparison_bounds"),
    output:
        cosine=out("attention/{task}/cosine.parquet"),
        rank_shift=out("attention/{task}/rank_shift.parquet"),
        comparison_bounds=out("attention/{task}/comparison_bounds.parquet"),
    log:
        logfile("collect_comparisons.{task}"),
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        code=code_digest("collect_tables"),
    script:
        "../scripts/collect_tables.py"
