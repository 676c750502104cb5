# Comes in: addresses from the registries. Goes out: verified files under resources/, and one
# canonical matrix per dataset, results/{study}/inputs/{dataset}.h5ad.


def download_paths(kind):
    """Return a regular expression of the paths under resources/ that this kind of download makes."""
    return "|".join(re.escape(path.removeprefix("resources/")) for path in DOWNLOADS[kind]) or "(?!)"


def download_params(kind):
    """Return what a download depends on: its address and checksums."""
    return lambda wildcards: DOWNLOADS[kind][f"resources/{wildcards.path}"]


rule download_dataset:
    """Fetch a file of a dataset: local path, mirror or url; resumed, verified, atomic."""
    output:
        "resources/{path}",
    wildcard_constraints:
        path=download_paths("dataset"),
    params:
        source=download_params("dataset"),
        code=code_digest("download_file"),
    log:
        "resources/logs/{path}.log",
    retries: 3
    threads: 1
    resources:
        mem_mb=500,
        runtime=120,
    conda:
        "../../envs/download.yaml"
    script:
        "../scripts/download_file.py"


use rule download_dataset as download_model with:
    wildcard_constraints:
        path=download_paths("model"),
    params:
        source=download_params("model"),
        code=code_digest("download_file"),


use rule download_dataset as download_gene_set with:
    wildcard_constraints:
        path=download_paths("gene_set"),
    params:
        source=download_params("gene_set"),
        code=code_digest("download_file"),


rule simulate_dataset:
    """Write a simulated dataset, and the truth that was planted in it."""
    output:
        matrix=out("inputs/{dataset}.simulated.h5ad"),
        truth=out("inputs/{dataset}.truth.parquet"),
    params:
        settings=lambda wildcards: DATASETS[wildcards.dataset]["simulate"],
        code=code_digest("simulate_dataset"),
    log:
        logfile("simulate_dataset.{dataset}"),
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    conda:
        "../../envs/matrices.yaml"
    script:
        "../scripts/simulate_dataset.py"


def files_of_dataset(wildcards):
    """Return the files that a dataset is read from, by part."""
    if "simulate" in DATASETS[wildcards.dataset]:
        return {"matrix": out(f"inputs/{wildcards.dataset}.simulated.h5ad")}
    return RESOLVED["dataset_files"][wildcards.dataset]


rule read_dataset:
    """Read one of the known layouts into the canonical matrix of raw counts."""
    input:
        unpack(files_of_dataset),
    output:
        out("inputs/{dataset}.h5ad"),
    wildcard_constraints:
        dataset="|".join(map(re.escape, RESOLVED["dataset_files"])),
    params:
        entry=lambda wildcards: {
            k: v
            for k, v in DATASETS[wildcards.dataset].items()
            if k in ("layout", "columns", "dose_factor")
        },
        code=code_digest("read_dataset"),
    log:
        logfile("read_dataset.{dataset}"),
    threads: 1
    resources:
        mem_mb=memory(8000),
        runtime=60,
    conda:
        "../../envs/matrices.yaml"
    script:
        "../scripts/read_dataset.py"
