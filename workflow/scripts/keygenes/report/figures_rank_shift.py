"""The figures of how attention moves over ranks between two models: tables in, a figure out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keygenes.report.panels import (
    add_title,
    is_finite,
    model_text,
    pairs_of,
    single_models,
    versus,
)
from keygenes.report.rank_changes import (
    layer_maps,
    over_layers,
    rank_change,
    residual_change,
    summed_over_models,
)
from keygenes.report.style import (
    BLUE,
    DIVERGING,
    GREEN,
    ORANGE,
    PALE,
    SKY,
    add_note,
    count,
    empty_figure,
    number,
    styled,
)


def _draw_change(panel, rows, change, min_cells, window):
    """Draw a pair's change along the ranks: each model, all pooled, a running mean of the pool.

    Parameters
    ----------
    rows : DataFrame
        Rows of table 'rank_shift' of one pair, over all layers.
    change : function
        `rank_change` or `residual_change`.

    Returns
    -------
    pooled : DataFrame, indexed by rank
        What was drawn, with columns percent and n_cells.
    values : float array
        The heights of all lines.
    """
    pooled = change(rows, ["rank"])
    pooled = pooled[pooled.n_cells >= min_cells]
    runs = [run for _, run in rows.groupby(["fold", "seed"])]
    values = [pooled.percent.to_numpy()]
    if len(runs) > 1:
        for j, run in enumerate(runs):
            run = change(run[run["rank"].isin(pooled.index)], ["rank"])
            values.append(run.percent.to_numpy())
            label = "single models" if j == 0 else None
            panel.plot(run.index, run.percent, color=SKY, lw=0.5, alpha=0.7, label=label)
    label = f"all cells of {model_text(rows)}"
    panel.plot(pooled.index, pooled.percent, color=BLUE, lw=0.9, label=label)
    if len(pooled) >= 3 * window:
        smooth = pooled.percent.rolling(window, center=True, min_periods=1).mean()
        text = f"running mean over {window} ranks"
        panel.plot(smooth.index, smooth, color=ORANGE, lw=1.3, label=text)
    return pooled, np.concatenate(values)


def _fit_change(panel, values):
    """Scale the axis of changes in percent to 99 % of the values, and to 0."""
    values = values[np.isfinite(values)]
    if len(values):
        low, high = np.percentile(values, [0.5, 99.5])
        low, high = min(low, 0.0), max(high, 0.0)
        room = 0.12 * (high - low) if high - low > 0.1 else 0.5  # equal models: a flat line
        panel.set_ylim(low - room, high + room)
    panel.axhline(0, color="black", lw=0.6)
    panel.grid(axis="y")
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _draw_reached(strip, reached):
    """Draw how many cells reach each rank."""
    strip.fill_between(reached.index, reached, step="mid", color=PALE, lw=0)
    strip.set(ylim=(0, None), ylabel="n cells", xlabel="rank in the cell's encoding (1: first)")
    strip.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))


def _mark_ranks(axes, marks, limit, *, label):
    """Draw vertical lines at the (rank, text, colour) in `marks`; name them above the panel.

    `limit` is the right end of the axis; a rank beyond it is only named, with an arrow. The
    names stand one above the other, so that close ranks do not write over each other.
    """
    for i, (rank, text, colour) in enumerate(marks):
        if rank > limit:
            rank, text = limit, f"{text} →"
        else:
            axes.axvline(rank, color=colour, lw=1.0, ls=(0, (4, 2)))
        if label:
            axes.annotate(
                text,
                (rank, 1.0),
                (0, 2 + 9 * i),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if rank < 0.6 * limit else "right",
                va="bottom",
                fontsize=7,
                color=colour,
                annotation_clip=False,
            )


def _rank_marks(median_length, marker, marker_rank):
    marks = []
    if is_finite(median_length):
        marks.append((median_length, f"median cell length {count(median_length)}", "black"))
    if is_finite(marker_rank):
        marks.append((marker_rank, f"mean rank of {marker}: {marker_rank:,.0f}", GREEN))
    return marks


@styled
def figure5_rank_shift(
    rank_shift,
    *,
    median_length=None,
    marker=None,
    marker_rank=None,
    task=None,
    min_cells=10,
    window=11,
):
    """Draw how attention moved along the ranks, all heads and layers together, a row per pair.

    Parameters
    ----------
    rank_shift : pandas.DataFrame
        Schema ``rank_shift``; the rows with a null layer (all layers) are drawn, and where there
        are none the sum over layers.
    median_length : float, optional
        Median number of tokens of a cell, marked.
    marker : str, optional
    marker_rank : float, optional
        The marker gene and its mean rank in the cells that have it, marked.
    task : str, optional
    min_cells : int
        Ranks that fewer cells (of all folds) reach are not drawn.
    window : int
        Ranks in the running mean; drawn where there are at least three times as many ranks.
    """
    total = single_models(over_layers(rank_shift))
    pairs = pairs_of(total)
    if not pairs:
        return empty_figure("no pair of models to compare")
    figure = Figure(figsize=(6.8, 1.75 * len(pairs) + 1.9), layout="constrained")
    axes = figure.subplots(len(pairs) + 1, 1, sharex=True, height_ratios=[1.0] * len(pairs) + [0.3])
    marks = _rank_marks(median_length, marker, marker_rank)
    reached = pd.Series(dtype=float)
    limit = 1
    for i, (panel, (a, b)) in enumerate(zip(axes, pairs, strict=False)):
        rows = total[(total.a == a) & (total.b == b)]
        pooled, values = _draw_change(panel, rows, rank_change, min_cells, window)
        n = summed_over_models(rows, ["rank"]).n_cells
        reached = n if len(n) > len(reached) else reached
        limit = max(limit, int(pooled.index.max()) if len(pooled) else 1)
        _fit_change(panel, values)
        panel.set_ylabel("change (%)")
        panel.set_title(versus(a, b), pad=4 + 9 * len(marks) if i == 0 else 4, fontweight="bold")
    for i, panel in enumerate(axes):
        panel.set_xlim(0, 1.02 * limit)
        _mark_ranks(panel, marks, 1.02 * limit, label=i == 0)
    _draw_reached(axes[-1], reached[reached.index <= limit])
    handles = axes[0].get_legend_handles_labels()
    figure.align_ylabels(axes)
    add_title(figure, "Attention received per rank, all layers and heads", task)
    add_note(
        figure,
        "Change of the attention that a rank receives (sum over test cells, layers, heads and"
        " query positions) in the first model against the second, in %. Ranks reached by fewer"
        f" than {min_cells} cells are not drawn; the axis shows 99 % of the values.",
        legend=handles,
    )
    return figure


@styled
def rank_shift_corrected(
    rank_shift,
    *,
    median_length=None,
    marker=None,
    marker_rank=None,
    task=None,
    min_cells=10,
    window=11,
):
    """Draw the change of Figure 5 before and after correction for length, a row per pair.

    Parameters are those of `figure5_rank_shift`; the rows with a null layer are drawn, on one
    scale per pair. The marks are those of the study's encoding and stand in the first row.
    """
    total = single_models(rank_shift[rank_shift.layer.isna()])
    pairs = pairs_of(total)
    if not pairs:
        return empty_figure("no pair of models to compare")
    figure = Figure(figsize=(6.8, 1.9 * len(pairs) + 1.9), layout="constrained")
    axes = figure.subplots(
        len(pairs) + 1,
        2,
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[1.0] * len(pairs) + [0.3],
    )
    marks = _rank_marks(median_length, marker, marker_rank)
    reached, limit, n_cells = pd.Series(dtype=float), 1, []
    for i, (a, b) in enumerate(pairs):
        rows = total[(total.a == a) & (total.b == b)]
        heights = []
        for panel, change, when in zip(
            axes[i], (rank_change, residual_change), ("before", "after"), strict=True
        ):
            pooled, values = _draw_change(panel, rows, change, min_cells, window)
            heights.append(values)
            limit = max(limit, int(pooled.index.max()) if len(pooled) else 1)
            pad = 4 + 9 * len(marks) if i == 0 else 4
            panel.set_title(f"{versus(a, b)}\n{when} correction", pad=pad, fontweight="bold")
        _fit_change(axes[i, 0], np.concatenate(heights))
        axes[i, 1].axhline(0, color="black", lw=0.6)
        axes[i, 1].grid(axis="y")
        if not np.isfinite(heights[1]).any():
            text = "no vehicle cell in training:\nnothing to correct with"
            axes[i, 1].text(0.5, 0.5, text, ha="center", transform=axes[i, 1].transAxes)
        axes[i, 0].set_ylabel("change (%)")
        n = summed_over_models(rows, ["rank"]).n_cells
        reached = n if len(n) > len(reached) else reached
        n_cells.append(f"n = {count(n.max())} cells for {versus(a, b)}")
    for panel in axes[0]:
        _mark_ranks(panel, marks, 1.02 * limit, label=True)
    for panel in axes[-1]:
        _draw_reached(panel, reached[reached.index <= limit])
        panel.set_xlim(0, 1.02 * limit)
    axes[-1, 1].set_ylabel(None)
    figure.align_ylabels(axes[:, 0])
    add_title(figure, "Attention per rank, before and after correction for length", task)
    add_note(
        figure,
        "Left: as Figure 5. Right: the change of what attention is above the expectation from rank"
        " and cell length, which each model has from its own vehicle training cells (geometric"
        f" means over layers, heads and cells). {'; '.join(n_cells)}. Ranks reached by fewer than"
        f" {min_cells} cells are not drawn.",
        legend=axes[0, 0].get_legend_handles_labels(),
    )
    return figure


@styled
def figure6_rank_shift_layers(
    rank_shift,
    *,
    median_length=None,
    marker=None,
    marker_rank=None,
    task=None,
    min_cells=10,
):
    """Draw the change of Figure 5 layer by layer, as a map of layer x bin of ranks per pair.

    Parameters are those of `figure5_rank_shift`; the rows with a layer are drawn.
    """
    maps, width = layer_maps(rank_shift, min_cells)
    if not maps:
        return empty_figure("no pair of models to compare")
    layers = len(next(iter(maps.values())))
    limit = max(int(max(table.columns, default=0)) + 1 for table in maps.values())
    marks = _rank_marks(median_length, marker, marker_rank)
    finite = np.concatenate([np.abs(table.to_numpy()).ravel() for table in maps.values()])
    finite = finite[np.isfinite(finite)]
    top = max(float(np.percentile(finite, 98)) if len(finite) else 1.0, 1e-3)
    figure = Figure(figsize=(6.8, (0.17 * layers + 0.75) * len(maps) + 0.9), layout="constrained")
    axes = figure.subplots(len(maps), 1, sharex=True, squeeze=False).ravel()
    for i, (panel, ((a, b), table)) in enumerate(zip(axes, maps.items(), strict=True)):
        values = table.reindex(columns=range(limit)).to_numpy(dtype=float)
        panel.set_facecolor(PALE)
        mesh = panel.imshow(
            np.ma.masked_invalid(values),
            cmap=DIVERGING,
            vmin=-top,
            vmax=top,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, limit * width + 0.5, layers + 0.5, 0.5),
        )
        _mark_ranks(panel, marks, limit * width, label=i == 0)
        panel.set_yticks(range(1, layers + 1, 1 if layers <= 12 else 3))
        panel.tick_params(axis="y", length=0)
        panel.set_ylabel("layer")
        panel.set_title(versus(a, b), pad=4 + 9 * len(marks) if i == 0 else 4, fontweight="bold")
    axes[-1].set_xlabel("rank in the cell's encoding (1: first)")
    bar = figure.colorbar(
        mesh, ax=list(axes), extend="both", extendfrac=0.03, aspect=25 * len(axes) ** 0.5, pad=0.02
    )
    bar.set_label("change (%)")
    bar.outline.set_visible(False)
    add_title(figure, "Attention received per rank, layer by layer", task)
    bins = f"bins of {width} ranks" if width > 1 else "each rank"
    add_note(
        figure,
        f"As Figure 5, per layer and {bins}, all models pooled; grey: fewer than {min_cells} cells"
        f" reach these ranks. The scale ends at the 98th percentile, ±{number(top, 2)} %.",
    )
    return figure
