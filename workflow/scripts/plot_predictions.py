"""Figure 3 and the metrics of one task."""

from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.report.figures_models import figure3_confusion, forest
from keygenes.report.style import save_figure

with step(snakemake):
    task, files = snakemake.wildcards.task, snakemake.output
    metrics = read_table(snakemake.input.metrics)
    classes = list(read_table(snakemake.input.labels, columns=[task])[task].cat.categories)
    confusion = figure3_confusion(
        read_table(snakemake.input.confusion), metrics, task=task, classes=classes
    )
    mark = {"simulated": snakemake.params.simulated}
    save_figure(confusion, files.confusion_svg, files.confusion_png, **mark)
    beside = forest(
        metrics,
        task=task,
        kinds=snakemake.params.kinds,
        twins=snakemake.params.twins,
        main=snakemake.params.main,
    )
    save_figure(beside, files.forest_svg, files.forest_png, **mark)
