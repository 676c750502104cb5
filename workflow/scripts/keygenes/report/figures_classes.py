"""The figure of a gene task: tables in, a matplotlib figure out."""

import numpy as np
from matplotlib.figure import Figure

from keygenes.report.panels import add_title, distinct
from keygenes.report.style import (
    BLUE,
    GREY,
    add_note,
    class_colours,
    count,
    empty_figure,
    styled,
)
from keygenes.report.wording import plural

REAL = "pretrained"
NAMES = {
    "pretrained": "pretrained encoder",
    "random_encoder": "random encoder",
    "shuffled_labels": "shuffled labels",
    "logistic": "detection and rank",
}


def _signed(value):
    return f"{round(value, 2) + 0.0:+.2f}"  # no "-0.00"


def _areas(axes, metrics, encoders):
    """Draw the area of every encoder: the pool with its interval, single seeds as circles."""
    for y, encoder in enumerate(encoders):
        rows = metrics[metrics.encoder == encoder]
        colour = BLUE if encoder == REAL else GREY
        seeds = rows[rows.seed.notna()]
        axes.plot(seeds.value, [y + 0.26] * len(seeds), "o", ms=3, mfc="none", mec=colour, mew=0.6)
        for row in rows[rows.seed.isna()].itertuples():
            axes.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.4)
            axes.plot(row.value, y, "o", ms=4.5, color=colour)
            text = f"{row.value:.2f}"
            axes.text(1.03, y, text, va="center", fontsize=7, color=colour)
    axes.axvline(0.5, color="black", ls="--", lw=0.8, zorder=1)
    axes.set_yticks(range(len(encoders)), [NAMES.get(e, e) for e in encoders])
    axes.set_ylim(len(encoders) - 0.5, -0.5)
    lowest = min(0.25, metrics.ci_low.min(), metrics.value.min())
    ticks = [t for t in (0, 0.25, 0.5, 0.75, 1) if t >= lowest]
    axes.set_xlim(lowest, 1.0)
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _spread(values, width, n_bins=40):
    """Return offsets that set equal values side by side: wide where there are many."""
    span = np.ptp(values)
    bins = ((values - values.min()) / (span or 1.0) * n_bins).astype(int)
    offsets = np.zeros(len(values))
    fullest = max(np.bincount(bins))
    for b in np.unique(bins):
        members = np.flatnonzero(bins == b)
        offsets[members] = (np.arange(len(members)) - (len(members) - 1) / 2) * width / fullest
    return offsets


def _scores(axes, scores, classes, colours):
    """Draw every gene's score by its class, and the quartiles."""
    for y, name in enumerate(classes):
        values = np.sort(scores.loc[scores["class"] == name, "score"].to_numpy(float))
        if not len(values):
            continue
        axes.scatter(
            values, y + _spread(values, 0.62), s=5, color=colours[name], alpha=0.55, lw=0, zorder=1
        )
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        axes.plot([low, high], [y, y], color="black", lw=1.0, zorder=3)
        axes.plot(middle, y, "o", ms=4, mfc="white", mec="black", mew=0.9, zorder=4)
    sizes = [int((scores["class"] == name).sum()) for name in classes]
    labels = [f"{name}\nn = {count(n)}" for name, n in zip(classes, sizes, strict=True)]
    axes.set_yticks(range(len(classes)), labels)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


@styled
def gene_classes(metrics, genes, classes, *, task=None):
    """Draw the ROC-AUC of the pretrained encoder and its controls, and the scores of the genes.

    Parameters
    ----------
    metrics : pandas.DataFrame
        Schema ``gene_metrics``; null seed: the seeds pooled, drawn as a dot with its interval.
    genes : pandas.DataFrame
        Schema ``genes`` of the task: the probability of the last class per encoder and seed.
    classes : pandas.DataFrame
        Schema ``gene_classes``.
    task : str, optional
    """
    table = metrics[metrics.metric == "roc_auc"]
    scored = genes[(genes.regime == REAL) & genes.seed.isna()]
    if table.empty or scored.empty:
        return empty_figure("no gene was scored")
    encoders = [e for e in NAMES if (table.encoder == e).any()]
    names = list(classes["class"].cat.categories)
    of_class = [n for n in names if (table["class"] == n).any()]
    height = max(0.24 * len(encoders) + 0.95, 0.5 * len(names) + 0.75)
    width = min(1.9, 6.0 / len(of_class))  # a page is as wide with many classes as with two
    figure = Figure(figsize=(4.3 + width * len(of_class), height), layout="constrained")
    panels = figure.subplots(
        1, len(of_class) + 1, squeeze=False, width_ratios=[1.0] * len(of_class) + [1.45]
    )[0]
    for i, (axes, name) in enumerate(zip(panels, of_class, strict=False)):
        _areas(axes, table[table["class"] == name], encoders)
        axes.set_xlabel("ROC-AUC")
        axes.set_title(f"{name} against {'the others' if len(names) > 2 else names[0]}")
        if i:
            axes.set_yticklabels([])
    scores = scored.merge(classes[["ensembl_id", "class"]], on="ensembl_id")
    _scores(panels[-1], scores, names, class_colours(names))
    panels[-1].set_xlabel(f"out-of-fold probability of '{names[-1]}'")
    panels[-1].set_title(f"Genes by class, {NAMES[REAL]}")
    add_title(figure, "Gene classes from the encoder, beside controls", task)
    gains = metrics[(metrics.metric == "gain") & metrics.seed.isna()]
    gains = gains[gains["class"] == of_class[-1]]
    gained = ", ".join(
        f"{NAMES[r.encoder]} {_signed(r.value)} ({_signed(r.ci_low)} to {_signed(r.ci_high)})"
        for r in gains.itertuples()
    )
    seeds = distinct(table.seed)
    share = classes.token.notna().mean(), (classes.n_cells > 0).mean()
    pool = table[table.seed.isna()].iloc[0]
    add_note(
        figure,
        f"Dots: {plural(len(seeds), 'seed')} pooled, n = {count(pool.n_genes)} genes in"
        f" {count(pool.n_cells)} cells per seed; bars: 95 % bootstrap interval over genes; open"
        " circles: single seeds (of shuffled labels: single permutations, which is how far chance"
        " goes); dashed: 0.5. Every gene is scored by a model that never saw its"
        f" label. Pretrained less control: {gained}. Of {count(len(classes))} listed genes"
        f" {100 * share[0]:.0f} % are in the vocabulary and {100 * share[1]:.0f} % expressed in the"
        " study. Right: dots are genes; circle and bar: median and quartiles.",
    )
    return figure


def gene_class_plates(tables, params, task):
    """Return the figure and its numbers, for `core.figures`."""
    metrics = tables["metrics"]
    figure = gene_classes(metrics, tables["genes"], tables["classes"], task=task)
    return {"gene_classes": (figure, metrics)}
