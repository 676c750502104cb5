"""Figures 4, 5, 6 and 9 of one task, and Figure 5 corrected for length."""

import pandas as pd

from keygenes.core.step import step
from keygenes.core.tables import read_runs, read_table
from keygenes.report.figures_cosine import figure4_cosine
from keygenes.report.figures_norms import figure9_norms
from keygenes.report.figures_rank_shift import (
    figure5_rank_shift,
    figure6_rank_shift_layers,
    rank_shift_corrected,
)
from keygenes.report.plates import save_plate
from keygenes.report.rank_changes import change_by_layer, change_by_rank

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
    cosine = read_table(snakemake.input.cosine)
    save_plate(figure4_cosine(cosine, bounds, task=task), cosine, files.cosine, **mark)
    save_plate(figure5_rank_shift(shift, **marks), change_by_rank(shift), files.shift, **mark)
    layers = figure6_rank_shift_layers(shift, **marks)
    save_plate(layers, change_by_layer(shift), files.layers, **mark)
    chosen = [tuple(pair) for pair in snakemake.params.corrected]
    of_pairs = pd.MultiIndex.from_frame(shift[["a", "b"]].astype(str)).isin(chosen)
    shift = shift[of_pairs]
    corrected = rank_shift_corrected(shift, **marks)
    save_plate(corrected, change_by_rank(shift), files.corrected, **mark)
    norms = read_runs(snakemake.params.runs, snakemake.input.norms)
    save_plate(figure9_norms(norms, task=task), norms, files.norms, **mark)
