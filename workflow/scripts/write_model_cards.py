"""Write a model card and the vocabulary into the folder of every classifier."""

from keygenes.core.step import step
from keygenes.report.model_card import write_model_cards

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    paths = zip(
        *(files.configs, files.loadings, files.predictions),
        *(snakemake.output.cards, snakemake.output.vocabularies),
        strict=True,
    )
    keys = ("config", "loading", "predictions", "card", "vocabulary")
    models = [
        {"task": task, "regime": regime, "run": run, **dict(zip(keys, of_model, strict=True))}
        for (task, regime, run), of_model in zip(params.runs, paths, strict=True)
    ]
    write_model_cards(
        models=models,
        metrics=dict(zip(params.tasks, files.metrics, strict=True)),
        splits=files.splits,
        vocabulary=files.vocabulary,
        study=params.study,
        regimes=params.regimes,
        base=params.base,
        pretrained=params.pretrained,
        dataset=params.dataset,
        max_length=params.max_length,
        simulated=params.simulated,
    )
