"""The figures of cells and expression: tables in, a matplotlib figure out."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from keygenes.report.style import (
    DOWN,
    GREY,
    PALE,
    UP,
    add_note,
    class_colours,
    class_order,
    count,
    empty_figure,
    panel_grid,
    styled,
)


@styled
def figure1_umap(umap, labels, *, units=None):
    """Draw the UMAP once per task, coloured by class.

    Parameters
    ----------
    umap : pandas.DataFrame
        Schema ``umap``.
    labels : pandas.DataFrame
        Column cell, and one column of classes per task; null: the cell is not in the task.
    units : dict, optional
        {task: unit}, e.g. ``{"dose": "µM"}``, shown over the legend.
    """
    tasks = [column for column in labels.columns if column != "cell"]
    cells = umap.merge(labels, on="cell", how="left")
    if cells.empty or not tasks:
        return empty_figure("no cells to draw")
    # One fixed shuffle, so that no class lies on top of all others.
    cells = cells.iloc[np.random.default_rng(0).permutation(len(cells))]
    size = float(np.clip(4000 / len(cells), 0.8, 14))
    longest = {t: max(map(len, map(str, class_order(cells[t]))), default=0) for t in tasks}
    # two legend columns fit under a panel while "class (n = 1,234)" stays short
    columns = {t: 1 if max(longest[t], cells[t].isna().any() * 11) > 6 else 2 for t in tasks}
    lines = max(-(-(cells[t].nunique() + cells[t].isna().any()) // columns[t]) for t in tasks)
    figure, axes = panel_grid(len(tasks), columns=3, width=2.6, height=3.1 + 0.165 * lines)
    for panel, task in zip(axes, tasks, strict=True):
        values = cells[task]
        classes = class_order(values)
        colours = class_colours(classes)
        outside = cells[values.isna()]
        if len(outside):
            panel.scatter(outside.umap1, outside.umap2, s=size, c=PALE, lw=0, rasterized=True)
        point_colours = [colours[c] for c in values.dropna()]
        inside = cells[values.notna()]
        panel.scatter(
            inside.umap1, inside.umap2, s=size, c=point_colours, lw=0, alpha=0.8, rasterized=True
        )
        for name in classes:
            text = f"{name} (n = {int((values == name).sum()):,})"
            panel.plot([], [], "o", ms=4, mew=0, color=colours[name], label=text)
        if len(outside):
            text = f"not in task (n = {len(outside):,})"
            panel.plot([], [], "o", ms=4, mew=0, color=PALE, label=text)
        unit = (units or {}).get(task)
        panel.legend(
            title=f"{task} ({unit})" if unit else task,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.09),
            ncols=columns[task],
            columnspacing=1.0,
            handletextpad=0.2,
            alignment="center",
        )
        panel.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2", box_aspect=1, anchor="N")
        panel.set_title(task, fontweight="bold")
    add_note(figure, f"n = {len(cells):,} cells; UMAP axes have no unit.")
    return figure


@styled
def dose_screen(screen, *, fdr, min_abs_log2fc, unit="µM", vehicle_dose=0.0):
    """Draw how many genes respond to each dose, the doses left out of the study included.

    Parameters
    ----------
    screen : pandas.DataFrame
        Schema ``dose_screen``; a row of the vehicle itself is not drawn.
    fdr, min_abs_log2fc : float
        The thresholds behind n_up and n_down.
    unit : str
        Of dose_um, as shown.
    vehicle_dose : float
    """
    rows = screen[screen.dose_um != vehicle_dose].sort_values("dose_um")
    if rows.empty:
        return empty_figure("no dose to compare with the vehicle")
    figure = Figure(figsize=(max(3.4, 0.72 * len(rows) + 1.4), 3.3), layout="constrained")
    axes = figure.subplots()
    highest = float(max(rows.n_up.max(), rows.n_down.max(), 1))
    for x, row in enumerate(rows.itertuples()):
        look = {} if row.selected else {"alpha": 0.35, "hatch": "////", "edgecolor": "white"}
        axes.bar(x, row.n_up, color=UP, width=0.7, **look)
        axes.bar(x, -row.n_down, color=DOWN, width=0.7, **look)
        for value, side in ((row.n_up, 1), (row.n_down, -1)):
            axes.annotate(
                count(value),
                (x, side * value),
                (0, 3 * side),
                textcoords="offset points",
                ha="center",
                va="bottom" if side > 0 else "top",
                fontsize=7,
            )
    axes.axhline(0, color="black", lw=0.6)
    names = [
        f"{row.dose_um:g}\nn = {row.n_cells:,}" + ("" if row.selected else "\nleft out")
        for row in rows.itertuples()
    ]
    axes.set_xticks(range(len(rows)), names)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(-1.2 * highest, 1.2 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
    axes.set(xlabel=f"dose ({unit}), n cells", ylabel="differentially expressed genes")
    axes.bar(0, 0, color=UP, label="up")
    axes.bar(0, 0, color=DOWN, label="down")
    if not rows.selected.all():
        axes.bar(
            0, 0, color=GREY, alpha=0.5, hatch="////", edgecolor="white", label="left out of study"
        )
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    vehicle, tested = rows.n_vehicle.max(), rows.n_tested.max()
    add_note(
        figure,
        f"Each dose against the vehicle (n = {count(vehicle)} cells), {count(tested)} genes"
        f" tested: Wilcoxon rank-sum, Benjamini-Hochberg FDR < {fdr:g}, |log2 fold change| ≥"
        f" {min_abs_log2fc:g}. The count grows with n cells as well as with the effect.",
    )
    return figure


def umap_plates(tables, params, task):
    """Return Figure 1 and its numbers, for `core.figures`."""
    umap, labels = tables["umap"], tables["labels"]
    figure = figure1_umap(umap, labels, units=params["units"])
    return {"figure1_umap": (figure, umap.merge(labels, on="cell", how="left"))}


def dose_screen_plates(tables, params, task):
    """Return the figure of doses and its numbers, for `core.figures`."""
    table = tables["dose_screen"]
    figure = dose_screen(table, fdr=params["fdr"], min_abs_log2fc=params["min_abs_log2fc"])
    return {"dose_screen": (figure, table)}
