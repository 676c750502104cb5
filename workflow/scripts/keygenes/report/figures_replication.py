"""Two studies held against each other: table 'replication' in, a matplotlib figure out."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keygenes.evidence.replication import ACROSS, ORDER, WITHIN, of_regime, same_track
from keygenes.report.panels import add_title, spoken
from keygenes.report.style import (
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    add_note,
    empty_figure,
    heatmap,
    styled,
)

LINE = 0.27  # inches of a track


def overlaps(table, tracks, study):
    """Return the rank-biased overlaps of all pairs of tracks, float [n_tracks, n_tracks].

    Parameters
    ----------
    table : rows of one comparison, 'across' or 'within'
    tracks : list of str
    study : str
        Whose tracks the rows are of; the columns are of the other side. Within a study the matrix
        is symmetric, with nothing on its diagonal.
    """
    found = np.full((len(tracks), len(tracks)), np.nan)
    at = {name: i for i, name in enumerate(tracks)}
    for row in table[table["study_a"].astype(str) == study].itertuples():
        i, j = at[str(row.track_a)], at[str(row.track_b)]
        found[i, j] = row.rbo
        if str(row.study_b) == study:
            found[j, i] = row.rbo
    return found


@styled
def replication_figure(table, *, names, regime, task=None):
    """Draw how far the tracks of two studies agree, across and within, and each with itself.

    Parameters
    ----------
    table : table 'replication' of one task
    names : (str, str)
        Of the studies.
    regime : str or None
        The model whose tracks are shown, beside those that need none.
    """
    table = of_regime(table, regime)
    same = same_track(table).dropna(subset=["rbo"])
    tracks = [name for name in ORDER if name in set(same["track_a"].astype(str))]
    if not tracks:
        return empty_figure("no track that both studies score")
    side = LINE * len(tracks)
    figure = Figure(figsize=(max(2 * side + 3.4, 7.2), side * 2 + 3.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[side + 2.0, side + 1.2])
    _matrices(upper, table, tracks, names)
    _forests(lower, same.set_index(same["track_a"].astype(str)).loc[tracks], names)
    of = f", regime {spoken(regime)}" if regime else ""
    add_title(figure, f"Does a track repeat itself? {names[0]} and {names[1]}{of}", task)
    n = same["n_genes"]
    add_note(
        figure,
        "Rank-biased overlap (RBO, p = 0.98: the first 50 ranks carry 85 % of the weight) and "
        "Spearman's ρ of gene scores, over the genes that both tracks score and both studies have: "
        f"n = {_span(n)} genes. Left: above the diagonal two tracks of {names[0]}, below it of "
        f"{names[1]}. Right: a track of one against a track of the other; framed: the same track. "
        "Below: bars are 95 % intervals, of RBO over resampled genes, of ρ after Bonett and "
        "Wright; genes are taken as independent. Nearest other: the track within either study that "
        "agrees most with this one. Given detection: ρ of what the number of cells with the gene, "
        "in both studies, leaves of the ranks.",
    )
    return figure


def _overlap_text(value):
    """Return an overlap as text, in which only an exact 1 reads as 1."""
    if value > 1 - 1e-9:
        return "1"
    return ">.99" if value >= 0.995 else f"{value:.2f}".removeprefix("0")


def _span(n):
    low, high = int(n.min()), int(n.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _matrices(figure, table, tracks, names):
    """Draw the overlaps within both studies in one matrix, those across them in another."""
    within, across = (table[table["comparison"] == kind] for kind in (WITHIN, ACROSS))
    upper = np.triu(np.ones((len(tracks), len(tracks)), bool), 1)
    both = np.where(upper, *(overlaps(within, tracks, name) for name in names))
    axes = figure.subplots(1, 2)
    a, b = names
    titles = f"within {a} (above), within {b} (below)", f"{a} (rows) against {b}"
    spoken_names = [spoken(name) for name in tracks]
    for ax, values, title in zip(axes, (both, overlaps(across, tracks, a)), titles, strict=True):
        texts = [[_overlap_text(v) for v in line] for line in values]
        mesh = heatmap(ax, values, rows=spoken_names, columns=spoken_names, texts=texts, size=5.5)
        for label in ax.get_xticklabels():
            label.set(rotation=50, ha="right", rotation_mode="anchor")
        ax.set_aspect("equal")
        ax.set_title(title)
    for i in range(len(tracks)):
        axes[1].add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.2))
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, pad=0.01)
    bar.set_label("rank-biased overlap")
    bar.outline.set_visible(False)


def _forests(figure, same, names):
    """Draw each track's agreement with itself: RBO beside the nearest other track, and ρ."""
    left, right = figure.subplots(1, 2, sharey=True)
    y = np.arange(len(same))
    left.hlines(y, same["rbo_low"], same["rbo_high"], color=BLUE)
    left.plot(same["rbo"], y, "o", color=BLUE, ms=4.5, label="the same track, other study")
    left.plot(same["nearest_rbo"], y, "D", color=ORANGE, ms=3.6, label="nearest other, same study")
    left.plot(same["other_mean"], y, "|", color=GREY, ms=7, label="mean of the others, same study")
    left.plot(same["rbo_chance"], y, "x", color=GREY, ms=3.5, mew=0.8, label="chance")
    left.set(xlabel="rank-biased overlap", xlim=(-0.02, 1.02))
    for column, shift, colour, mark, label in (
        ("spearman", -0.14, BLUE, "o", "as it is"),
        ("partial", 0.14, VERMILLION, "s", "given detection"),
    ):
        right.hlines(y + shift, same[f"{column}_low"], same[f"{column}_high"], color=colour)
        right.plot(same[column], y + shift, mark, color=colour, ms=4, label=label)
    right.axvline(0, color="black", lw=0.6)
    lowest = np.nanmin([same["spearman_low"].min(), same["partial_low"].min(), 0])
    right.set(xlabel="Spearman's ρ across studies", xlim=(min(-0.05, lowest - 0.05), 1.02))
    left.set_yticks(y, [spoken(name) for name in same.index])
    left.set_ylim(len(same) - 0.4, -0.6)
    n_needed = int(same["regime"].isna().sum())
    for ax in (left, right):
        ax.grid(axis="x")
        if 0 < n_needed < len(same):
            ax.axhline(n_needed - 0.5, color="black", lw=0.8)
        ax.tick_params(axis="y", length=0)
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)
