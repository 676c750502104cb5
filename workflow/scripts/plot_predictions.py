"""Figure 3 and the metrics of one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_models import figure3_confusion, forest
from keygenes.report.plates import save_plate

with step(snakemake):
    task, files = snakemake.wildcards.task, snakemake.output
    metrics = read_table(snakemake.input.metrics)
    classes = list(read_table(snakemake.input.labels, columns=[task])[task].cat.categories)
    cells = read_table(snakemake.input.confusion)
    confusion = figure3_confusion(cells, metrics, task=task, classes=classes)
    mark = {"simulated": snakemake.params.simulated}
    save_plate(confusion, cells, files.confusion, **mark)
    beside = forest(
        metrics,
        task=task,
        kinds=snakemake.params.kinds,
        twins=snakemake.params.twins,
        main=snakemake.params.main,
    )
    save_plate(beside, metrics, files.forest, **mark)
