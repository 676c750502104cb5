"""The figures of training and prediction: tables in, a matplotlib figure out.

A function draws what its tables hold: one regime or seven, one seed or many (a null seed is the
pool of all seeds), two classes or twelve.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keygenes.report.panels import add_title, distinct, plural, seed_text
from keygenes.report.style import (
    BLUE,
    GREY,
    SKY,
    VERMILLION,
    add_note,
    class_order,
    count,
    empty_figure,
    heatmap,
    panel_grid,
    styled,
)

BASELINES = ("linear_probe", "logistic_genes", "majority")  # regimes that train no encoder
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}


@styled
def training_curves(history, *, task=None):
    """Draw loss and validation accuracy over the epochs, one column of panels per regime.

    Parameters
    ----------
    history : pandas.DataFrame
        Schema ``history`` plus regime and seed.
    task : str, optional
    """
    regimes = distinct(history.regime)
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
        upper.set_title(f"{regime}\n{plural(runs.seed.nunique(), 'seed')}")
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
    add_title(figure, "Fine-tuning", task)
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
    regimes = distinct(confusion.regime)
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
            unit_text = f" 95 % interval: bootstrap over {plural(int(row.n_units), row.unit)}."
        heading = f"{METRIC_NAMES.get(metric, metric)} {value}\n" if value else ""
        panel.set_title(f"{regime}\n{heading}n = {counts.sum():,.0f} cells")
        panel.set(xlabel="predicted", ylabel="true")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=25, pad=0.03)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    add_title(figure, "Confusion on test cells", task)
    seeds = confusion.seed.nunique()
    pooled_text = f"Test cells of {seed_text(seeds)} pooled." if seeds else "Test cells pooled."
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
    regimes = distinct(table.regime)
    found = distinct(table.metric)
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
    add_title(figure, f"Performance on {split} cells", task)
    cells = table.n_cells.max()
    units = table[table.unit.notna() & table.n_units.notna()]
    units = (
        "; 95 % bootstrap interval over "
        + plural(int(units.n_units.max()), str(units.unit.iloc[0]))
        if len(units)
        else ""
    )
    seeds = (
        f" Open circles: {plural(table.seed.nunique(), 'seed')}." if table.seed.nunique() else ""
    )
    line = " Dashed: always the largest class." if "majority" in regimes else ""
    add_note(figure, f"Dots: all test cells pooled, n = {count(cells)}{units}.{seeds}{line}")
    return figure
