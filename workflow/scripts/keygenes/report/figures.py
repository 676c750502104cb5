"""The figures of the study, one function each: tables in, a matplotlib figure out.

Numbers follow the thesis's figures. A function draws what its tables hold: one regime or
seven, one seed or many (a null seed is the pool of all seeds), two classes or twelve.
Layers, heads and ranks are counted from 1.
"""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from keygenes.report.style import (
    BLUE,
    DIVERGING,
    DOWN,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    SEQUENTIAL,
    SKY,
    UP,
    VERMILLION,
    add_note,
    class_colours,
    class_order,
    count,
    empty_figure,
    heatmap,
    number,
    panel_grid,
    styled,
)

BASELINES = ("linear_probe", "logistic_genes", "majority")  # regimes that train no encoder
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
NORM_NAMES = {
    "weighted": "Σ ‖αf(x)‖ per head",
    "value": "‖f(x)‖ per head",
    "output": "output norm per layer",
}


def _titled(figure, text, task=None):
    figure.suptitle(f"{text}, task {task}" if task else text, x=0.005, ha="left")


def _plural(n, noun):
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _present(values):
    """Return the distinct values of a column in the order in which they come, without nulls."""
    return list(pd.unique(values.dropna().astype(object)))


def _seed_text(n):
    return "pooled" if n == 0 else _plural(n, "seed")


# ------------------------------------------------------------------ cells and expression


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
    figure, axes = panel_grid(len(tasks), columns=3, width=2.6, height=2.75 + 0.15 * lines)
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
        panel.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2", box_aspect=1)
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


# ------------------------------------------------------------------ models


@styled
def training_curves(history, *, task=None):
    """Draw loss and validation accuracy over the epochs, one column of panels per regime.

    Parameters
    ----------
    history : pandas.DataFrame
        Schema ``history`` plus regime and seed.
    task : str, optional
    """
    regimes = _present(history.regime)
    if not regimes:
        return empty_figure("no training history")
    columns = min(4, len(regimes))
    blocks = -(-len(regimes) // columns)
    figure = Figure(figsize=(1.9 * columns + 0.7, 3.4 * blocks + 0.4), layout="constrained")
    grid = figure.subplots(2 * blocks, columns, squeeze=False)
    losses = history[["train_loss", "valid_loss"]].to_numpy(dtype=float)
    top = float(np.nanmax(losses)) if np.isfinite(losses).any() else 1.0
    for extra in range(len(regimes), blocks * columns):
        for part in (0, 1):
            grid[2 * (extra // columns) + part, extra % columns].remove()
    for i, regime in enumerate(regimes):
        upper = grid[2 * (i // columns), i % columns]
        lower = grid[2 * (i // columns) + 1, i % columns]
        runs = history[history.regime == regime]
        for j, (_, run) in enumerate(runs.groupby("seed", dropna=False, observed=True)):
            run = run.sort_values("epoch")
            name = {True: "train", False: "validation"} if j == 0 else {True: None, False: None}
            style = {"marker": "o", "ms": 2.5}
            upper.plot(run.epoch, run.train_loss, color=SKY, label=name[True], **style)
            upper.plot(run.epoch, run.valid_loss, color=BLUE, label=name[False], **style)
            lower.plot(run.epoch, run.valid_accuracy, color=BLUE, **style)
            best = run[run.best.astype(bool)]
            for panel, column in ((upper, "valid_loss"), (lower, "valid_accuracy")):
                panel.plot(
                    best.epoch,
                    best[column],
                    "o",
                    mfc="none",
                    mec=VERMILLION,
                    ms=7,
                    label="kept epoch" if j == 0 and panel is upper else None,
                )
        upper.set_title(f"{regime}\n{_plural(runs.seed.nunique(), 'seed')}")
        upper.set_ylim(0, 1.06 * top)
        lower.set_ylim(0, 1.02)
        lower.set_xlabel("epoch")
        for panel in (upper, lower):
            panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            panel.set_xlim(history.epoch.min() - 0.4, history.epoch.max() + 0.4)
            panel.grid(axis="y")
            if i % columns:
                panel.set_yticklabels([])
        if i % columns == 0:
            upper.set_ylabel("cross-entropy (nats)")
            lower.set_ylabel("accuracy, validation")
        if i == 0:
            handles = upper.get_legend_handles_labels()
    _titled(figure, "Fine-tuning", task)
    add_note(
        figure,
        "One line per seed. The epoch with the lowest validation loss is kept. Training loss is"
        " the mean over the epoch's steps, with dropout; validation loss is without.",
        legend=handles,
    )
    return figure


def _pooled_confusion(table):
    """Return the pool of all seeds: the rows with a null seed, else the sum over seeds."""
    pooled = table[table.seed.isna()]
    if pooled.empty:
        pooled = table
    return pooled.groupby(["true", "predicted"], observed=True).n_cells.sum()


def _pooled_metric(metrics, regime, metric, split):
    """Return the row of a metric for the pool of all seeds, or None."""
    if metrics is None or metrics.empty:
        return None
    found = metrics[
        (metrics.regime == regime) & (metrics.metric == metric) & (metrics.split == split)
    ]
    pooled = found[found.seed.isna()]
    pooled = pooled if len(pooled) else found
    return next(pooled.itertuples(), None) if len(pooled) == 1 else None


def _interval(row):
    if row is None or not np.isfinite(row.value):
        return ""
    if not np.isfinite(row.ci_low):
        return f"{row.value:.2f}"
    return f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"


@styled
def figure3_confusion(
    confusion, metrics=None, *, task=None, classes=None, metric="accuracy", split="test"
):
    """Draw one confusion matrix per regime over the test cells of all seeds.

    Parameters
    ----------
    confusion : pandas.DataFrame
        Schema ``confusion``; rows with a null seed are the pool, without them seeds are summed.
    metrics : pandas.DataFrame, optional
        Schema ``metrics``; gives the value and interval in each title.
    task : str, optional
    classes : list of str, optional
        Their order; else numbers by value, names as they come.
    metric, split : str
        The row of `metrics` for the title.
    """
    confusion = confusion[confusion.regime != "majority"]  # one column full of cells
    regimes = _present(confusion.regime)
    if not regimes:
        return empty_figure("no predictions")
    classes = classes or class_order(
        pd.concat([confusion.true, confusion.predicted], ignore_index=True).astype(object)
    )
    classes = [str(c) for c in classes]
    k = len(classes)
    side = max(2.65, 0.42 * k + 0.75)
    figure, axes = panel_grid(len(regimes), columns=3, width=side, height=side + 0.5, margin=0.75)
    unit_text = ""
    for panel, regime in zip(axes, regimes, strict=True):
        pooled = _pooled_confusion(confusion[confusion.regime == regime]).unstack(fill_value=0)
        pooled.index, pooled.columns = pooled.index.astype(str), pooled.columns.astype(str)
        counts = pooled.reindex(index=classes, columns=classes, fill_value=0).to_numpy(dtype=float)
        totals = counts.sum(axis=1, keepdims=True)
        share = np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
        texts = [
            [f"{counts[i, j]:,.0f}\n{100 * share[i, j]:.0f} %" for j in range(k)] for i in range(k)
        ]
        mesh = heatmap(
            panel,
            share,
            rows=classes,
            columns=classes,
            texts=texts,
            size=6 if k > 2 else 8,
        )
        panel.set_box_aspect(1)
        if max(len(c) for c in classes) * k > 30:
            panel.tick_params(axis="x", rotation=40)
        row = _pooled_metric(metrics, regime, metric, split)
        value = _interval(row)
        if row is not None and pd.notna(row.n_units) and pd.notna(row.unit):
            # a "cell" bootstrap resamples cells: nothing to add to n
            unit_text = f" 95 % interval: bootstrap over {_plural(int(row.n_units), row.unit)}."
        heading = f"{METRIC_NAMES.get(metric, metric)} {value}\n" if value else ""
        panel.set_title(f"{regime}\n{heading}n = {counts.sum():,.0f} cells")
        panel.set(xlabel="predicted", ylabel="true")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=25, pad=0.03)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    _titled(figure, "Confusion on test cells", task)
    seeds = confusion.seed.nunique()
    pooled_text = f"Test cells of {_seed_text(seeds)} pooled." if seeds else "Test cells pooled."
    guess = _interval(_pooled_metric(metrics, "majority", metric, split))
    guess = f" Always the largest class: {guess}." if guess else ""
    add_note(figure, f"{pooled_text} Cells: count and % of the row.{unit_text}{guess}")
    return figure


@styled
def accuracy(metrics, *, task=None, split="test"):
    """Draw every metric with its interval, per regime, baselines included.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Schema ``metrics``; null seed: the pool of all seeds, drawn as a dot with its interval;
        single seeds are open circles.
    task : str, optional
    split : str
        Which split is drawn.
    """
    table = metrics[metrics.split == split]
    regimes = _present(table.regime)
    found = _present(table.metric)
    names = [m for m in METRIC_NAMES if m in found] + [m for m in found if m not in METRIC_NAMES]
    if not regimes or not names:
        return empty_figure(f"no metrics of split {split}")
    regimes = [r for r in regimes if r not in BASELINES] + [r for r in BASELINES if r in regimes]
    height = 0.27 * len(regimes) + 1.1
    figure, axes = panel_grid(len(names), columns=3, width=2.45, height=height)
    for i, (panel, metric) in enumerate(zip(axes, names, strict=True)):
        rows = table[table.metric == metric]
        floor = _pooled_metric(metrics, "majority", metric, split)
        if floor is not None:
            panel.axvline(floor.value, color=GREY, ls="--", lw=0.8, zorder=0)
        for y, regime in enumerate(regimes):
            colour = GREY if regime in BASELINES else BLUE
            seeds = rows[(rows.regime == regime) & rows.seed.notna()]
            panel.plot(
                seeds.value, [y + 0.26] * len(seeds), "o", ms=3, mfc="none", mec=colour, mew=0.6
            )
            row = _pooled_metric(metrics, regime, metric, split)
            if row is None or not np.isfinite(row.value):
                continue
            if np.isfinite(row.ci_low):
                panel.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.4)
            panel.plot(row.value, y, "o", ms=4.5, color=colour)
            panel.text(1.04, y, f"{row.value:.2f}", va="center", fontsize=7, color=colour)
        panel.set_yticks(range(len(regimes)), regimes if i % 3 == 0 else [""] * len(regimes))
        panel.set_ylim(len(regimes) - 0.5, -0.5)
        panel.set_xlim(0, 1.0)
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        panel.set_xlabel(METRIC_NAMES.get(metric, metric))
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")
    _titled(figure, f"Performance on {split} cells", task)
    cells = table.n_cells.max()
    units = table[table.unit.notna() & table.n_units.notna()]
    units = (
        "; 95 % bootstrap interval over "
        + _plural(int(units.n_units.max()), str(units.unit.iloc[0]))
        if len(units)
        else ""
    )
    seeds = (
        f" Open circles: {_plural(table.seed.nunique(), 'seed')}." if table.seed.nunique() else ""
    )
    line = " Dashed: always the largest class." if "majority" in regimes else ""
    add_note(figure, f"Dots: all test cells pooled, n = {count(cells)}{units}.{seeds}{line}")
    return figure


# ------------------------------------------------------------------ attention


def _layer_head(frame, column, layers, heads):
    """Return the mean of `column` over seeds, float [layers, heads], NaN where there is none."""
    values = np.full((layers, heads), np.nan)
    means = frame.dropna(subset=["layer", "head"]).groupby(["layer", "head"])[column].mean()
    for (layer, head), mean in means.items():
        values[int(layer) - 1, int(head) - 1] = mean
    return values


def _counted(n):
    return [str(i + 1) for i in range(n)]


def _pairs(frame):
    return list(frame[["a", "b"]].astype(str).drop_duplicates().itertuples(index=False, name=None))


def _cosine_texts(values, digits):
    """Print cosines so that only an exact 1 reads as 1."""

    def show(value):
        text = f"{value:.{digits}f}"
        return f">{1 - 10**-digits:.{digits}f}" if text[0] == "1" and value < 1 - 1e-6 else text

    return [[show(value) for value in row] for row in values]


@styled
def figure4_cosine(cosine, *, task=None):
    """Draw the cosine similarity of two models' attention per layer and head, a panel per pair.

    Parameters
    ----------
    cosine : pandas.DataFrame
        Schema ``cosine``. Seeds are averaged.
    task : str, optional
    """
    pairs = _pairs(cosine)
    if not pairs:
        return empty_figure("no pair of models to compare")
    layers, heads = int(cosine.layer.max()), int(cosine["head"].max())
    width = max(2.3, 0.4 * heads + 0.6)
    figure, axes = panel_grid(
        len(pairs),
        columns=3 if width < 3 else 1,
        width=width,
        height=0.24 * layers + 1.15,
    )
    lowest = float(np.floor(10 * cosine.cosine.min()) / 10)
    lowest = min(lowest, 0.9) if np.isfinite(lowest) else 0.0
    for panel, (a, b) in zip(axes, pairs, strict=True):
        rows = cosine[(cosine.a == a) & (cosine.b == b)]
        values = _layer_head(rows, "cosine", layers, heads)
        digits = 3 if np.nanmin(values, initial=1.0) >= 0.95 else 2
        mesh = heatmap(
            panel,
            values,
            rows=_counted(layers),
            columns=_counted(heads),
            texts=_cosine_texts(values, digits),
            vmin=lowest,
            size=7 if heads <= 8 else 5.5,
        )
        spread = number(rows["sd"].median(), 2)
        n = rows.groupby("seed", dropna=False).n_cells.max().sum()
        seeds = _seed_text(rows.seed.nunique())
        panel.set_title(f"{a} vs {b}\nn = {count(n)} cells, {seeds}, sd {spread}")
        panel.set(xlabel="head", ylabel="layer")
    bar = figure.colorbar(mesh, ax=axes, aspect=25, pad=0.02, shrink=0.8)
    bar.set_label("cosine similarity")
    bar.outline.set_visible(False)
    _titled(figure, "Attention compared head by head", task)
    add_note(
        figure,
        "Cosine of the two models' full attention matrices, cell by cell, averaged over test cells"
        " and then over seeds; 1: equal. sd: between the cells of a seed, median over heads.",
    )
    return figure


def _rank_change(rows, by):
    """Return sums over seeds and the change in percent per group of `by`.

    Sums are added before the division, so that every cell weighs the same.
    """
    pooled = rows.groupby(by, observed=True)[["sum_a", "sum_b", "n_cells"]].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled["percent"] = 100.0 * (pooled.sum_a / pooled.sum_b - 1.0)
    return pooled.replace([np.inf, -np.inf], np.nan)


def _without_pool(rows):
    """Return the rows of single seeds where there are any, else the pooled ones."""
    return rows[rows.seed.notna()] if rows.seed.notna().any() else rows


def _finite(value):
    return value is not None and bool(np.isfinite(value))


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
    if _finite(median_length):
        marks.append((median_length, f"median cell length {count(median_length)}", "black"))
    if _finite(marker_rank):
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
        Ranks that fewer cells (of all seeds) reach are not drawn.
    window : int
        Ranks in the running mean; drawn where there are at least three times as many ranks.
    """
    total = rank_shift[rank_shift.layer.isna()]
    if total.empty:
        by = ["a", "b", "seed", "rank"]
        total = rank_shift.groupby(by, observed=True, dropna=False, as_index=False).agg(
            sum_a=("sum_a", "sum"), sum_b=("sum_b", "sum"), n_cells=("n_cells", "max")
        )
    total = _without_pool(total)
    pairs = _pairs(total)
    if not pairs:
        return empty_figure("no pair of models to compare")
    figure = Figure(figsize=(6.8, 1.75 * len(pairs) + 1.9), layout="constrained")
    axes = figure.subplots(len(pairs) + 1, 1, sharex=True, height_ratios=[1.0] * len(pairs) + [0.3])
    marks = _rank_marks(median_length, marker, marker_rank)
    reached = pd.Series(dtype=float)
    limit = 1
    for i, (panel, (a, b)) in enumerate(zip(axes, pairs, strict=False)):
        rows = total[(total.a == a) & (total.b == b)]
        pooled = _rank_change(rows, "rank")
        reached = pooled.n_cells if len(pooled) > len(reached) else reached
        pooled = pooled[pooled.n_cells >= min_cells]
        limit = max(limit, int(pooled.index.max()) if len(pooled) else 1)
        seeds = rows.seed.nunique()
        values = [pooled.percent.to_numpy()]
        if seeds > 1:
            for j, (_, run) in enumerate(rows.groupby("seed")):
                run = _rank_change(run[run["rank"].isin(pooled.index)], "rank")
                values.append(run.percent.to_numpy())
                panel.plot(
                    run.index,
                    run.percent,
                    color=SKY,
                    lw=0.5,
                    alpha=0.7,
                    label="single seeds" if j == 0 else None,
                )
        label = f"all cells of {_seed_text(seeds)}"
        panel.plot(pooled.index, pooled.percent, color=BLUE, lw=0.9, label=label)
        if len(pooled) >= 3 * window:
            smooth = pooled.percent.rolling(window, center=True, min_periods=1).mean()
            text = f"running mean over {window} ranks"
            panel.plot(smooth.index, smooth, color=ORANGE, lw=1.3, label=text)
        values = np.concatenate(values)
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.percentile(values, [0.5, 99.5])
            low, high = min(low, 0.0), max(high, 0.0)
            room = 0.12 * (high - low) if high - low > 0.1 else 0.5  # equal models: a flat line
            panel.set_ylim(low - room, high + room)
        panel.axhline(0, color="black", lw=0.6)
        panel.grid(axis="y")
        panel.set_ylabel("change (%)")
        panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
        panel.set_title(f"{a} vs {b}", pad=4 + 9 * len(marks) if i == 0 else 4, fontweight="bold")
    for i, panel in enumerate(axes):
        panel.set_xlim(0, 1.02 * limit)
        _mark_ranks(panel, marks, 1.02 * limit, label=i == 0)
    strip = axes[-1]
    reached = reached[reached.index <= limit]
    strip.fill_between(reached.index, reached, step="mid", color=PALE, lw=0)
    strip.set(ylim=(0, None), ylabel="n cells", xlabel="rank in the cell's encoding (1: first)")
    strip.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    handles = axes[0].get_legend_handles_labels()
    figure.align_ylabels(axes)
    _titled(figure, "Attention received per rank, all layers and heads", task)
    add_note(
        figure,
        "Change of the attention that a rank receives (sum over test cells, layers, heads and"
        " query positions) in the first model against the second, in %. Ranks reached by fewer"
        f" than {min_cells} cells are not drawn; the axis shows 99 % of the values.",
        legend=handles,
    )
    return figure


def _bin_width(n_ranks, target=60):
    """Return a round bin width that gives about `target` bins."""
    for width in (1, 2, 5, 10, 20, 25, 50, 100):
        if n_ranks / width <= target:
            return width
    return 100


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
    rows = _without_pool(rank_shift[rank_shift.layer.notna()])
    pairs = _pairs(rows)
    if not pairs:
        return empty_figure("no pair of models to compare")
    rows = rows.assign(rank=rows["rank"].astype(int), layer=rows.layer.astype(int))
    layers = rows.layer.max()
    width = _bin_width(rows["rank"].max())
    marks = _rank_marks(median_length, marker, marker_rank)
    maps, limit = {}, 1
    for a, b in pairs:
        pair = rows[(rows.a == a) & (rows.b == b)]
        # n per rank first: a bin is drawn where its ranks are reached by enough cells on average
        reach = pair[pair.layer == pair.layer.min()].groupby("rank").n_cells.sum()
        reach = reach.groupby((reach.index - 1) // width).mean()
        binned = _rank_change(pair.assign(bin=(pair["rank"] - 1) // width), ["layer", "bin"])
        table = binned.percent.unstack("bin")
        kept = reach.index[reach >= min_cells]
        limit = max(limit, int(kept.max()) + 1 if len(kept) else 1)
        maps[a, b] = table.reindex(columns=kept)
    finite = np.concatenate([np.abs(table.to_numpy()).ravel() for table in maps.values()])
    finite = finite[np.isfinite(finite)]
    top = max(float(np.percentile(finite, 98)) if len(finite) else 1.0, 1e-3)
    figure = Figure(figsize=(6.8, (0.17 * layers + 0.75) * len(pairs) + 0.9), layout="constrained")
    axes = figure.subplots(len(pairs), 1, sharex=True, squeeze=False).ravel()
    for i, (panel, ((a, b), table)) in enumerate(zip(axes, maps.items(), strict=True)):
        values = table.reindex(index=range(1, layers + 1), columns=range(limit)).to_numpy(
            dtype=float
        )
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
        panel.set_title(f"{a} vs {b}", pad=4 + 9 * len(marks) if i == 0 else 4, fontweight="bold")
    axes[-1].set_xlabel("rank in the cell's encoding (1: first)")
    bar = figure.colorbar(
        mesh, ax=list(axes), extend="both", extendfrac=0.03, aspect=25 * len(axes) ** 0.5, pad=0.02
    )
    bar.set_label("change (%)")
    bar.outline.set_visible(False)
    _titled(figure, "Attention received per rank, layer by layer", task)
    bins = f"bins of {width} ranks" if width > 1 else "each rank"
    add_note(
        figure,
        f"As Figure 5, per layer and {bins}, all seeds pooled; grey: fewer than {min_cells} cells"
        f" reach these ranks. The scale ends at the 98th percentile, ±{number(top, 2)} %.",
    )
    return figure


def _de_colours(genes, fdr):
    significant = (genes.p_adj < fdr).to_numpy()
    up = (genes.log2fc > 0).to_numpy()
    return np.where(significant, np.where(up, UP, DOWN), GREY)


def _ranked_bars(axes, genes, value, texts, *, fdr, members):
    """Draw a short ranked list as bars with a text behind each, the first gene on top."""
    longest = float(genes[value].max()) if len(genes) else 1.0
    longest = longest if _finite(longest) and longest > 0 else 1.0
    colours = _de_colours(genes, fdr)
    axes.barh(range(len(genes)), genes[value].fillna(0), color=colours, height=0.72)
    for y, (length, text) in enumerate(zip(genes[value].fillna(0), texts, strict=True)):
        axes.text(length + 0.02 * longest, y, text, va="center", fontsize=6.5, color="#404040")
    axes.set_yticks(range(len(genes)), genes.symbol.astype(str))
    for label, member in zip(axes.get_yticklabels(), members, strict=True):
        label.set_fontweight("bold" if member else "normal")
    axes.set_ylim(len(genes) - 0.4, -0.6)
    axes.set_xlim(0, 1.65 * longest)
    ticks = MaxNLocator(nbins=3).tick_values(0, longest)
    axes.set_xticks(ticks[ticks <= 1.001 * longest])
    axes.tick_params(axis="y", length=0)


@styled
def figure7_attended_vs_de(
    genes, *, task=None, regime=None, comparison=None, fdr=0.05, n_top=10, gene_set=None
):
    """Draw the most attended genes beside the most differentially expressed ones.

    Parameters
    ----------
    genes : pandas.DataFrame
        Columns ensembl_id, symbol, attention_rank, attention, de_rank, log2fc, p_adj,
        abs_statistic, and a boolean column per gene set; all genes, one row each, nulls where a
        gene has no attention or was not tested. With a column group, de_rank is that of the
        class in which the gene stands out most, and log2fc belongs to this class.
    task, regime, comparison : str, optional
        What the numbers are of, e.g. ``comparison="high vs rest"``.
    fdr : float
        Below it a gene counts as differentially expressed.
    n_top : int
        Length of both lists.
    gene_set : str, optional
        Column whose members are set in bold.
    """
    attended = genes.dropna(subset=["attention_rank"]).nsmallest(n_top, "attention_rank")
    expressed = genes.dropna(subset=["de_rank"]).nsmallest(n_top, "de_rank")
    both = genes.dropna(subset=["attention_rank", "de_rank"])
    if attended.empty or expressed.empty:
        return empty_figure("no gene has both attention and a test")

    def members(rows):
        return rows[gene_set].fillna(False).astype(bool) if gene_set else [False] * len(rows)

    figure = Figure(figsize=(8.6, 0.17 * n_top + 1.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1])
    texts = ["not tested" if pd.isna(r) else f"DE rank {r:,.0f}" for r in attended.de_rank]
    _ranked_bars(left, attended, "attention", texts, fdr=fdr, members=members(attended))
    left.set_title(f"{len(attended)} most attended genes", fontweight="bold")
    left.set_xlabel("attention received (min-max scaled)")
    texts = [
        "no attention" if pd.isna(r) else f"attention rank {r:,.0f}"
        for r in expressed.attention_rank
    ]
    _ranked_bars(right, expressed, "abs_statistic", texts, fdr=fdr, members=members(expressed))
    right.set_title(f"{len(expressed)} most differentially expressed", fontweight="bold")
    right.set_xlabel("|z| of the rank-sum test")

    n = len(both)
    middle.scatter(both.attention_rank, both.de_rank, s=2, c=PALE, lw=0, rasterized=True)
    overlap = attended[attended.ensembl_id.isin(expressed.ensembl_id)]
    lists = (
        (attended.drop(overlap.index), "s", 18, "most attended"),
        (expressed[~expressed.ensembl_id.isin(overlap.ensembl_id)], "^", 18, "most DE"),
        (overlap, "*", 70, "both"),
    )
    for rows, marker, area, name in lists:
        rows = rows.dropna(subset=["attention_rank", "de_rank"])
        middle.scatter(
            rows.attention_rank,
            rows.de_rank,
            s=area,
            c=_de_colours(rows, fdr),
            marker=marker,
            lw=0.5,
            edgecolor="white",
            zorder=3,
            clip_on=False,
        )
        middle.scatter([], [], s=18, c="black", marker=marker, label=name)
    for row in overlap.itertuples():
        middle.annotate(
            row.symbol,
            (row.attention_rank, row.de_rank),
            (4, 4),
            textcoords="offset points",
            fontsize=6.5,
            zorder=4,
        )
    highest = float(max(both.attention_rank.max(), both.de_rank.max(), 10)) if n else 10.0
    ticks = [float(10**e) for e in range(int(np.log10(highest)) + 1)]
    for axis, scale, limits in (
        (middle.xaxis, middle.set_xscale, middle.set_xlim),
        (middle.yaxis, middle.set_yscale, middle.set_ylim),
    ):
        scale("log")
        limits(0.8, 1.3 * highest)
        axis.set_ticks(ticks, [f"{t:,.0f}" for t in ticks])
        axis.minorticks_off()
    middle.set(xlabel="rank by attention", ylabel="rank by differential expression")
    middle.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=3,
        handletextpad=0.1,
        columnspacing=0.6,
        borderaxespad=0.1,
    )
    for text, colour in (("DE, up", UP), ("DE, down", DOWN), ("not DE", GREY)):
        left.barh(0, 0, color=colour, label=text)
    significant = both.p_adj < fdr
    base, top = significant.mean(), (attended.p_adj < fdr).mean()
    rho = np.corrcoef(both.attention_rank.rank(), both.de_rank.rank())[0, 1] if n > 2 else np.nan
    rho = round(rho, 2) + 0.0  # no "-0.00"
    expected = len(attended) * len(expressed) / n if n else np.nan
    heading = "Attended against differentially expressed genes"
    _titled(figure, f"{heading}{f', regime {regime}' if regime else ''}", task)
    of_set = f" Bold: in {gene_set.removeprefix('in_')}." if gene_set else ""
    if "group" in genes:
        of_set = f" Up, down: in the class that differs most from the rest.{of_set}"
    test = f" ({comparison})" if comparison else ""
    add_note(
        figure,
        f"Wilcoxon rank-sum{test}, DE: Benjamini-Hochberg FDR < {fdr:g}. n = {n:,} genes with both"
        f" ranks, of which {100 * base:.0f} % are DE (the base rate); of the {len(attended)} most"
        f" attended {100 * top:.0f} %. The lists have {_plural(len(overlap), 'gene')} in common,"
        f" {number(expected, 2)} expected by chance. Spearman's ρ of all ranks: {rho:.2f}.{of_set}",
        legend=left.get_legend_handles_labels(),
    )
    return figure


@styled
def figure9_norms(norms, *, task=None, subset="test"):
    """Draw the norms of what attention adds: a map per head and a bar per layer, a row per regime.

    Parameters
    ----------
    norms : pandas.DataFrame
        Schema ``norms`` plus regime and (optionally) seed; measures weighted and value per layer
        and head, output per layer with a null head. Seeds are averaged.
    task : str, optional
    subset : str
        Which subset of cells is drawn.
    """
    rows = norms[norms.subset == subset]
    regimes = _present(rows.regime)
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
            values = _layer_head(mine[mine.measure == measure], "mean", layers, heads)
            low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
            scaled = (values - low) / (high - low) if high > low else values - low
            digits = 2 if high < 10 else int(high < 100)
            texts = [[f"{v:,.{digits}f}" for v in row] for row in values]
            heatmap(
                panel,
                scaled,
                rows=_counted(values.shape[0]),
                columns=_counted(values.shape[1]),
                texts=texts,
                size=6 if heads <= 8 else 5,
            )
            panel.set(xlabel="head", ylabel="layer")
            panel.set_title(f"{regime}\n{NORM_NAMES[measure]}")
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
        panel.set_title(f"{regime}\n{NORM_NAMES['output']}")
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), SEQUENTIAL),
        ax=list(grid.ravel()),
        shrink=min(1.0, 1.6 / (height * len(regimes)) + 0.15),
        aspect=25,
        pad=0.02,
    )
    bar.set_label("min-max scaled per map")
    bar.outline.set_visible(False)
    _titled(figure, "Norms of the attention output", task)
    seeds = rows.seed.nunique() if "seed" in rows else 0
    n = rows.n_cells.max()
    add_note(
        figure,
        f"Mean over the genes of a cell, over {subset} cells (n = {count(n)} per seed) and"
        f" {_seed_text(seeds)}; numbers are the norms themselves, colours scale each"
        " map from its smallest to its largest. Bars: sd between cells."
        " α: attention weight, f(x): value vector through the output projection; Σ: over queries.",
    )
    return figure
