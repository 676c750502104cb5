"""What the figures of faithfulness say, read back from their artists."""

import numpy as np
import pandas as pd
import pytest
from stated import numbers_in, states

from keygenes.report.figures_faithfulness import comprehensiveness, randomisation
from keygenes.report.style import save_figure

ORDERS = [
    *("attention_received", "attention_readout", "rollout", "attention_gradient", "attattr"),
    *("integrated_gradients", "occlusion", "deletion", "integrated_gradients_reversed"),
    *("expression", "wilcoxon", "detection", "random"),
]
TRACKS = ["attention_received", "attention_readout", "rollout", "integrated_gradients"]


def faithfulness_table(orders=ORDERS, regimes=("full",), n_wells=18):
    rng = np.random.default_rng(0)
    rows = []
    for regime in regimes:
        for i, order in enumerate(orders):
            for metric, sign in (("comprehensiveness", 1), ("sufficiency", -1)):
                for fraction in (0.01, 0.02, 0.05, 0.1, 0.15, np.nan):
                    size = 0.08 if np.isnan(fraction) else fraction
                    matched = 1 + sign * size
                    value = matched + sign * size * (i - 3) + rng.normal(0, 0.01)
                    gain = np.nan if order == "random" else value - matched
                    spread = 0.1 if n_wells else np.nan
                    ends = (value - spread, value + spread, gain, gain - spread, gain + spread)
                    rows.append((regime, order, metric, fraction, value, *ends, 180, n_wells))
    columns = [
        *("regime", "order", "metric", "fraction", "value", "ci_low", "ci_high"),
        *("gain", "gain_low", "gain_high", "n_cells", "n_wells"),
    ]
    return pd.DataFrame(rows, columns=columns).astype({"n_wells": "Int64"})


def randomisation_table(tracks=TRACKS, seeds=(1, None)):
    stages = ["classifier", "pooler", *(f"layer {n}" for n in range(6, 0, -1))]
    rows = [
        ("full", seed, track, stage, depth, s := 1 - 0.03 * i * depth, 0.1, s - 0.1, s + 0.1, 60, 9)
        for i, track in enumerate(tracks)
        for depth, stage in enumerate(stages, start=1)
        for seed in seeds
    ]
    columns = [
        *("regime", "seed", "track", "stage", "depth", "spearman", "sd"),
        *("ci_low", "ci_high", "n_cells", "n_wells"),
    ]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64", "n_wells": "Int64"})


CASES = {
    "all orders": lambda: comprehensiveness(faithfulness_table(), regime="full", task="level"),
    "no model's order, no wells": lambda: comprehensiveness(
        faithfulness_table(["expression", "random"], n_wells=None), regime="full"
    ),
    "randomisation": lambda: randomisation(randomisation_table(), regime="full", task="level"),
    "randomisation of one track": lambda: randomisation(
        randomisation_table(["rollout"]), regime="full"
    ),
}


def text(figure):
    figure.draw_without_rendering()
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return " ".join(" ".join(t.get_text() for t in found).split())


@pytest.mark.slow
@pytest.mark.filterwarnings("error:constrained_layout not applied")
@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_drawn_and_saved(case, tmp_path):
    for run in "12":
        figure = CASES[case]()
        save_figure(figure, tmp_path / f"{run}.svg", tmp_path / f"{run}.png", simulated=True)
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    assert (tmp_path / "1.png").read_bytes().startswith(b"\x89PNG")
    assert figure.get_figwidth() < 11
    assert "n = " in text(figure)


@pytest.mark.slow
def test_orders_stand_by_what_they_gain_and_random_last():
    titles = [axes.get_title(loc="left") for axes in CASES["all orders"]().axes]
    assert titles[0].startswith("detection\n") and numbers_in(titles[0])[0] == 0.652
    assert titles[-1].startswith("random\n")
    assert len(titles) == len(ORDERS)


@pytest.mark.slow
def test_curves_and_their_random_genes_are_the_table_s():
    figure = CASES["no model's order, no wells"]()
    panel = figure.axes[0]
    lines = {line.get_label(): line for line in panel.lines}
    table = faithfulness_table(["expression", "random"], n_wells=None)
    rows = table[(table["order"] == "expression") & (table["metric"] == "sufficiency")]
    rows = rows[rows["fraction"].notna()]
    np.testing.assert_allclose(lines["sufficiency"].get_xdata(), [1, 2, 5, 10, 15])
    np.testing.assert_allclose(lines["sufficiency"].get_ydata(), rows["value"])
    (matched,) = (of for label, of in lines.items() if label.startswith("sufficiency,"))
    np.testing.assert_allclose(matched.get_ydata(), 1 - rows["fraction"])
    assert states(text(figure), 180) and not states(text(figure), 18)
    wells = comprehensiveness(faithfulness_table(["expression", "random"]), regime="full")
    assert states(text(wells), 180, 18), "cells, wells"


@pytest.mark.slow
def test_only_the_regime_asked_for_is_drawn():
    table = faithfulness_table(["expression", "random"], ("full", "permuted_labels"))
    table.loc[table["regime"] == "permuted_labels", "n_cells"] = 7
    for regime, n in (("permuted_labels", 7), ("full", 180)):
        assert states(text(comprehensiveness(table, regime=regime)), n)


def test_randomisation_starts_at_the_trained_model_and_shows_the_pool_of_seeds():
    figure = CASES["randomisation"]()
    panel = figure.axes[0]
    labels = [t.get_text() for t in panel.get_xticklabels()]
    assert labels[1:] == list(dict.fromkeys(randomisation_table()["stage"]))
    line = next(x for x in panel.lines if x.get_label() == "integrated gradients")
    assert line.get_ydata()[0] == 1
    np.testing.assert_allclose(line.get_ydata()[1:], 1 - 0.09 * np.arange(1, 9))


def test_nothing_to_draw_is_said_in_words():
    for figure, regime in (
        (comprehensiveness(faithfulness_table(), regime="frozen"), "frozen"),
        (randomisation(randomisation_table(seeds=()), regime="full"), "full"),
    ):
        assert regime in text(figure)
        assert not any(axes.has_data() for axes in figure.axes)
