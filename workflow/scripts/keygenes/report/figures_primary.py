"""The figure of the primary test: true labels against relabelled ones, a row per track."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from keygenes.evidence.primary import ALPHA, NOT_SUPPORTED, SUPPORTED
from keygenes.report.panels import add_title, distinct, spoken
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
    empty_figure,
    styled,
)
from keygenes.report.wording import plural

ROLES = {"primary": BLUE, "exploratory": SKY, "reference": BLACK}
MOST_DOTS = 60  # relabellings of a track; more are drawn as their 95 % range
HEADS = ("T", "p", "p\n(max-T)", "p\n(matched)")


def primary_table(scores, tests):
    """Return what the figure draws: every T, with the track's role and the marks of its row."""
    marks = ["base_rate", "permuted_mean", "matched_null_mean", "max_t_threshold"]
    rows = tests[["track", "role", *marks]].astype({"track": str, "role": str})
    return scores.astype({"track": str}).merge(rows, on="track", how="left")


def _ordered(tests):
    """Return the tests: the primary track, exploratory ones by effect, then the references."""
    order = {role: i for i, role in enumerate(ROLES)}
    rows = tests.astype({"track": str, "role": str})
    beyond = (rows["effect"].fillna(0) + rows["auprc"].fillna(0) * 1e-9) * -1
    rows = rows.assign(place=rows["role"].map(order), beyond=beyond)
    return rows.sort_values(["place", "beyond", "track"]).reset_index(drop=True)


def _offsets(n):
    """Return heights that set the dots of a row apart, the same for the same number."""
    return 0.24 * (np.arange(n) * 0.618034 % 1 - 0.5)


def _draw_row(panel, y, row, values):
    """Draw a track: its relabelled T, the marks, and T of the true labels on top."""
    dealt = values[values["relabelling"] > 0]["auprc"].dropna().to_numpy()
    if len(dealt) > MOST_DOTS:
        low, high = np.quantile(dealt, [0.025, 0.975])
        panel.barh(y, high - low, left=low, height=0.3, color=PALE, lw=0)
    else:
        panel.plot(dealt, y + _offsets(len(dealt)), "o", ms=2.6, color=GREY, mew=0, alpha=0.8)
    marks = (
        (row.base_rate, ":", BLACK, 0.34),
        (row.permuted_mean, "-", GREY, 0.34),
        (row.matched_null_mean, "-", ORANGE, 0.34),
        (row.max_t_threshold, "-", VERMILLION, 0.42),
    )
    for value, line, colour, height in marks:
        if pd.notna(value):
            panel.plot([value] * 2, [y - height, y + height], line, color=colour, lw=1.2)
    colour = ROLES[row.role]
    true = values[values["relabelling"] == 0]["auprc"].to_numpy()
    panel.plot(true[1:], [y] * (len(true) - 1), "o", ms=4, mfc="white", mec=colour, mew=0.8)
    panel.plot(row.auprc, y, "o", ms=5.5, color=colour, zorder=5)


def _p_text(p):
    return "–" if pd.isna(p) else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-")


def _legend(tests):
    """Return handles and labels of what is drawn."""
    dot, often = {"marker": "o", "ls": ""}, bool(tests["n_permuted"].max())
    limited = tests["max_t_threshold"].notna().any()
    more = Line2D([], [], mfc="white", mec=BLUE, ms=4, **dot)
    handles = {
        "true labels": Line2D([], [], color=BLUE, ms=5.5, **dot),
        **({"other trainings": more} if tests["n_seeds"].max() > 1 else {}),
        **({"relabelled": Line2D([], [], color=GREY, ms=2.6, **dot)} if often else {}),
        **({"their mean": Line2D([], [], color=GREY, lw=1.2)} if often else {}),
        "matched sets": Line2D([], [], color=ORANGE, lw=1.2),
        **({"max-T": Line2D([], [], color=VERMILLION, lw=1.2)} if limited else {}),
        "base rate": Line2D([], [], color=BLACK, ls=":", lw=1.2),
    }
    return list(handles.values()), list(handles)


@styled
def primary_test(scores, tests, outcome, *, task=None):
    """Draw T of the true labels against T of relabelled ones, a row per track, the primary first.

    Parameters
    ----------
    scores : pandas.DataFrame
        Table 'relabelled_scores'; a track's first row is the one that is tested.
    tests : pandas.DataFrame
        Table 'track_tests'.
    outcome : pandas.DataFrame
        Table 'primary'.
    task : str, optional
    """
    tests = _ordered(tests[tests["auprc"].notna()])
    if tests.empty:
        return empty_figure("no track has an AUPRC: no gene of the set is scored")
    figure = Figure(figsize=(7.4, 0.27 * len(tests) + 1.3), layout="constrained")
    panel, numbers = figure.subplots(1, 2, width_ratios=[1.0, 0.55], sharey=True)
    by_track = dict(tuple(scores.astype({"track": str}).groupby("track")))
    for y, row in enumerate(tests.itertuples()):
        _draw_row(panel, y, row, by_track[row.track])
        texts = (f"{row.auprc:.3f}", *map(_p_text, (row.permuted_p, row.permuted_p_max)))
        weight = "bold" if row.role == "primary" else "normal"
        for x, text in enumerate((*texts, _p_text(row.matched_p))):
            numbers.text(x, y, text, ha="center", va="center", fontsize=6.5, fontweight=weight)
    for role in distinct(tests["role"])[1:]:
        for axes in (panel, numbers):
            axes.axhline((tests["role"] == role).idxmax() - 0.5, color=PALE, lw=0.8)
    panel.set_yticks(range(len(tests)), [spoken(name) for name in tests["track"]])
    panel.set_ylim(len(tests) - 0.4, -0.6)
    for label, role in zip(panel.get_yticklabels(), tests["role"], strict=True):
        label.set_fontweight("bold" if role == "primary" else "normal")
    panel.tick_params(axis="y", length=0)
    panel.set_xlim(left=0)
    panel.grid(axis="x")
    row = outcome.iloc[0]
    panel.set_xlabel(f"T: AUPRC of {spoken(row['gene_set'])}")
    numbers.set_xlim(-0.5, len(HEADS) - 0.5)
    numbers.set_xticks(range(len(HEADS)), HEADS)
    numbers.tick_params(length=0, labelleft=False)
    numbers.xaxis.tick_top()
    for side in ("left", "bottom"):
        numbers.spines[side].set_visible(False)
    colour = {SUPPORTED: GREEN, NOT_SUPPORTED: VERMILLION}.get(str(row["outcome"]), GREY)
    numbers.set_xlabel(str(row["outcome"]), color=colour, fontweight="bold")
    add_title(figure, f"Primary test, regime {spoken(row['regime'])}", task)
    add_note(figure, _note(row, tests), legend=_legend(tests))
    return figure


def _note(row, tests):
    """Return what the figure's numbers are, with their n."""
    text = (
        f"Outcome: {row['outcome']} ({row['reason']}). Rows: the primary track, exploratory tracks,"
        f" tracks of no model. n = {int(row['n_positive'])} genes of the set"
        f" among {int(row['n_genes']):,} of the primary track, over the test cells of all folds."
    )
    if row["n_permuted"]:
        unit = str(row["permuted_unit"])
        text += (
            f" p: one-sided, against {plural(int(row['n_permuted']), 'relabelling')} of the {unit}s"
            " (a model each, trained alike); (max-T): adjusted over the model's tracks, red where"
            f" it is {ALPHA:g}; (matched): against random sets as widely"
            " detected and as highly ranked."
        )
    else:
        text += " No model was trained on relabelled data: p is not known."
    wilcoxon = tests[tests["track"] == "wilcoxon"]
    n = int(wilcoxon["n_permuted"].max()) if len(wilcoxon) else 0
    if n:
        text += f" Wilcoxon's: {plural(n, 'relabelling')}, as their 95 % range."
    return text + " Detection and mean rank ignore labels."


def primary_plates(tables, params, task):
    """Return the figure and its numbers, for `core.figures`."""
    scores, tests = tables["scores"], tables["tests"]
    figure = primary_test(scores, tests, tables["outcome"], task=task)
    return {"primary_test": (figure, primary_table(scores, tests))}
