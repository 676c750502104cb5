"""Whether a track shows what the model goes by: masked genes, and randomised weights."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keygenes.report.panels import add_title, distinct, spoken
from keygenes.report.style import (
    BLUE,
    CATEGORIES,
    GREY,
    VERMILLION,
    add_note,
    empty_figure,
    panel_grid,
    styled,
)
from keygenes.report.wording import plural

METRICS = {"comprehensiveness": (BLUE, "-", "o"), "sufficiency": (VERMILLION, "--", "s")}
REFERENCE = "random"  # the order that has no rank-matched control: it is one


def _sizes(frame):
    wells, cells = frame["n_wells"].max(), plural(int(frame["n_cells"].max()), "cell")
    if pd.isna(wells):
        return f"over cells, as no wells are known. n = {cells}"
    return f"over wells within dose. n = {cells}, {plural(int(wells), 'well')}"


def by_gain(frame):
    """Return the orders of a table 'faithfulness' by falling gain of AOPC, 'random' last."""
    overall = frame[frame["fraction"].isna() & (frame["metric"] == "comprehensiveness")]
    gains = overall.set_index("order")["gain"].astype(float)
    return sorted(gains.index, key=lambda o: (np.isnan(gains[o]), -np.nan_to_num(gains[o]), o))


@styled
def comprehensiveness(faithfulness, *, regime, task=None):
    """Draw what masking the first genes of an order, or all others, does to the answer.

    Parameters
    ----------
    faithfulness : pandas.DataFrame
        Table 'faithfulness'.
    regime : str
        Whose models.
    task : str, optional
    """
    frame = faithfulness[faithfulness["regime"] == regime]
    frame = frame.astype({"order": str, "metric": str, "n_wells": "Float64"})
    if frame.empty:
        return empty_figure(f"no faithfulness of regime {regime}")
    orders = by_gain(frame)
    figure, axes = panel_grid(
        len(orders), columns=4, width=2.1, height=1.9, sharex=True, sharey=True
    )
    most = int(frame["n_cells"].max())
    for i, (panel, order) in enumerate(zip(axes, orders, strict=True)):
        rows = frame[frame["order"] == order]
        panel.axhline(0, color="black", lw=0.6)
        for metric, (colour, line, marker) in METRICS.items():
            curve = rows[(rows["metric"] == metric) & rows["fraction"].notna()]
            curve = curve.sort_values("fraction")
            share = 100 * curve["fraction"].to_numpy()
            panel.fill_between(
                share, curve["ci_low"], curve["ci_high"], color=colour, alpha=0.2, lw=0
            )
            panel.plot(
                share, curve["value"], line, color=colour, marker=marker, ms=2.5, label=metric
            )
            panel.plot(
                share,
                curve["value"] - curve["gain"],
                line,
                color=GREY,
                lw=1.0,
                label=f"{metric}, random genes of the same ranks",
            )
        overall = rows[rows["fraction"].isna() & (rows["metric"] == "comprehensiveness")].iloc[0]
        if order == REFERENCE:
            text = "of all ranks"
        elif np.isnan(overall["gain"]):
            text = "the order of the ranks: no match"
        else:
            text = f"gain {overall['gain']:.3f}"
            if np.isfinite(overall["gain_low"]):
                text += f" [{overall['gain_low']:.3f}, {overall['gain_high']:.3f}]"
        n = int(overall["n_cells"])
        panel.set_title(f"{spoken(order)}\n{text}" + (f", n = {n}" if n < most else ""))
        panel.grid(axis="y")
        if i % 4 == 0:
            panel.set_ylabel("fall of F (logits)")
        if i >= len(orders) - 4:
            panel.set_xlabel("genes masked or kept (%)")
            panel.tick_params(labelbottom=True)
    add_title(figure, f"What masking does to the answer, regime {spoken(regime)}", task)
    add_note(
        figure,
        "Comprehensiveness: the first genes of the order are masked. Sufficiency: all others are."
        " F is the logit of the last class less the mean of the others, in the direction of the"
        " model's answer. Gain: mean comprehensiveness over the shares, less that of random genes"
        " of the same ranks (grey), by which the panels are ordered. Bands and brackets: 95 %"
        f" intervals {_sizes(frame)}, all folds and trainings pooled;"
        " rejected attributions are left out.",
        legend=axes[0].get_legend_handles_labels(),
    )
    return figure


@styled
def randomisation(table, *, regime, task=None):
    """Draw how much of each track is left when the model is made random from the top down.

    Parameters
    ----------
    table : pandas.DataFrame
        Table 'randomisation'; its rows without a seed (pooled over folds and trainings).
    regime : str
    task : str, optional
    """
    frame = table[(table["regime"] == regime) & table["seed"].isna()]
    frame = frame.astype({"track": str, "stage": str, "n_wells": "Float64"})
    if frame.empty:
        return empty_figure(f"no randomisation of regime {regime}")
    stages = frame.drop_duplicates("depth").sort_values("depth")
    tracks = distinct(frame["track"])
    figure = Figure(figsize=(0.62 * len(stages) + 1.6, 2.8), layout="constrained")
    panel = figure.subplots()
    panel.axhline(0, color="black", lw=0.6)
    for i, track in enumerate(tracks):
        curve = frame[frame["track"] == track].sort_values("depth")
        shift = 0.07 * (i - (len(tracks) - 1) / 2)  # intervals side by side
        colour = CATEGORIES[i % len(CATEGORIES)]
        depth = curve["depth"].to_numpy() + shift
        panel.vlines(depth, curve["ci_low"], curve["ci_high"], color=colour, lw=1.0)
        values = np.concatenate([[1.0], curve["spearman"]])
        depths = np.concatenate([[shift], depth])
        panel.plot(depths, values, color=colour, marker="o", ms=3, label=spoken(track))
    panel.set_xticks([0, *stages["depth"]], ["as trained", *stages["stage"]], rotation=35)
    panel.set_ylabel("Spearman with the track\nof the trained model")
    panel.set_xlabel("random from the classifier down to here")
    panel.set_ylim(min(-0.1, float(frame["ci_low"].min(skipna=True)) - 0.05), 1.05)
    panel.grid(axis="y")
    add_title(figure, f"Cascading randomisation, regime {spoken(regime)}", task)
    add_note(
        figure,
        "Spearman's correlation of the magnitudes over the genes of a cell, mean over cells; bars:"
        f" 95 % intervals {_sizes(frame)}, all folds and"
        " trainings pooled. Attention ignores classifier and pooler, so it cannot change there.",
        legend=panel.get_legend_handles_labels(),
    )
    return figure


def faithfulness_plates(tables, params, task):
    """Return both figures and their numbers, for `core.figures`."""
    masked, randomised = tables["faithfulness"], tables["randomisation"]
    of = {"task": task, "regime": params["regime"]}
    return {
        "comprehensiveness": (comprehensiveness(masked, **of), masked),
        "randomisation": (randomisation(randomised, **of), randomised),
    }
