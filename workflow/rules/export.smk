# Comes in: gene scores, cells, models, the record of the run. Goes out: export/{task}/genes (.parquet,
# .tsv, .xlsx) and columns.tsv, export/scored.h5ad, and README.md and vocabulary.tsv beside every
# fine-tuned classifier. For whoever goes on elsewhere.

SHOWN_REGIME = config["evidence"]["regime"]


rule write_gene_table:
    """Put all that is known of a gene into one row, for a spreadsheet, R or Python."""
    input:
        genes=out("evidence/{task}/genes.parquet"),
        wilcoxon=out("expression/wilcoxon.parquet"),
        gene_sets=[gene_set_table(name) for name in config["evidence"]["gene_sets"]],
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
        study=STUDY,
        regime=SHOWN_REGIME,
        gene_sets={
            name: {k: v for k, v in GENE_SETS[name].items() if k in ("title", "simulated")}
            for name in config["evidence"]["gene_sets"]
        },
        simulated=SIMULATED,
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
            run_file("models", task, SHOWN_REGIME, Run(fold, SEEDS[0]), "predictions.parquet")
            for task in TASKS
            for fold in FOLDS
            if SHOWN_REGIME != "pretrained"
        ],
        gene_tables=expand(out("export/{task}/genes.parquet"), task=TASKS),
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
        tasks=TASKS,
        folds=FOLDS,
        regime=SHOWN_REGIME,
        code=code_digest("write_scored_cells"),
    script:
        "../scripts/write_scored_cells.py"


rule write_model_cards:
    """Say beside every fine-tuned classifier what it is, what it is worth and how to load it."""
    input:
        configs=of_classifiers("config.json"),
        loadings=of_classifiers("loading.json"),
        predictions=of_classifiers("predictions.parquet"),
        metrics=expand(out("models/{task}/metrics.parquet"), task=TASKS),
        splits=out("cells/splits.parquet"),
        vocabulary=out("vocabulary.parquet"),
        template=of_workflow("workflow/scripts/keygenes/report/model_card.md"),
    output:
        cards=of_classifiers("README.md"),
        vocabularies=of_classifiers("vocabulary.tsv"),
    log:
        logfile("write_model_cards"),
    conda:
        "../../envs/export.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        runs=classifier_runs(),
        tasks=TASKS,
        study=STUDY,
        regimes={
            name: {
                "entry": REGIMES[name],
                "patterns": TRAINED.get(name),
                "options": (
                    finetune_options(config["finetune"], REGIMES[name]) if name in TRAINED else {}
                ),
                "finetuned": (
                    MODELS["models"][REGIMES[name]["finetuned"]] if name in BROUGHT else None
                ),
                "encoding": VARIANTS.get(REGIMES[name].get("tokens")),
                "tokens": tokens_of(name),
            }
            for name in [*FINETUNED, *BROUGHT]
        },
        base=RESOLVED["model"] or {},
        pretrained=None if RESOLVED["model"] else os.path.dirname(base_model("weights")),
        dataset={
            k: v for k, v in RESOLVED["dataset"].items() if k in ("title", "licence", "citation")
        },
        max_length=config["tokens"]["max_length"],
        simulated=SIMULATED,
        code=code_digest("write_model_cards"),
    script:
        "../scripts/write_model_cards.py"
