"""Figures 4, 5, 6 and 9 of one task, and Figure 5 corrected for length."""

import pandas as pd

from keygenes.core.step import step
from keygenes.core.tables import read_runs, read_table
from keygenes.report.figures_attention import (
    figure4_cosine,
    figure5_rank_shift,
    figure6_rank_shift_layers,
    rank_shift_corrected,
)
from keygenes.report.figures_norms import figure9_norms
from keygenes.report.style import save_figure

with step(snakemake):
    task, files = snakemake.wildcards.task, snakemake.output
    mark = {"simulated": snakemake.params.simulated}
    shift = read_table(snakemake.input.rank_shift)
    lengths = read_table(snakemake.input.tokens, columns=["length"])["length"]
    genes = read_table(snakemake.input.key_genes, columns=["symbol", "rank_mean"])
    marker = genes.loc[genes["symbol"] == snakemake.params.marker, "rank_mean"]
    marks = {
        "median_length": float(lengths[lengths > 0].median()),
        "marker": snakemake.params.marker if len(marker) else None,
        "marker_rank": float(marker.iloc[0]) if len(marker) else None,
        "task": task,
    }
    bounds = read_table(snakemake.input.comparison_bounds)
    cosine = figure4_cosine(read_table(snakemake.input.cosine), bounds, task=task)
    save_figure(cosine, files.cosine_svg, files.cosine_png, **mark)
    save_figure(figure5_rank_shift(shift, **marks), files.shift_svg, files.shift_png, **mark)
    layers = figure6_rank_shift_layers(shift, **marks)
    save_figure(layers, files.layers_svg, files.layers_png, **mark)
    chosen = [tuple(pair) for pair in snakemake.params.corrected]
    of_pairs = pd.MultiIndex.from_frame(shift[["a", "b"]].astype(str)).isin(chosen)
    corrected = rank_shift_corrected(shift[of_pairs], **marks)
    save_figure(corrected, files.corrected_svg, files.corrected_png, **mark)
    norms = read_runs(snakemake.params.runs, snakemake.input.norms)
    save_figure(figure9_norms(norms, task=task), files.norms_svg, files.norms_png, **mark)
