# Comes in: the canonical matrix. Goes out: cells/counts.h5ad, screen.h5ad (all doses and genes),
# selection.parquet, labels.parquet, splits/fold{k}.parquet (a file per fold, so that another fold
# reruns nothing of the first), splits.parquet, splits_random/fold{k}.parquet (by cell, for what it
# gains over held-out wells), relabelled/{task}/{batch}.fold{k}/{place} labels, splits (classes dealt
# anew, the same in every fold).


rule select_cells:
    """Cut the dataset to the study's cells and genes, and count what each step kept."""
    input:
        dataset=out(f"inputs/{STUDY.dataset}.h5ad"),
    output:
        counts=out("cells/counts.h5ad"),
        screen=out("cells/screen.h5ad"),
        selection=out("cells/selection.parquet"),
        shown=carried(out("cells/selection.tsv"), "selection", "Data", "table"),
    log:
        logfile("select_cells"),
    benchmark:
        out("benchmarks/select_cells.tsv")
    conda:
        "../../envs/cells.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        where=STUDY.dataset,
        options=STUDY.select,
        code=code_digest("select_cells"),
    script:
        "../scripts/select_cells.py"


rule label_cells:
    """Give every cell its class in every task."""
    input:
        counts=out("cells/counts.h5ad"),
    output:
        labels=out("cells/labels.parquet"),
    log:
        logfile("label_cells"),
    conda:
        "../../envs/cells.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        tasks=STUDY.cell_tasks,
        code=code_digest("label_cells"),
    script:
        "../scripts/label_cells.py"


rule split_cells:
    """Hold out whole wells for test and validation (fold k: replicate k), and cells one by one."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
    output:
        splits=out("cells/splits/fold{fold}.parquet"),
        by_cell=out("cells/splits_random/fold{fold}.parquet"),
    log:
        logfile("split_cells.fold{fold}"),
    conda:
        "../../envs/cells.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        options=STUDY.split,
        stratify=STUDY.tasks[0],
        code=code_digest("split_cells"),
    script:
        "../scripts/split_cells.py"


rule relabel_cells:
    """Deal the classes anew among the wells of each replicate: labels with nothing behind them."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        splits=out("cells/splits/fold{fold}.parquet"),
    output:
        labels=FILES.of_batch("cells/relabelled/{task}/{batch}.fold{fold}/labels.parquet"),
        splits=FILES.of_batch("cells/relabelled/{task}/{batch}.fold{fold}/splits.parquet"),
    log:
        logfile("relabel_cells.{task}.{batch}.fold{fold}"),
    conda:
        "../../envs/cells.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        numbers=lambda w: FILES.relabellings_of(int(w.batch)),
        options=STUDY.split,
        code=code_digest("relabel_cells"),
    script:
        "../scripts/relabel_cells.py"


rule collect_splits:
    """Put the splits of all folds into one table."""
    input:
        splits=expand(out("cells/splits/fold{fold}.parquet"), fold=STUDY.folds),
    output:
        splits=out("cells/splits.parquet"),
    log:
        logfile("collect_splits"),
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
