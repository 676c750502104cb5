"""The figure of equally long (or deep) cells: tables in, a matplotlib figure out."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keygenes.report.panels import add_title, distinct, is_finite, single_models, spoken, versus
from keygenes.report.rank_changes import summed_over_models
from keygenes.report.style import BLUE, GREY, ORANGE, add_note, count, empty_figure, styled
from keygenes.report.wording import plural

PANELS = {  # measure or measures, with label and colour; axis label; factor
    "accuracy": ([("accuracy", None, BLUE)], "accuracy on test cells", 1),
    "in_top": (
        [
            ("mitochondrial_in_top", "mitochondrial (MT-)", ORANGE),
            ("ribosomal_in_top", "ribosomal (RPL, RPS)", BLUE),
        ],
        "of the {n_top} most attended genes",
        1,
    ),
    "share": (
        [("mitochondrial_share", None, ORANGE), ("ribosomal_share", None, BLUE)],
        "share of all attention (%)",
        100,
    ),
}
WINDOW = 11  # ranks in the running mean


def _dots(panel, table, measures, regimes, factor):
    """Draw values with their intervals, a row per regime, measures one below the other."""
    offsets = np.linspace(-0.17, 0.17, len(measures)) if len(measures) > 1 else [0.0]
    for (measure, label, colour), offset in zip(measures, offsets, strict=True):
        rows = table[table.measure == measure].set_index(table.regime[table.measure == measure])
        for y, regime in enumerate(regimes):
            if regime not in rows.index or not is_finite(rows.loc[regime, "value"]):
                continue
            row = rows.loc[regime]
            if is_finite(row.ci_low):
                ends = [factor * row.ci_low, factor * row.ci_high]
                panel.plot(ends, [y + offset] * 2, color=colour, lw=1.4)
            panel.plot(factor * row.value, y + offset, "o", ms=4.5, color=colour, label=label)
            label = None  # once in the legend
    panel.set_ylim(len(regimes) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")


def _change_by_rank(rank_shift, pair, min_cells):
    """Return percent change by rank of a pair, all folds added, and the median length."""
    rows = rank_shift[(rank_shift.a == pair[0]) & (rank_shift.b == pair[1])]
    sums = summed_over_models(single_models(rows[rows.layer.isna()]), ["rank"])
    median = sums.index[sums.n_cells >= sums.n_cells.max() / 2].max()
    sums = sums[(sums.n_cells >= min_cells) & (sums.sum_b > 0)]
    change = 100 * (sums.sum_a / sums.sum_b - 1)
    if len(change) >= 3 * WINDOW:
        change = change.rolling(WINDOW, center=True, min_periods=1).mean()
    return change, median


@styled
def equal_length(table, rank_shift, pairs, *, n_top, task=None, min_cells=10):
    """Draw what is left of accuracy, attended genes and the shift by rank in other encodings.

    Parameters
    ----------
    table : pandas.DataFrame
        Schema ``input_length``.
    rank_shift : pandas.DataFrame
        Schema ``rank_shift``.
    pairs : list of ((a, b), (a, b) or None)
        Pairs of models of a variant, each with the same pair on the tokens as they are.
    n_top : int
        Most attended genes that were looked at.
    task : str, optional
    min_cells : int
        Ranks that fewer cells (of all folds) reach are not drawn.
    """
    if table.empty:
        return empty_figure("no regime reads a variant of the tokens")
    table = table.astype(dict.fromkeys(("regime", "tokens", "measure", "n_of"), object))
    rank_shift = rank_shift.astype({"a": str, "b": str})
    regimes = distinct(table.regime[table.measure == "accuracy"])
    encodings = table.drop_duplicates("regime").set_index("regime")["tokens"]
    heights = [0.36 * len(regimes) + 0.9] + [1.9] * len(pairs)
    figure = Figure(figsize=(7.2, sum(heights) + 0.8), layout="constrained")
    grid = figure.add_gridspec(len(heights), len(PANELS), height_ratios=heights)
    first = None
    for column, (measures, label, factor) in enumerate(PANELS.values()):
        panel = figure.add_subplot(grid[0, column])
        first = first or panel
        _dots(panel, table, measures, regimes, factor)
        names = [
            spoken(name)
            if encodings[name] == "main"
            else f"{spoken(name)}\n(tokens: {spoken(encodings[name])})"
            for name in regimes
        ]
        panel.set_yticks(range(len(regimes)), names if column == 0 else [""] * len(regimes))
        panel.set_xlabel(label.format(n_top=n_top))
        panel.margins(x=0.12)
        panel.xaxis.set_major_locator(MaxNLocator(4))
        if column:
            panel.set_xlim(left=min(0, panel.get_xlim()[0]))
        if any(name for _, name, _ in measures):
            panel.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    for row, (pair, reference) in enumerate(pairs, start=1):
        panel = figure.add_subplot(grid[row, :])
        panel.axhline(0, color=GREY, lw=0.6)
        for drawn, colour, weight in ((reference, GREY, 1.0), (pair, BLUE, 1.4)):
            if drawn is None:
                continue
            change, median = _change_by_rank(rank_shift, drawn, min_cells)
            name = f"{versus(*drawn)}, median length {count(median)}"
            panel.plot(change.index, change, color=colour, lw=weight, label=name)
            panel.axvline(median, color=colour, lw=1.0, ls=(0, (4, 2)))
        panel.set_ylabel("change of attention (%)")
        panel.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)
        panel.grid(axis="y")
    if pairs:
        panel.set_xlabel("rank in the cell's encoding (1: first); dashed: median length")
    add_title(figure, "Equally long, equally deep or shuffled cells", task)
    rows = table[table.measure == "accuracy"]
    unit = plural(int(rows.n.max()), str(rows.n_of.iloc[0]))
    wells = table[table.measure == "ribosomal_share"]
    wells = plural(int(wells.n.max()), "well") if len(wells) else "wells"
    units = unit if unit == wells else f"{unit} (accuracy) or {wells} (attention)"
    add_note(
        figure,
        f"n = {count(rows.n_cells.max())} test cells, all folds and trainings pooled."
        f" Lines: 95 % intervals over {units}. Attention: the thesis's total, a sum over cells,"
        f" layers and heads. Curves: running mean over {WINDOW} ranks.",
    )
    return figure


def input_plates(tables, params, task):
    """Return the figure and its numbers, for `core.figures`."""
    table = tables["input_length"]
    options = {"n_top": params["n_top"], "task": task}
    figure = equal_length(table, tables["rank_shift"], params["pairs"], **options)
    return {"equal_length": (figure, table)}
