# Comes in: cells/counts.h5ad, dictionaries. Goes out: vocabulary.parquet, tokens.parquet,
# tokens/report.parquet (what was lost).


rule build_vocabulary:
    """Read a model's dictionaries, or make a vocabulary from the cells to pretrain on."""
    input:
        unpack(
            lambda wildcards: RESOLVED["vocabulary_files"]
            or {"corpus": out(f"inputs/{config['pretrain']['dataset']}.h5ad")}
        ),
    output:
        vocabulary=out("vocabulary.parquet"),
    log:
        logfile("build_vocabulary"),
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=20,
    params:
        code=code_digest("build_vocabulary"),
    script:
        "../scripts/build_vocabulary.py"


rule tokenize_cells:
    """Encode each cell as its genes by falling rank value (Theodoris et al. 2023)."""
    input:
        unpack(
            lambda wildcards: {
                k: v for k, v in RESOLVED["vocabulary_files"].items() if k == "mapping"
            }
        ),
        counts=out("cells/counts.h5ad"),
        vocabulary=out("vocabulary.parquet"),
    output:
        tokens=out("tokens.parquet"),
        report=out("tokens/report.parquet"),
    log:
        logfile("tokenize_cells"),
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        max_length=config["tokens"]["max_length"],
        upstream=config["tokens"]["upstream"],
        version=(RESOLVED["vocabulary"] or {}).get("version", "v1"),
        code=code_digest("tokenize_cells"),
    script:
        "../scripts/tokenize_cells.py"


use rule tokenize_cells as tokenize_corpus with:
    input:
        unpack(
            lambda wildcards: {
                k: v for k, v in RESOLVED["vocabulary_files"].items() if k == "mapping"
            }
        ),
        counts=out(f"inputs/{config['pretrain']['dataset']}.h5ad"),
        vocabulary=out("vocabulary.parquet"),
    output:
        tokens=out("tokens/corpus.parquet"),
        report=out("tokens/corpus_report.parquet"),
    log:
        logfile("tokenize_corpus"),
