# Comes in: gene scores, cells, models, the record of the run. Goes out: export/{task}/genes (.parquet,
# .tsv, .xlsx) and columns.tsv, export/scored.h5ad, and README.md and vocabulary.tsv beside every
# fine-tuned classifier. For whoever goes on elsewhere.


rule write_gene_table:
    """Put all that is known of a gene into one row, for a spreadsheet, R or Python."""
    input:
        genes=out("evidence/{task}/genes.parquet"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        gene_sets=[FILES.gene_set(name) for name in STUDY.gene_sets],
    output:
        table=out("export/{task}/genes.parquet"),
        tsv=out("export/{task}/genes.tsv"),
        xlsx=out("export/{task}/genes.xlsx"),
        columns=out("export/{task}/columns.tsv"),
    log:
        logfile("write_gene_table.{task}"),
    conda:
        "../../envs/export.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        shown={
            "study": STUDY.name,
            "regime": STUDY.main,
            "leading": STUDY.leading_track,
            "readers": {
                name: {"title": reader.title, "score": reader.score, "unit": reader.unit}
                for name, reader in STUDY.readers.items()
            },
            "simulated": STUDY.simulated,
        },
        gene_sets={
            name: {
                k: v
                for k, v in STUDY.entries["gene_sets"][name].items()
                if k in ("title", "simulated")
            }
            for name in STUDY.gene_sets
        },
        code=code_digest("write_gene_table"),
    script:
        "../scripts/write_gene_table.py"


rule write_scored_cells:
    """Copy the study's cells with classes, predictions, UMAP and the scores of their genes."""
    input:
        counts=out("cells/counts.h5ad"),
        labels=out("cells/labels.parquet"),
        umap=out("expression/umap.parquet"),
        predictions=[
            FILES.run_file(
                "models", task, STUDY.main, Run(fold, STUDY.seeds[0]), "predictions.parquet"
            )
            for task in STUDY.tasks
            for fold in STUDY.folds
            if STUDY.main in STUDY.predicting
        ],
        gene_tables=expand(out("export/{task}/genes.parquet"), task=STUDY.tasks),
        provenance=out("provenance.json"),
    output:
        cells=out("export/scored.h5ad"),
    log:
        logfile("write_scored_cells"),
    conda:
        "../../envs/export.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000, 1.5),
        runtime=30,
    params:
        tasks=STUDY.tasks,
        folds=STUDY.folds,
        regime=STUDY.main,
        code=code_digest("write_scored_cells"),
    script:
        "../scripts/write_scored_cells.py"


rule write_model_cards:
    """Say beside every fine-tuned classifier what it is, what it is worth and how to load it."""
    input:
        configs=FILES.of_classifiers("config.json"),
        loadings=FILES.of_classifiers("loading.json"),
        predictions=FILES.of_classifiers("predictions.parquet"),
        metrics=expand(out("models/{task}/metrics.parquet"), task=STUDY.tasks),
        splits=out("cells/splits.parquet"),
        vocabulary=out("vocabulary.parquet"),
        template=of_workflow("workflow/scripts/keygenes/report/model_card.md"),
    output:
        cards=FILES.of_classifiers("README.md"),
        vocabularies=FILES.of_classifiers("vocabulary.tsv"),
    log:
        logfile("write_model_cards"),
    conda:
        "../../envs/export.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        runs=STUDY.classifier_runs(),
        tasks=STUDY.tasks,
        study=STUDY.name,
        regimes={
            name: {
                "entry": STUDY.regimes[name],
                "patterns": STUDY.trained.get(name),
                "options": (STUDY.options_of(name) if name in STUDY.trained else {}),
                "finetuned": (
                    RESOLVED["finetuned"][name]["entry"] if name in STUDY.brought else None
                ),
                "encoding": STUDY.tokens["variants"].get(STUDY.encoding_of(name)),
                "tokens": FILES.tokens_of(name),
            }
            for name in STUDY.classifiers
        },
        base=RESOLVED["model"] or {},
        pretrained=None if RESOLVED["model"] else os.path.dirname(FILES.base_model("weights")),
        dataset={
            k: v for k, v in RESOLVED["dataset"].items() if k in ("title", "licence", "citation")
        },
        max_length=STUDY.tokens["max_length"],
        simulated=STUDY.simulated,
        code=code_digest("write_model_cards"),
    script:
        "../scripts/write_model_cards.py"
