"""The scorecard of the tracks and how far they agree: tables in, matplotlib figures out."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keygenes.core.tracks import BASELINES, OF_MODELS, in_order
from keygenes.report.panels import add_title, distinct, spoken
from keygenes.report.style import (
    DIVERGING,
    SEQUENTIAL,
    add_note,
    count,
    empty_figure,
    heatmap,
    number,
    styled,
)

CONFOUNDS = {"detection": "detection", "mean_rank": "mean rank", "length": "cell length"}
NOTES = {  # what the note says of a panel, where the figure has it
    "AUPRC / base rate": "AUPRC / base rate: 1 is chance.",
    "the same, controls": "The same, controls: what the same track finds in models that cannot "
    "know.",
    "p, matched null": "p, matched null: random sets of as many other genes, matched on detection "
    "and mean rank, which may do worse than chance.",
    "p, permuted labels": "p, permuted labels: the same track of models trained on relabelled "
    "wells.",
    "faithful": "Faithful: drop of the logit contrast when a track's first genes are masked, in "
    "shares of the model's range, beyond rank-matched random genes; and that beyond controls.",
    "ρ with confounds": "ρ: Spearman's, of gene scores; mean rank 1 is the top of a cell.",
}


def _matrix(card, tracks, columns, value="value"):
    """Return `value` as a matrix [n_tracks, n_columns]; columns are (aspect, against, metric)."""
    keys = [card["track"], card["aspect"], card["against"], card["metric"]]
    keys = pd.MultiIndex.from_arrays([key.astype(str) for key in keys])
    values = pd.Series(card[value].to_numpy(float), keys)
    values = values[~values.index.duplicated()]
    wanted = [(track, *column) for track in tracks for column in columns]
    found = np.array([values.get(key, np.nan) for key in wanted])
    return found.reshape(len(tracks), len(columns))


def _texts(values, form):
    return [[form(v) for v in line] for line in values]


def _p_text(p):
    return f"{p:.2g}" if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-")


def _folds(card, tracks, truths):
    """Return AUPRC over its base rate of every track and truth [n_tracks, n_truths]."""
    auprc = [("truth", name, "auprc") for name in truths]
    return _matrix(card, tracks, auprc) / _matrix(card, tracks, auprc, "base_rate")


def _panels(card, of_controls, tracks, truths, simulated_sets):
    """Return title, tick labels, values, colour scale and texts of every panel that has numbers.

    Parameters
    ----------
    card : rows of the regime shown, and of no regime
    of_controls : dict {control: its rows}
    """
    names = [f"{name} (simulated)" if name in simulated_sets else name for name in truths]
    controls = list(of_controls)
    auprc = [("truth", name, "auprc") for name in truths]
    fold = _folds(card, tracks, truths)
    nothing = np.empty((len(tracks), 0))
    folds = [nothing, *(_folds(rows, tracks, truths) for rows in of_controls.values())]
    folds = np.concatenate(folds, axis=1)
    matched, permuted = (_matrix(card, tracks, auprc, name) for name in ("matched_p", "permuted_p"))
    n = _matrix(card, tracks, [("confound", "detection", "spearman")], "n_genes")
    drop, beyond = "comprehensiveness_gain", "comprehensiveness_gain_over_control"
    masked = [("matched_random", drop), *((name, beyond) for name in controls)]
    gain = _matrix(card, tracks, [("faithfulness", *column) for column in masked])
    confound = _matrix(card, tracks, [("confound", name, "spearman") for name in CONFOUNDS])
    same = _matrix(card, tracks, [("null", name, "spearman") for name in controls])
    largest = np.nanmax(np.abs(gain)) if np.isfinite(gain).any() else 1.0

    def signed(v):
        return f"{v:+.2f}"

    with np.errstate(divide="ignore"):
        panels = [
            ("genes", ["scored"], n, ("Greys", 0.0, 1e9), _texts(n, count)),
            (
                "AUPRC / base rate",
                names,
                np.log2(fold),
                (SEQUENTIAL, 0.0, 5.0),
                _texts(fold, lambda v: number(v, 2)),
            ),
            (
                "the same, controls",
                [f"{name}, {spoken(control)}" for control in controls for name in truths],
                np.log2(folds),
                (SEQUENTIAL, 0.0, 5.0),
                _texts(folds, lambda v: number(v, 2)),
            ),
            *(
                (title, names, -np.log10(p), (SEQUENTIAL, 0.0, 4.0), _texts(p, _p_text))
                for title, p in (("p, matched null", matched), ("p, permuted labels", permuted))
            ),
            (
                "faithful",
                ["over random", *(f"over {spoken(name)}" for name in controls)],
                gain,
                (DIVERGING, -largest, largest),
                _texts(gain, signed),
            ),
            (
                "ρ with confounds",
                list(CONFOUNDS.values()),
                confound,
                (DIVERGING, -1.0, 1.0),
                _texts(confound, signed),
            ),
            (
                "ρ with controls",
                [spoken(name) for name in controls],
                same,
                (DIVERGING, -1.0, 1.0),
                _texts(same, signed),
            ),
        ]
    return [panel for panel in panels if panel[2].size and np.isfinite(panel[2]).any()]


def span(values):
    """Return the range of some counts for a reader: '17', or '224 to 500'."""
    low, high = count(np.min(values)), count(np.max(values))
    return low if low == high else f"{low} to {high}"


def _groups(tracks):
    """Return where groups of tracks end, and what the note says of them.

    Parameters
    ----------
    tracks : list of str
        Baselines, tracks of an encoder, readers from outside.

    Returns
    -------
    ends : list of int
        The number of tracks above each line.
    said : list of str
    """
    n_baselines = sum(name in BASELINES for name in tracks)
    n_encoder = sum(name in OF_MODELS for name in tracks)
    n_outside = len(tracks) - n_baselines - n_encoder
    if not n_outside:
        said = ["Above the line: tracks that need no transformer."] * bool(n_encoder)
        return [n_baselines] * bool(n_encoder), said
    if not n_encoder:
        return [n_baselines], ["Below the line: models from outside."]
    said = "Above the first line: tracks that need no transformer; below the second: models from "
    return [n_baselines, n_baselines + n_encoder], [f"{said}outside."]


def _of_regime(regime, tracks):
    """Return what follows a title where the tracks are those of a regime; '' of a reader."""
    return f", regime {spoken(regime)}" if regime and regime not in tracks else ""


@styled
def scorecard(card, *, regime, task=None, simulated_sets=()):
    """Draw the scorecard: tracks x what they are held against, with the numbers printed.

    Parameters
    ----------
    card : table 'scorecard'
    regime : str or None
        The model whose tracks are shown, beside those that need none. A reader from outside has
        rows of no regime, and stands below the tracks of models.
    simulated_sets : collection of str
        Gene sets that a simulation planted: marked as such.
    """
    card = card[card["seed"].isna()]
    regimes = card["regime"].astype(object)
    every, card = card, card[regimes.isna() | (regimes == regime)]
    tracks = in_order(card["track"])
    if not tracks:
        return empty_figure("no track was scored")
    truth = card[card["aspect"] == "truth"]
    truths = distinct(truth["against"])
    of_null = card[(card["aspect"] == "null") & (card["metric"] == "spearman")]
    of_controls = {name: every[regimes == name] for name in distinct(of_null["against"])}
    panels = _panels(card, of_controls, tracks, truths, simulated_sets)
    if not panels:
        return empty_figure("no track could be held against anything")
    widths = [len(labels) for _, labels, *_ in panels]
    size = (2.0 + 0.46 * sum(widths) + 0.3 * len(panels), 0.24 * len(tracks) + 1.9)
    figure = Figure(figsize=(min(size[0], 10.9), size[1]), layout="constrained")
    axes = figure.subplots(1, len(panels), width_ratios=widths, squeeze=False, sharey=True)[0]
    for ax, (title, labels, values, (cmap, low, high), texts) in zip(axes, panels, strict=True):
        heatmap(
            ax,
            values,
            rows=[spoken(name) for name in tracks],
            columns=labels,
            texts=texts,
            cmap=cmap,
            vmin=low,
            vmax=high,
            size=6.5,
        )
        for label in ax.get_xticklabels():
            label.set(rotation=50, ha="right", rotation_mode="anchor")
        if len(labels) == 1:  # a long title would reach into the next panel's
            title = textwrap.fill(title, 10)
        ax.set_title(title, fontsize=7, fontweight="bold")
    axes[0].set_ylim(len(tracks), 0)  # shared: each heat map turned it over
    ends, groups = _groups(tracks)
    for ax in axes:
        for end in ends:
            ax.axhline(end, color="black", lw=0.8)
    add_title(figure, f"Scorecard of the tracks{_of_regime(regime, tracks)}", task)
    sizes = truth[truth["metric"] == "auprc"].dropna(subset=["value"])
    overlap = sizes["matched_overlap"].max()
    members = [
        f"{name} {span(rows['n_positive'])}"
        for name in truths
        if len(rows := sizes[sizes["against"] == name])
    ]
    n = card["n_genes"].dropna().astype(float)
    of_sets = f", {', '.join(members)} of the sets" if members else ""
    drawn = [title for title, *_ in panels]
    said = [text for title, text in NOTES.items() if title in drawn]
    if overlap > 0:
        said.append(f"Matched sets share at most {100 * overlap:.2g} % with the set itself.")
    add_note(
        figure,
        " ".join(
            [
                f"n = {span(n)} genes per track{of_sets}: a track of few cells scores fewer.",
                *groups,
                *said,
                "Dashes: not measured.",
            ]
        ),
    )
    return figure


def seriated(similarity):
    """Return an order of rows in which similar ones are neighbours (Fiedler vector).

    Parameters
    ----------
    similarity : float array [n, n], symmetric

    Returns
    -------
    int array [n]
        The first row stays in the first half.
    """
    n = len(similarity)
    if n < 3:
        return np.arange(n)
    weights = np.nan_to_num(similarity) + 1e-3  # no row is cut off from all others
    np.fill_diagonal(weights, 0.0)
    laplacian = np.diag(weights.sum(1)) - weights
    place = np.linalg.eigh(laplacian)[1][:, 1].round(9)
    if place[0] > np.median(place):
        place = -place
    return np.argsort(place, kind="stable")


@styled
def agreement(table, *, regime, task=None):
    """Draw the rank-biased overlap of all pairs of tracks, similar ones as neighbours.

    Parameters
    ----------
    table : table 'agreement'
    regime : str or None
        The model whose tracks are shown, or a reader from outside.
    """
    names = in_order(table["track_a"])
    if len(names) < 2:
        return empty_figure("fewer than two tracks")
    wide = table.astype({"track_a": str, "track_b": str}).pivot(
        index="track_a", columns="track_b", values="rbo"
    )
    values = wide.reindex(index=names, columns=names).to_numpy()
    of_regime = _of_regime(regime, names)
    order = seriated(values)
    values, names = values[np.ix_(order, order)], [spoken(names[i]) for i in order]
    side = 0.31 * len(names) + 1.5
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    mesh = heatmap(
        axes,
        values,
        rows=names,
        columns=names,
        texts=_texts(values, lambda v: f"{v:.2f}"),
        size=6,
    )
    for label in axes.get_xticklabels():
        label.set(rotation=50, ha="right", rotation_mode="anchor")
    axes.set_aspect("equal")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("rank-biased overlap")
    bar.outline.set_visible(False)
    add_title(figure, f"Agreement of the tracks{of_regime}", task)
    n = table.loc[table["track_a"].astype(str) != table["track_b"].astype(str), "n_genes"]
    add_note(
        figure,
        "Extrapolated rank-biased overlap, p = 0.98 (the first 50 ranks carry 85 % of the weight), "
        f"over the genes that both tracks score: n = {span(n)}. "
        "1: the same order; the row of random scores shows chance.",
    )
    return figure


def scorecard_plates(tables, params, task):
    """Return the scorecard and the agreement with their numbers, for `core.figures`."""
    card, pairs = tables["scorecard"], tables["agreement"]
    of = {"task": task, "regime": params["regime"]}
    return {
        "scorecard": (scorecard(card, simulated_sets=params["simulated_sets"], **of), card),
        "agreement": (agreement(pairs, **of), pairs),
    }
