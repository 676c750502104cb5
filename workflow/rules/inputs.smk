# Comes in: addresses from the registries. Goes out: verified files under resources/, and one
# canonical matrix per dataset, results/{study}/inputs/{dataset}.h5ad, beside it {dataset}.genes.tsv
# (what became of genes without an Ensembl id), and gene_names.parquet where a dictionary is at hand.


# Of all machines, the one that Snakemake runs on is the likeliest to reach the network: downloads are
# local, and each says so, as a rule does not inherit it.
rule download_dataset:
    """Fetch a file of a dataset: local path, mirror or url; retried, resumed, verified, atomic."""
    output:
        "resources/{path}",
    log:
        "resources/logs/{path}.log",
    wildcard_constraints:
        path=download_paths("dataset"),
    localrule: True
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=120,
    params:
        source=download_params("dataset"),
        code=code_digest("download_file"),
    script:
        "../scripts/download_file.py"


use rule download_dataset as download_model with:
    wildcard_constraints:
        path=download_paths("model"),
    localrule: True
    params:
        source=download_params("model"),
        code=code_digest("download_file"),


use rule download_dataset as download_gene_set with:
    wildcard_constraints:
        path=download_paths("gene_set"),
    localrule: True
    params:
        source=download_params("gene_set"),
        code=code_digest("download_file"),


rule simulate_dataset:
    """Write a simulated dataset, and the truth that was planted in it."""
    output:
        matrix=out("inputs/{dataset}.simulated.h5ad"),
        truth=out("inputs/{dataset}.truth.parquet"),
    log:
        logfile("simulate_dataset.{dataset}"),
    benchmark:
        out("benchmarks/simulate_dataset.{dataset}.tsv")
    conda:
        "../../envs/matrices.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=lambda wildcards: STUDY.entries["datasets"][wildcards.dataset]["simulate"],
        code=code_digest("simulate_dataset"),
    script:
        "../scripts/simulate_dataset.py"


rule name_genes:
    """Put the symbols and aliases of the models' dictionaries into one table."""
    input:
        names=RESOLVED["name_files"]["names"],
        mappings=RESOLVED["name_files"]["mapping"],
    output:
        names=out("inputs/gene_names.parquet"),
    log:
        logfile("name_genes"),
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        code=code_digest("name_genes"),
    script:
        "../scripts/name_genes.py"


rule read_dataset:
    """Read one of the known layouts into the canonical matrix of raw counts."""
    input:
        unpack(files_of_dataset),
    output:
        matrix=out("inputs/{dataset}.h5ad"),
        genes=out("inputs/{dataset}.genes.tsv"),
    log:
        logfile("read_dataset.{dataset}"),
    benchmark:
        out("benchmarks/read_dataset.{dataset}.tsv")
    wildcard_constraints:
        dataset="|".join(map(re.escape, RESOLVED["dataset_files"])),
    conda:
        "../../envs/matrices.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        entry=lambda wildcards: {
            k: v
            for k, v in STUDY.entries["datasets"][wildcards.dataset].items()
            if k in ("layout", "layer", "counts", "columns", "dose_factor")
        },
        name="{dataset}",
        code=code_digest("read_dataset"),
    script:
        "../scripts/read_dataset.py"


rule combine_datasets:
    """Put the cells of several datasets together: all their genes, zero where one has not."""
    input:
        lambda wildcards: [
            out(f"inputs/{name}.h5ad") for name in RESOLVED["combined"][wildcards.dataset]
        ],
    output:
        out("inputs/{dataset}.h5ad"),
    log:
        logfile("combine_datasets.{dataset}"),
    benchmark:
        out("benchmarks/combine_datasets.{dataset}.tsv")
    wildcard_constraints:
        dataset="|".join(map(re.escape, RESOLVED["combined"])) or "(?!)",
    conda:
        "../../envs/matrices.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        names=lambda wildcards: RESOLVED["combined"][wildcards.dataset],
        code=code_digest("combine_datasets"),
    script:
        "../scripts/combine_datasets.py"
