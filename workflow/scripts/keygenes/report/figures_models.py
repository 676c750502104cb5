"""The figures of training and prediction: tables in, a matplotlib figure out.

A function draws what its tables hold: one regime or seven, one fold and training or many (rows
with neither fold nor seed are the pool of all), two classes or twelve.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from keygenes.report.panels import add_title, distinct, model_text, pool, single_models, spoken
from keygenes.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
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
from keygenes.report.summaries import covered, not_learnt
from keygenes.report.wording import plural

FLOORS = ("length_only", "token0", "majority")  # what no one would call a finding
KIND_COLOURS = {"probe": BLACK, "control": ORANGE, "trained": BLUE, "reader": GREEN}
FOREST_METRICS = ("accuracy", "balanced_accuracy")
FLAG = " †"  # behind the name of a model that has not learnt its task
FLAG_NOTE = (
    f"{FLAG[1:]}: has not learnt its task: it names one class, or its accuracy is not clearly above"
    " the commonest class."
)
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
        Schema ``history`` plus regime, fold and seed.
    task : str, optional
    """
    regimes = distinct(history.regime)
    if not regimes:
        return empty_figure("no training history")
    columns = min(4, len(regimes))
    blocks = -(-len(regimes) // columns)
    figure = Figure(figsize=(1.75 * columns + 0.7, 3.0 * blocks + 0.4), layout="constrained")
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
        for j, (_, run) in enumerate(runs.groupby(["fold", "seed"], dropna=False)):
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
        upper.set_title(f"{spoken(regime)}\n{model_text(runs)}")
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
        "One line per model; folds × how often each was trained. Ringed: the epoch that is kept."
        " Training loss is the mean over the epoch's steps, with dropout; validation loss is"
        " without.",
        legend=handles,
    )
    return figure


def _pooled_metric(metrics, regime, metric, split):
    """Return the row of a metric for the pool of all models, or None."""
    if metrics is None or metrics.empty:
        return None
    found = metrics[
        (metrics.regime == regime) & (metrics.metric == metric) & (metrics.split == split)
    ]
    if found.design.nunique() > 1:  # 'majority' is in both
        found = found[found.design == "grouped"]
    pooled = pool(found)
    pooled = pooled if len(pooled) else found
    return pooled.iloc[0] if len(pooled) == 1 else None


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
    """Draw one confusion matrix per regime over the test cells of all folds.

    Parameters
    ----------
    confusion : pandas.DataFrame
        Schema ``confusion``; the rows without fold and seed, the pool, are drawn.
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
    unit_text, flagged = "", False
    for panel, regime in zip(axes, regimes, strict=True):
        pooled = pool(confusion[confusion.regime == regime])
        pooled = pooled.set_index(["true", "predicted"]).n_cells.unstack(fill_value=0)
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
        if row is not None and pd.isna(row.ci_low) and pd.notna(row.unit):
            unit_text = f" No intervals: one {row.unit} per class."
        elif row is not None and pd.notna(row.n_units) and pd.notna(row.unit):
            n_units = plural(int(row.n_units), row.unit)
            unit_text = f" 95 % intervals {covered(row)}, n = {n_units}."
        flag = FLAG if metrics is not None and not_learnt(metrics, regime) else ""
        flagged |= bool(flag)
        heading = f"{METRIC_NAMES.get(metric, metric)} {value}\n" if value else ""
        panel.set_title(f"{spoken(regime)}{flag}\n{heading}n = {counts.sum():,.0f} cells")
        panel.set(xlabel="predicted", ylabel="true")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=25, pad=0.03)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    add_title(figure, "Confusion on test cells", task)
    models = model_text(confusion)
    pooled_text = "Test cells pooled."
    if models != "pooled":
        pooled_text = f"Test cells of {models} pooled, counts a mean over the trainings of a fold."
    guess = _interval(_pooled_metric(metrics, "majority", metric, split))
    guess = f" Always the largest class: {guess}." if guess else ""
    flag = f" {FLAG_NOTE}" if flagged else ""
    add_note(figure, f"{pooled_text} Cells: count and % of the row.{unit_text}{guess}{flag}")
    return figure


def _forest_rows(regimes, kinds):
    """Return the names of a forest plot from top to bottom, and where a group ends.

    Floors first (what needs no gene, what needs one, what needs no cell), then what needs no
    encoder, then models as `kinds` names them: probes, controls, trained encoders, readers.
    """
    groups = [[r for r in FLOORS if r in regimes]]
    groups.append([r for r in regimes if r not in kinds and r not in FLOORS])
    groups += [[r for r in kinds if kinds[r] == k and r in regimes] for k in KIND_COLOURS]
    groups = [group for group in groups if group]
    return [name for group in groups for name in group], np.cumsum([len(g) for g in groups])[:-1]


@styled
def forest(metrics, *, task=None, kinds=None, twins=None, main=None, split="test"):
    """Draw what every baseline and regime reaches, with its interval, in both designs.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Schema ``metrics``; rows without fold and seed are the pool, drawn with its interval; single
        models are ticks without one.
    task : str, optional
    kinds : dict {regime or reader: 'probe', 'control', 'trained' or 'reader'}, optional
        Whatever is not named here is a baseline that needs no encoder.
    twins : dict {regime split by cell: regime}, optional
        The first is drawn in the row of the second.
    main : str, optional
        Its interval is drawn through all rows.
    split : str
        Which split is drawn.
    """
    twins = twins or {}
    table = metrics[(metrics.split == split) & metrics.metric.isin(FOREST_METRICS)]
    table = table.assign(
        row=[twins.get(name, name) for name in table.regime],
        **{column: table[column].astype(object) for column in ("metric", "design")},
    )
    names, ends = _forest_rows(distinct(table.row), kinds or {})
    if not names:
        return empty_figure(f"no metrics of split {split}")
    height = 0.235 * len(names) + 1.0
    learnt_not = [name for name in names if not_learnt(metrics, name)]
    labels = [spoken(name) + (FLAG if name in learnt_not else "") for name in names]
    found = [metric for metric in FOREST_METRICS if metric in set(table.metric)]
    figure, axes = panel_grid(len(found), columns=2, width=4.1, height=height)
    marks = {"grouped": ("o", 0.0), "random": ("D", 0.27)}
    designs = [design for design in marks if (table.design == design).any()]
    for i, (panel, metric) in enumerate(zip(axes, found, strict=True)):
        pooled = pool(table[table.metric == metric])
        pooled = pooled.set_index(["row", "design"]).sort_index()
        single = _of_folds(table[table.metric == metric])
        for y, name in enumerate(names):
            colour = KIND_COLOURS.get((kinds or {}).get(name), GREY)
            for design in designs:
                marker, shift = marks[design]
                of_folds = single[(single.row == name) & (single.design == design)]
                open_ = {"mfc": "none" if design == "random" else colour, "mec": colour}
                if (name, design) not in pooled.index:
                    continue
                row = pooled.loc[(name, design)]
                place = y + (shift if len(designs) > 1 else 0)
                if len(of_folds) > 1 and design == "grouped":
                    panel.plot(of_folds.value, [place] * len(of_folds), "|", ms=5, color=colour)
                if np.isfinite(row.ci_low):
                    panel.plot([row.ci_low, row.ci_high], [place, place], color=colour, lw=1.2)
                panel.plot(row.value, place, marker, ms=4.5 - (design == "random"), **open_)
                if design == designs[0]:
                    panel.text(1.02, y, _interval(row), va="center", fontsize=6.5, color=colour)
        if (main, designs[0]) in pooled.index:
            row = pooled.loc[(main, designs[0])]
            panel.axvspan(row.ci_low, row.ci_high, color=SKY, alpha=0.18, lw=0, zorder=0)
        if ("majority", designs[0]) in pooled.index:
            floor = pooled.loc[("majority", designs[0])].value
            panel.axvline(floor, color=GREY, ls="--", lw=0.8, zorder=0)
        for end in ends:
            panel.axhline(end - 0.4, color=PALE, lw=0.6, zorder=0)
        panel.set_yticks(range(len(names)), labels if i == 0 else [""] * len(names))
        panel.set_ylim(len(names) - 0.4, -0.6)
        panel.set_xlim(0, 1.0)
        panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        panel.set_xlabel(METRIC_NAMES[metric])
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")
    add_title(figure, "Prediction beside its baselines", task)
    note = _forest_note(table, names, designs, main) + (f" {FLAG_NOTE}" if learnt_not else "")
    add_note(figure, note, legend=_forest_legend(kinds))
    return figure


def _of_folds(table):
    """Return the value of every row, design and fold: of several trainings their mean."""
    single = table[table.fold.notna()]
    keys = ["row", "design", "fold"]
    return single.groupby(keys, observed=True, sort=False)["value"].mean().reset_index()


def _forest_legend(kinds):
    used = {None, *(kinds or {}).values()}
    encoder = used - {None, "reader"}
    labels = {None: "no encoder" if encoder else "baseline"}
    labels |= {"probe": "logistic regression of the study", "control": "control"}
    labels |= {"trained": "encoder, fine-tuned", "reader": "model from outside"}
    handles = [
        Line2D([], [], color=KIND_COLOURS.get(kind, GREY), marker="o", ms=4, lw=1.2)
        for kind in labels
        if kind in used
    ]
    return handles, [label for kind, label in labels.items() if kind in used]


def _forest_note(table, names, designs, main):
    pooled = pool(table[table.design == designs[0]])
    units = pooled[pooled.unit.notna() & pooled.n_units.notna()]
    text = f"Test cells of all folds pooled, n = {count(pooled.n_cells.max())}"
    if len(units):
        unit = str(units.unit.iloc[0])
        n = plural(int(units.n_units.max()), unit)
        known = units.ci_low.notna().any()
        text += f"; bars: 95 % intervals {_covers(units)}, n = {n}" if known else ""
        text += "" if known else f"; no intervals: one {unit} per class"
    text += "."
    if len(designs) > 1:
        other = pool(table[table.design == "random"]).n_cells.max()
        text += (
            " Filled circles: whole wells or replicates held out. Open diamonds: cells held out"
            f" one by one (n = {count(other)}), so that wells or replicates stand on both sides."
        )
    if table.fold.nunique() > 1:
        trainings = ", mean over trainings" if single_models(table).seed.nunique() > 1 else ""
        text += f" Ticks: {plural(table.fold.nunique(), 'fold')}{trainings}."
    if main in names:
        text += f" Band: interval of {spoken(main)}." if pooled.ci_low.notna().any() else ""
    return text + (" Dashed: always the largest class." if "majority" in names else "")


def _covers(rows):
    """Return what the intervals of some rows are over; of models trained once another thing."""
    found = list(dict.fromkeys(covered(row) for _, row in rows.iterrows()))
    both = sorted(found, key=lambda text: text.endswith("only"))
    return both[0] if len(both) == 1 else f"{both[0]} (of rows with one model per fold {both[-1]})"


def training_plates(tables, params, task):
    """Return the figure of training and its numbers, for `core.figures`."""
    history = tables["history"]
    return {"training_curves": (training_curves(history, task=task), history)}


def prediction_plates(tables, params, task):
    """Return Figure 3 and the figure of metrics with their numbers, for `core.figures`."""
    metrics, cells = tables["metrics"], tables["confusion"]
    classes = list(tables["labels"][task].cat.categories)
    options = {name: params[name] for name in ("kinds", "twins", "main")}
    return {
        "figure3_confusion": (
            figure3_confusion(cells, metrics, task=task, classes=classes),
            cells,
        ),
        "forest": (forest(metrics, task=task, **options), metrics),
    }
