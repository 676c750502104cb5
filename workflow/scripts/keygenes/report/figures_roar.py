"""The figure of remove and retrain: a table in, a matplotlib figure out."""

import numpy as np

from keygenes.report.panels import add_title, distinct, spoken
from keygenes.report.style import BLUE, GREY, add_note, count, empty_figure, panel_grid, styled


@styled
def roar(table, *, task=None):
    """Draw what is lost when the genes a track calls key are taken away, a panel per track.

    Parameters
    ----------
    table : pandas.DataFrame
        Schema ``roar``.
    task : str, optional
    """
    table = table[table.seed.isna()].astype({"track": str}).sort_values(["track", "fraction"])
    tracks = distinct(table.track)
    if not tracks:
        return empty_figure("no track to test")
    last = table.groupby("track")["drop"].last()  # of the largest share
    tracks = sorted(tracks, key=lambda name: (-np.nan_to_num(last[name], nan=-1), name))
    figure, axes = panel_grid(len(tracks), columns=5, width=1.55, height=1.5, sharey=True)
    for i, (panel, track) in enumerate(zip(axes, tracks, strict=True)):
        rows = table[table.track == track]
        share = 100 * rows.fraction
        matched = rows.matched.where(rows.fraction > 0, rows.accuracy)
        style = {"marker": "o", "ms": 2.5}
        panel.plot(share, matched, color=GREY, label="random genes, as widely detected", **style)
        panel.fill_between(share, rows.ci_low, rows.ci_high, color=BLUE, alpha=0.18, lw=0)
        panel.plot(share, rows.accuracy, color=BLUE, label="most key genes", **style)
        panel.set_title(spoken(track), fontsize=7)
        panel.set_xticks([0, 5, 10, 20])
        panel.set_ylim(0, 1.0)
        panel.grid(axis="y")
        if i % 5 == 0:
            panel.set_ylabel("accuracy")
        if i >= len(tracks) - 5:
            panel.set_xlabel("genes removed, %")
    add_title(figure, "Remove and retrain", task)
    row = table.iloc[0]
    known = table.ci_low.notna().any()
    band = "band: 95 % interval over units" if known else "no intervals: one unit per class"
    step = table[table.fraction > 0].n_removed
    add_note(
        figure,
        "Logistic regression learnt again without the genes. Test cells of all folds pooled,"
        f" n = {count(row.n_cells)} from {count(row.n_units)} units; {band}."
        f" Removed: {count(step.min())} to {count(step.max())} genes. Panels by falling"
        " loss against random genes at the largest share. training_difference ranks genes in"
        " training cells alone; differential expression has seen the test cells.",
        legend=axes[0].get_legend_handles_labels(),
    )
    return figure


def roar_plates(tables, params, task):
    """Return the figure and its numbers, for `core.figures`."""
    return {"roar": (roar(tables["roar"], task=task), tables["roar"])}
