# Comes in: cells/*.h5ad, labels. Goes out: expression/umap, wilcoxon,
# pseudobulk, half_tests, dose_screen (.parquet).


rule embed_cells:
    """Lay the cells out in two dimensions (UMAP; Figure 1)."""
    input:
        counts=out("cells/counts.h5ad"),
    output:
        umap=out("expression/umap.parquet"),
    log:
        logfile("embed_cells"),
    benchmark:
        out("benchmarks/embed_cells.tsv")
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 1),
        runtime=60,
    params:
        options=STUDY.expression["umap"],
        code=code_digest("embed_cells"),
    script:
        "../scripts/embed_cells.py"


rule rank_genes:
    """Test every gene per task and class against the rest and against vehicle (Wilcoxon)."""
    input:
        screen=out("cells/screen.h5ad"),
        labels=out("cells/labels.parquet"),
        vocabulary=out("vocabulary.parquet"),
    output:
        wilcoxon=out("expression/wilcoxon.parquet"),
    log:
        logfile("rank_genes"),
    benchmark:
        out("benchmarks/rank_genes.tsv")
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 1.5),
        runtime=60,
    params:
        vehicle=STUDY.select["vehicle"],
        options=keys_of(STUDY.expression, "pseudocount"),
        code=code_digest("rank_genes"),
    script:
        "../scripts/rank_genes.py"


rule rank_genes_by_well:
    """Test every gene per task and class with the well as the unit (DESeq2 on sums per well)."""
    input:
        screen=out("cells/screen.h5ad"),
        labels=out("cells/labels.parquet"),
        vocabulary=out("vocabulary.parquet"),
    output:
        pseudobulk=out("expression/pseudobulk.parquet"),
    log:
        logfile("rank_genes_by_well"),
    benchmark:
        out("benchmarks/rank_genes_by_well.tsv")
    conda:
        "../../envs/pseudobulk.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 2.5),
        runtime=60,
    params:
        vehicle=STUDY.select["vehicle"],
        code=code_digest("rank_genes_by_well"),
    script:
        "../scripts/rank_genes_by_well.py"


rule rank_genes_by_half:
    """Test every gene per task and class in each half of the wells, against circular arguments."""
    input:
        screen=out("cells/screen.h5ad"),
        labels=out("cells/labels.parquet"),
        vocabulary=out("vocabulary.parquet"),
    output:
        half_tests=out("expression/half_tests.parquet"),
    log:
        logfile("rank_genes_by_half"),
    benchmark:
        out("benchmarks/rank_genes_by_half.tsv")
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 1.5),
        runtime=60,
    params:
        options=keys_of(STUDY.expression, "pseudocount"),
        code=code_digest("rank_genes_by_half"),
    script:
        "../scripts/rank_genes_by_half.py"


rule screen_doses:
    """Count the genes that each dose changes, the doses that the study leaves out included."""
    input:
        screen=out("cells/screen.h5ad"),
    output:
        dose_screen=out("expression/dose_screen.parquet"),
    log:
        logfile("screen_doses"),
    benchmark:
        out("benchmarks/screen_doses.tsv")
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 1.5),
        runtime=60,
    params:
        vehicle=STUDY.select["vehicle"],
        selected=STUDY.select["doses_um"],
        options=keys_of(STUDY.expression, "fdr", "min_abs_log2fc", "pseudocount"),
        code=code_digest("screen_doses"),
    script:
        "../scripts/screen_doses.py"
