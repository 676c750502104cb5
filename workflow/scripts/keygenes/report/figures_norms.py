"""The figure of what attention adds to the embeddings: tables in, a matplotlib figure out."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from keygenes.report.panels import add_title, distinct, layer_head, model_text, numbered, spoken
from keygenes.report.style import SEQUENTIAL, SKY, add_note, count, empty_figure, heatmap, styled

NORM_NAMES = {
    "weighted": "Σ ‖αf(x)‖ per head",
    "value": "‖f(x)‖ per head",
    "output": "output norm per layer",
}


@styled
def figure9_norms(norms, *, task=None, subset="test"):
    """Draw the norms of what attention adds: a map per head and a bar per layer, a row per regime.

    Parameters
    ----------
    norms : pandas.DataFrame
        Schema ``norms`` plus regime and (optionally) fold and seed; measures weighted and value per
        layer and head, output per layer with a null head. Models are averaged.
    task : str, optional
    subset : str
        Which subset of cells is drawn.
    """
    rows = norms[norms.subset == subset]
    regimes = distinct(rows.regime)
    maps = [m for m in ("weighted", "value") if (rows.measure == m).any()]
    if not regimes or not maps:
        return empty_figure("no norms")
    layers = int(rows.layer.max())
    heads = int(rows["head"].max())
    width = max(2.0, 0.4 * heads + 0.5)
    height = 0.2 * layers + 0.85
    figure = Figure(
        figsize=(width * len(maps) + 2.8, height * len(regimes) + 0.6), layout="constrained"
    )
    grid = figure.subplots(
        len(regimes), len(maps) + 1, squeeze=False, width_ratios=[width] * len(maps) + [2.0]
    )
    outputs = rows[(rows.measure == "output") & rows.layer.notna()]
    longest = float((outputs["mean"] + outputs["sd"].fillna(0)).max()) if len(outputs) else 1.0
    for line, regime in zip(grid, regimes, strict=True):
        mine = rows[rows.regime == regime]
        for panel, measure in zip(line, maps, strict=False):
            values = layer_head(mine[mine.measure == measure], "mean", layers, heads)
            low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
            scaled = (values - low) / (high - low) if high > low else values - low
            digits = 2 if high < 10 else int(high < 100)
            texts = [[f"{v:,.{digits}f}" for v in row] for row in values]
            heatmap(
                panel,
                scaled,
                rows=numbered(values.shape[0]),
                columns=numbered(values.shape[1]),
                texts=texts,
                size=6 if heads <= 8 else 5,
            )
            panel.set(xlabel="head", ylabel="layer")
            panel.set_title(f"{spoken(regime)}\n{NORM_NAMES[measure]}")
        panel = line[-1]
        output = mine[(mine.measure == "output") & mine.layer.notna()]
        output = output.groupby("layer")[["mean", "sd"]].mean()
        panel.barh(output.index, output["mean"], color=SKY, height=0.7)
        panel.errorbar(
            output["mean"],
            output.index,
            xerr=output["sd"],
            fmt="none",
            ecolor="black",
            elinewidth=0.7,
        )
        panel.set_yticks(range(1, layers + 1))
        panel.set_ylim(layers + 0.5, 0.5)
        panel.set_xlim(0, 1.08 * longest)
        panel.tick_params(axis="y", length=0)
        panel.set(xlabel="norm (embedding units)")
        panel.set_title(f"{spoken(regime)}\n{NORM_NAMES['output']}")
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), SEQUENTIAL),
        ax=list(grid.ravel()),
        shrink=min(1.0, 1.6 / (height * len(regimes)) + 0.15),
        aspect=25,
        pad=0.02,
    )
    bar.set_label("min-max scaled per map")
    bar.outline.set_visible(False)
    add_title(figure, "Norms of the attention output", task)
    n = rows.n_cells.max()
    add_note(
        figure,
        f"Mean over the genes of a cell, over {subset} cells (n = {count(n)} per fold) and"
        f" models ({model_text(rows)}); numbers are the norms themselves, colours scale each"
        " map from its smallest to its largest. Bars: sd between cells."
        " α: attention weight, f(x): value vector through the output projection; Σ: over queries.",
    )
    return figure


def norm_plates(tables, params, task):
    """Return the figure and its numbers, for `core.figures`."""
    return {"figure9_norms": (figure9_norms(tables["norms"], task=task), tables["norms"])}
