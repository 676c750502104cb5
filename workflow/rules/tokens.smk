# Comes in: cells/counts.h5ad, dictionaries. Goes out: vocabulary.parquet, tokens.parquet,
# tokens/report.parquet (what was lost). With tokens.shards n > 1, n jobs encode a part of the cells
# each, and tokenize_cells puts the parts together: the same bytes, block by block. Variants of the
# encoding (tokens.variants) are made in a job each: tokens/{variant}.parquet.

ENCODED = {
    "max_length": STUDY.tokens["max_length"],
    "upstream": STUDY.tokens["upstream"],
    "version": (RESOLVED["vocabulary"] or {}).get("version", "v1"),
}


rule build_vocabulary:
    """Read a model's dictionaries, or make a vocabulary from the cells to pretrain on."""
    input:
        unpack(
            lambda wildcards: RESOLVED["vocabulary_files"]
            or {"corpus": out(f"inputs/{STUDY.pretrain['dataset']}.h5ad")}
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
        unpack(cells_or_shards),
    output:
        tokens=out("tokens.parquet"),
        report=out("tokens/report.parquet"),
    log:
        logfile("tokenize_cells"),
    benchmark:
        out("benchmarks/tokenize_cells.tsv")
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        **ENCODED,
        draws=settings.encoding(STUDY.tokens),
        code=code_digest("tokenize_cells"),
    script:
        "../scripts/tokenize_cells.py"


use rule tokenize_cells as tokenize_shard with:
    input:
        unpack(to_tokenize(out("cells/counts.h5ad"))),
    output:
        tokens=temp(out("tokens/shards/{shard}.parquet")),
        report=temp(out("tokens/shards/{shard}.report.parquet")),
    log:
        logfile("tokenize_shard.{shard}"),
    benchmark:
        out("benchmarks/tokenize_shard.{shard}.tsv")
    params:
        **ENCODED,
        draws=settings.encoding(STUDY.tokens),
        shard=lambda wildcards: [int(wildcards.shard), STUDY.tokens["shards"]],
        code=code_digest("tokenize_cells"),


use rule tokenize_cells as tokenize_variant with:
    input:
        unpack(to_tokenize(out("cells/counts.h5ad"))),
    output:
        tokens=out("tokens/{encoding}.parquet"),
        report=out("tokens/{encoding}.report.parquet"),
    log:
        logfile("tokenize_variant.{encoding}"),
    benchmark:
        out("benchmarks/tokenize_variant.{encoding}.tsv")
    wildcard_constraints:
        encoding="|".join(STUDY.tokens["variants"]) or "(?!)",
    params:
        **ENCODED,
        draws=lambda wildcards: settings.encoding(STUDY.tokens, wildcards.encoding),
        code=code_digest("tokenize_cells"),


use rule tokenize_cells as tokenize_corpus with:
    input:
        unpack(to_tokenize(out(f"inputs/{STUDY.pretrain['dataset']}.h5ad"))),
    output:
        tokens=out("tokens/corpus.parquet"),
        report=out("tokens/corpus_report.parquet"),
    log:
        logfile("tokenize_corpus"),
    benchmark:
        out("benchmarks/tokenize_corpus.tsv")
    params:
        **ENCODED,
        draws={},
        code=code_digest("tokenize_cells"),
