"""What the figures say, read back from their artists."""

import numpy as np
import pandas as pd
import pytest
import report_tables as tables
from stated import numbers_in, states

from keygenes.core.regimes import BASELINES
from keygenes.report.figures_classes import NAMES, gene_classes
from keygenes.report.figures_cosine import figure4_cosine
from keygenes.report.figures_data import dose_screen, figure1_umap
from keygenes.report.figures_genes import figure7_attended_vs_de
from keygenes.report.figures_inputs import equal_length
from keygenes.report.figures_models import (
    FLAG,
    FLAG_NOTE,
    figure3_confusion,
    forest,
    training_curves,
)
from keygenes.report.figures_norms import NORM_NAMES, figure9_norms
from keygenes.report.figures_rank_shift import (
    figure5_rank_shift,
    figure6_rank_shift_layers,
    rank_shift_corrected,
)
from keygenes.report.figures_roar import roar
from keygenes.report.figures_scorecard import agreement, scorecard, seriated
from keygenes.report.panels import pool, spoken
from keygenes.report.plates import save_plate
from keygenes.report.rank_changes import change_by_layer, change_by_rank
from keygenes.report.style import empty_figure, save_figure
from keygenes.report.summaries import covered, pooled
from keygenes.report.wording import plural

PAIRS = [
    ("full", "frozen"),
    ("last_layer", "frozen"),
    ("frozen", "pretrained"),
    ("upstream_freeze6", "frozen"),
    ("upstream_freeze5", "frozen"),
]
MARKS = {"median_length": 683, "marker": "MDM2", "marker_rank": 120.4}
SCREEN = {"fdr": 0.05, "min_abs_log2fc": 0.25}

LONG = [("full", "frozen"), ("full_equal_length", "frozen_equal_length")]


def equal_length_figure(**more):
    """Return the figure of two pairs: cells as they are, and all of 150 genes."""
    shift = tables.rank_shift_table(LONG[:1], longest=400, median=200)
    equal = tables.rank_shift_table(LONG[:1], longest=150, median=150)
    equal = equal.assign(a=LONG[1][0], b=LONG[1][1], n_cells=equal.n_cells.max())
    both = pd.concat([shift, equal])
    return equal_length(tables.input_length_table(), both, [[LONG[1], LONG[0]]], n_top=30, **more)


MANY = [*BASELINES, "majority", *tables.REGIMES, *(f"control_{i}" for i in range(8))]
KINDS = dict.fromkeys(tables.REGIMES[:5], "trained")
KINDS |= dict.fromkeys(tables.REGIMES[5:], "probe")
KINDS |= {f"control_{i}": "control" for i in range(8)} | {"cells": "control"}
FOREST = {"kinds": KINDS, "twins": {"cells": "full"}, "main": "full"}


def many_metrics():
    """Return metrics of 25 rows: baselines in both designs, one regime by cell as well."""
    by_cell = tables.metrics_table([*BASELINES, "majority", "cells"], designs=("random",))
    return pd.concat([tables.metrics_table(MANY), by_cell], ignore_index=True)


CASES = {
    "equal_length": lambda: equal_length_figure(task="level"),
    "equal_length no pair": lambda: equal_length(
        tables.input_length_table(["full", "full_shuffled"]),
        tables.rank_shift_table(LONG[:1], longest=40, median=20),
        *([[LONG[0], None]],),
        n_top=30,
    ),
    "figure1_umap two tasks": lambda: figure1_umap(*tables.umap_tables(80)),
    "figure1_umap five tasks": lambda: figure1_umap(*tables.umap_tables(200, 5)),
    "dose_screen": lambda: dose_screen(tables.screen_table(), **SCREEN),
    "training_curves": lambda: training_curves(tables.history_table(tables.REGIMES[:5])),
    "training_curves one run": lambda: training_curves(
        tables.history_table(("full",), (1,), epochs=1)
    ),
    "figure3_confusion seven regimes": lambda: figure3_confusion(
        tables.confusion_table(), tables.metrics_table(), task="dose"
    ),
    "figure3_confusion one regime": lambda: figure3_confusion(
        tables.confusion_table(["full"], ["low", "high"], (1,))
    ),
    "figure4_cosine": lambda: figure4_cosine(tables.cosine_table(PAIRS), tables.bounds_table()),
    "forest of 25 rows, two designs": lambda: forest(many_metrics(), task="dose", **FOREST),
    "forest of one regime": lambda: forest(tables.metrics_table(["full"], (1,))),
    "roar": lambda: roar(tables.roar_table([f"track_{i}" for i in range(18)]), task="level"),
    "roar of one track": lambda: roar(tables.roar_table(["wilcoxon"])),
    "figure4_cosine wide": lambda: figure4_cosine(
        tables.cosine_table(PAIRS[:1], (1,), layers=12, heads=12)
    ),
    "figure5_rank_shift": lambda: figure5_rank_shift(
        tables.rank_shift_table(PAIRS[:2], longest=300, median=150), **MARKS
    ),
    "figure5_rank_shift short": lambda: figure5_rank_shift(
        tables.rank_shift_table(folds=(1,), longest=8, median=5)
    ),
    "rank_shift_corrected": lambda: rank_shift_corrected(
        tables.rank_shift_table(PAIRS[:2], longest=300, median=150), **MARKS
    ),
    "figure6_rank_shift_layers": lambda: figure6_rank_shift_layers(
        tables.rank_shift_table(PAIRS[:2], longest=300, median=150), **MARKS
    ),
    "figure7_attended_vs_de": lambda: figure7_attended_vs_de(
        tables.attended_table(500), task="level", gene_set="p53_textbook"
    ),
    "scorecard": lambda: scorecard(tables.scorecard_table()[0], regime="full", task="level"),
    "scorecard of one track, no set": lambda: scorecard(
        tables.scorecard_table((), ["wilcoxon"])[0], regime="full"
    ),
    "agreement": lambda: agreement(tables.scorecard_table()[1], regime="full", task="level"),
    "gene_classes": lambda: gene_classes(*tables.gene_class_tables(), task="dosage"),
    "gene_classes of four, one seed": lambda: gene_classes(
        *tables.gene_class_tables(("none", "some", "more", "all of it"), (1,))
    ),
    "figure9_norms": lambda: figure9_norms(tables.norms_table(), task="dose"),
    "figure9_norms one run": lambda: figure9_norms(tables.norms_table(("full",), (1,))),
}


def words(figure):
    figure.draw_without_rendering()
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


def text(figure):
    return " ".join(" ".join(words(figure)).split())


def numbers_of(figure, name):
    """Return the numbers of the first text of a figure that begins with a name."""
    return numbers_in(next(word for word in words(figure) if word.startswith(name)))


def is_empty(figure):
    return bool(text(figure)) and not any(axes.has_data() for axes in figure.axes)


def whole(panel):
    """Return the line of a panel that all cells are behind."""
    return next(line for line in panel.lines if "all cells" in str(line.get_label()))


@pytest.mark.slow
@pytest.mark.filterwarnings("error:constrained_layout not applied")
@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_drawn_and_saved(case, tmp_path):
    figure = CASES[case]()
    save_figure(figure, tmp_path / "f.svg", tmp_path / "f.png", simulated=True)
    assert (tmp_path / "f.svg").read_text().rstrip().endswith("</svg>")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    # one figure is one page wide at most: wider ones cannot be printed
    assert figure.get_figwidth() < 11
    assert "n = " in text(figure) or "training_curves" in case or "rank_shift" in case


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["figure1_umap two tasks", "figure5_rank_shift", "figure7_attended_vs_de"]
)
def test_equal_tables_give_equal_bytes(case, tmp_path):
    for run in "12":
        figure = CASES[case]()
        save_figure(figure, tmp_path / f"{run}.svg", tmp_path / f"{run}.png", simulated=False)
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_umap_counts_each_class_and_the_cells_outside():
    umap, labels = tables.umap_tables(200, 5)
    found = text(figure1_umap(umap, labels, units={"dose": "µM"}))
    for name, n in labels.dose.value_counts().items():
        assert f"{name} (n = {n})" in found
    assert f"(n = {labels.extreme.isna().sum()})" in found
    assert "dose (µM)" in found
    assert "NK $x$" in found


def test_dose_screen_shows_the_doses_left_out_but_not_the_vehicle():
    screen = tables.screen_table()
    vehicle = screen.iloc[:1].assign(dose_um=0.0, n_up=777)
    figure = dose_screen(pd.concat([vehicle, screen]), **SCREEN)
    found = text(figure)
    assert "1,510" in found
    assert "777" not in found
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert [numbers_in(labels[i]) for i in (0, 4)] == [[0.25, 812], [25, 980]]
    assert [labels[i].count("\n") for i in (0, 4)] == [2, 1], "left out, or not"
    assert states(found, 1022)


def test_confusion_prints_counts_and_row_shares_of_the_pool():
    table = pd.DataFrame(
        {
            "regime": "full",
            "fold": pd.array([1, 1, 1, 1, None, None, None, None], "Int64"),
            "seed": pd.array([1, 1, 1, 1, None, None, None, None], "Int64"),
            "true": ["low", "low", "high", "high"] * 2,
            "predicted": ["low", "high", "low", "high"] * 2,
            "n_cells": [1, 1, 1, 1, 30, 10, 0, 0],
        }
    )
    metrics = tables.metrics_table(["full"]).query("metric == 'accuracy'")
    figure = figure3_confusion(table, metrics, classes=["low", "high"])
    found = words(figure)
    assert "30\n75 %" in found
    assert "10\n25 %" in found
    assert found.count("–") == 2  # no cell of the true class high: no share to give
    assert numbers_of(figure, "full\n") == [0.45, 0.40, 0.50, 40]


def test_the_majority_class_gets_no_matrix():
    table = tables.confusion_table(["full", "majority"], ["low", "high"], (1,))
    assert len(figure3_confusion(table).axes) == 2  # one panel, one colour bar


@pytest.mark.slow
def test_models_that_have_not_learnt_are_flagged():
    metrics = tables.metrics_table(["full", "frozen", "majority"], unlearnt=["frozen"])
    confusion = tables.confusion_table(["full", "frozen"], ["low", "high"])
    for figure in (forest(metrics), figure3_confusion(confusion, metrics)):
        found = words(figure)
        assert any(word.startswith(f"frozen{FLAG}") for word in found)
        assert not any(word.startswith(f"full{FLAG}") for word in found)
        assert FLAG_NOTE in text(figure)
    assert FLAG not in text(forest(tables.metrics_table(["full"])))


def test_intervals_say_what_they_cover():
    once = tables.metrics_table(["full", "hvg_lr"])
    often = tables.metrics_table(["full", "hvg_lr"], seeds=(1, 2))
    words_of = [covered(pooled(metrics, "full")) for metrics in (once, often)]
    found = [text(forest(metrics)) for metrics in (once, often)]
    assert words_of[0] in found[0] and words_of[1] in found[1] and words_of[1] not in found[0]
    assert states(found[0], 95, 18) and states(found[1], 3)


def test_doses_in_a_confusion_are_ordered_by_value():
    table = tables.confusion_table(["full"], ["25", "2.5", "12.5", "0"], (1,))
    panel = figure3_confusion(table).axes[0]
    assert [t.get_text() for t in panel.get_yticklabels()] == ["0", "2.5", "12.5", "25"]


def rows_of(figure):
    return [t.get_text() for t in figure.axes[0].get_yticklabels()]


def test_a_forest_stands_on_length_and_first_gene_and_shows_the_majority_as_a_line():
    figure = forest(tables.metrics_table(MANY[::-1]), **{**FOREST, "twins": {}})
    names = rows_of(figure)
    assert names[:3] == ["length only", "token0", "majority"]
    assert set(names[3:10]) == set(map(spoken, BASELINES[2:]))
    assert names[10:12] == [spoken(name) for name in tables.REGIMES[5:]]
    assert names[-5:] == [spoken(name) for name in tables.REGIMES[:5]]
    assert len(names) == len(MANY)
    lines = [line.get_xdata() for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(lines, [[0.22, 0.22]])
    assert states(text(figure), 1440, 95, 18)


@pytest.mark.slow
def test_models_are_named_as_one_speaks_of_them():
    regimes = ("upstream_freeze6", "full_equal_length")
    pairs = [("full_equal_length", "upstream_freeze6")]
    shift = tables.rank_shift_table(pairs, longest=40, median=20)
    for figure in (
        training_curves(tables.history_table(regimes)),
        figure3_confusion(tables.confusion_table(regimes)),
        figure4_cosine(tables.cosine_table(pairs)),
        figure5_rank_shift(shift),
        figure6_rank_shift_layers(shift),
        rank_shift_corrected(shift),
        figure9_norms(tables.norms_table(regimes)),
    ):
        found = text(figure)
        assert "full equal length" in found
        assert "upstream freeze6" in found
        assert "_" not in found


def test_both_designs_of_a_regime_share_a_row():
    grouped = tables.metrics_table(["length_only", "full"])
    by_cell = tables.metrics_table(["length_only", "cells"], designs=("random",))
    figure = forest(pd.concat([grouped, by_cell]), **FOREST)
    assert rows_of(figure) == ["length only", "full"]
    marks = {"o": [], "D": []}
    for line in figure.axes[0].lines:
        if line.get_marker() in marks:
            marks[line.get_marker()].append((round(line.get_xdata()[0], 2), line.get_ydata()[0]))
    assert marks["o"] == [(0.45, 0), (0.47, 1)]
    assert [x for x, _ in marks["D"]] == [0.51, 0.53]
    assert [0 < y - i < 0.5 for i, (_, y) in enumerate(marks["D"])] == [True, True]


def test_roar_sets_each_track_against_its_matched_genes():
    figure = roar(tables.roar_table())
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "detection",
        "attention total",
        "wilcoxon",
    ]
    matched, accuracy = figure.axes[0].lines
    np.testing.assert_allclose(matched.get_ydata(), 0.9)
    np.testing.assert_allclose(accuracy.get_ydata(), 0.9 - 3 * matched.get_xdata() / 100)
    assert states(text(figure), 1440, 18, 30, 600)


def test_only_an_exact_cosine_reads_as_one():
    table = tables.cosine_table([("frozen", "pretrained")], (1,))
    table.loc[0, "cosine"] = 0.99991
    found = [t.get_text() for t in figure4_cosine(table).axes[0].texts]
    assert found == [">0.999"] + 23 * ["1.000"]


def test_cosine_averages_models_and_marks_missing_heads():
    table = tables.cosine_table([("full", "frozen")], (1, 2), layers=2, heads=2)
    table["cosine"] = np.where(table.fold == 1, 0.4, 0.8)
    table.loc[(table.layer == 2) & (table["head"] == 2), "cosine"] = np.nan
    figure = figure4_cosine(table)
    found = words(figure)
    assert found.count("0.60") == 3
    assert found.count("–") == 1
    assert numbers_of(figure, "full vs frozen")[:3] == [960, 2, 0.03]


def test_rank_shift_divides_sums_and_leaves_out_ranks_of_few_cells():
    frame = pd.DataFrame(
        {
            "a": "full",
            "b": "frozen",
            "fold": [1, 1, 2, 2],
            "seed": 1,
            "layer": pd.array([None] * 4, "Int64"),
            "rank": [1, 2, 1, 2],
            "sum_a": [3.0, 1.0, 1.0, 1.0],
            "sum_b": [1.0, 1.0, 3.0, 1.0],
            "percent_change": [200.0, 0.0, -66.7, 0.0],
            "n_cells": [10, 2, 10, 2],
        }
    )
    figure = figure5_rank_shift(frame, min_cells=10)
    line = whole(figure.axes[0])
    assert numbers_in(line.get_label()) == [2], "folds"
    assert line.get_xdata().tolist() == [1]
    assert line.get_ydata().tolist() == [0.0]


@pytest.mark.slow
def test_the_corrected_shift_stands_beside_the_plain_one_on_one_scale():
    table = tables.rank_shift_table(folds=(1, 2), longest=60, median=40)
    figure = rank_shift_corrected(table, **{**MARKS, "marker_rank": 12.0})
    panels = [panel for panel in figure.axes if "full vs frozen" in panel.get_title("left")]
    assert len({panel.get_title("left") for panel in panels}) == len(panels) == 2
    assert panels[0].get_ylim() == panels[1].get_ylim()
    before, after = map(whole, panels)
    pooled = table[table.layer.isna()].groupby("rank")[["sum_a", "sum_b", "n_cells"]].sum()
    pooled = pooled[pooled.n_cells >= 10]
    np.testing.assert_allclose(before.get_ydata(), 100 * (pooled.sum_a / pooled.sum_b - 1))
    rows = table[table.layer.isna() & table["rank"].isin(pooled.index)]
    logs = np.log1p(rows.percent_residual / 100).groupby(rows["rank"]).mean()
    np.testing.assert_allclose(after.get_ydata(), 100 * np.expm1(logs))
    found = text(figure)
    n = table[table.layer.isna()].groupby("rank").n_cells.sum().max()
    assert states(found, n, 683)
    assert [numbers_in(word) for word in words(figure) if "MDM2" in word][0] == [12]
    table["percent_residual"] = np.nan
    plain, corrected = rank_shift_corrected(table).axes[:2]
    assert corrected.texts and not plain.texts, "why there is no line"


@pytest.mark.slow
def test_the_cosine_stands_beside_that_of_the_same_training_again():
    cosine = tables.cosine_table(PAIRS[:1], (1,)).assign(pearson=0.61)
    bounds = tables.bounds_table()
    of_fold = bounds.replace({"bound": {"other_seed": "other_fold"}})
    alone = tables.bounds_table(("last_layer",))
    figures = [figure4_cosine(cosine, beside) for beside in (bounds, of_fold, alone)]
    seed, fold, none = (numbers_of(figure, "full vs frozen") for figure in figures)
    assert seed[-3:] == fold[-3:] == [0.61, 0.97, 0.9]
    assert none[-1] == 0.61
    assert text(figures[0]) != text(figures[1]), "seeds and folds are told apart"


@pytest.mark.slow
def test_the_trainings_of_a_fold_count_its_cells_once():
    once = tables.rank_shift_table(longest=60, median=40)
    often = tables.rank_shift_table(seeds=(1, 2), longest=60, median=40)
    for change in (change_by_rank, change_by_layer):
        assert len(pool(change(once))) == len(pool(change(often)))
    assert (pool(change_by_rank(once)).n_cells == pool(change_by_rank(often)).n_cells).all()
    assert len(change_by_rank(often)) > len(change_by_rank(once))
    figure = figure4_cosine(tables.cosine_table(PAIRS[:1], (1, 2), seeds=(1, 2, 3)))
    assert numbers_of(figure, "full vs frozen")[:3] == [960, 2, 3]


def test_rank_shift_without_rows_of_all_layers_adds_the_layers_up():
    table = tables.rank_shift_table(longest=60, median=40)
    parts = table[table.layer.notna()]
    every, added = (whole(figure5_rank_shift(frame).axes[0]) for frame in (table, parts))
    np.testing.assert_allclose(every.get_ydata(), added.get_ydata())


@pytest.mark.slow
def test_rank_shift_names_its_marks_only_where_they_are_known():
    table = tables.rank_shift_table(longest=60, median=40)
    for rank in (12.0, 120.4):
        figure = figure5_rank_shift(table, **{**MARKS, "marker_rank": rank})
        (mark,) = [word for word in words(figure) if "MDM2" in word]
        assert numbers_in(mark) == [round(rank)]
        assert states(text(figure), 683), "beyond the last rank drawn"
    assert "MDM2" not in text(figure5_rank_shift(table, marker="MDM2", marker_rank=np.nan))


def test_equal_models_give_a_flat_line_and_a_sane_axis():
    table = tables.rank_shift_table(longest=60, median=40)
    table["sum_a"] = table["sum_b"]
    panel = figure5_rank_shift(table).axes[0]
    assert panel.get_ylim() == (-0.5, 0.5)
    assert figure6_rank_shift_layers(table) is not None


def test_layer_map_holds_the_change_of_each_layer():
    table = tables.rank_shift_table(longest=40, median=100, layers=2)
    table["sum_a"] = table["sum_b"] * np.where(table.layer.eq(2).fillna(False), 1.5, 1.0)
    image = figure6_rank_shift_layers(table).axes[0].images[0].get_array()
    assert image.shape == (2, 40)
    np.testing.assert_allclose(image[0], 0, atol=1e-9)
    np.testing.assert_allclose(image[1], 50)


@pytest.mark.slow
def test_attended_genes_are_coloured_by_de_and_the_base_rate_is_stated():
    genes = tables.attended_table(500)
    figure = figure7_attended_vs_de(genes, gene_set="p53_textbook", comparison="a vs b")
    left, _, right = figure.axes[:3]
    assert [t.get_text() for t in left.get_yticklabels()][:3] == ["MT-ND4", "MT-ATP6", "MDM2"]
    assert [t.get_fontweight() for t in left.get_yticklabels()][:3] == ["normal", "normal", "bold"]
    assert right.get_yticklabels()[0].get_text() == "MDM2"
    found = text(figure)
    assert "not tested" in found
    assert "DE rank 1" in found
    base = 100 * (genes.p_adj.dropna() < 0.05).mean()
    assert states(found, base, digits=0)
    assert plural(1, "gene") in found


@pytest.mark.slow
def test_norms_print_values_and_scale_colours_per_map():
    figure = figure9_norms(tables.norms_table(("full",), (1,), layers=2, heads=2))
    colours = figure.axes[0].collections[0].get_array()
    assert (colours.min(), colours.max()) == (0.0, 1.0)
    assert f"full\n{NORM_NAMES['output']}" in words(figure)


@pytest.mark.slow
def test_norms_of_a_regime_without_values_leave_its_cells_empty():
    table = tables.norms_table(("frozen", "full"), (1,), layers=2, heads=2)
    lost = (table.regime == "full") & (table.measure == "weighted")
    table.loc[lost, "mean"] = np.nan
    assert words(figure9_norms(table)).count("–") == 4


def test_empty_tables_give_a_figure_that_says_so():
    empties = [
        training_curves(tables.history_table().iloc[:0]),
        figure3_confusion(tables.confusion_table().iloc[:0]),
        forest(tables.metrics_table(), split="valid"),
        roar(tables.roar_table().iloc[:0]),
        figure4_cosine(tables.cosine_table().iloc[:0]),
        figure5_rank_shift(tables.rank_shift_table(longest=20, median=9).iloc[:0]),
        figure6_rank_shift_layers(tables.rank_shift_table(longest=20, median=9).iloc[:0]),
        rank_shift_corrected(tables.rank_shift_table(longest=20, median=9).iloc[:0]),
        figure9_norms(tables.norms_table().iloc[:0]),
        dose_screen(tables.screen_table().iloc[:0], **SCREEN),
    ]
    assert all(map(is_empty, empties))


@pytest.mark.slow
def test_categorical_columns_as_read_from_parquet_are_accepted():
    table = tables.cosine_table(folds=(1,)).astype({"a": "category", "b": "category"})
    assert "full vs frozen" in text(figure4_cosine(table))
    confusion = tables.confusion_table(["full"]).astype({"regime": "category"})
    metrics = tables.metrics_table().astype(
        {"regime": "category", "metric": "category", "split": "category", "unit": "category"}
    )
    figure3_confusion(confusion, metrics)
    forest(metrics.astype({"design": "category"}), **FOREST)
    roar(tables.roar_table().astype({"track": "category"}))
    shift = tables.rank_shift_table(longest=60, median=40).astype(
        {"a": "category", "b": "category"}
    )
    figure5_rank_shift(shift)
    figure6_rank_shift_layers(shift)
    rank_shift_corrected(shift)
    norms = tables.norms_table().astype({"measure": "category", "regime": "category"})
    figure9_norms(norms)


def test_gene_classes_show_every_control_and_say_what_was_listed():
    metrics, genes, classes = tables.gene_class_tables()
    found = text(gene_classes(metrics, genes, classes, task="dosage"))
    for part in (*NAMES.values(), "insensitive", plural(2, "seed")):
        assert part in found, part
    assert states(found, 0.74, 0.63, 0.49)
    assert states(found, 0.11, -0.01, 0.2), "what pretraining adds"
    assert states(found, len(classes), 95, 90), "listed, in the vocabulary, expressed"
    assert states(found, ((classes["class"] == "insensitive") & (classes.n_cells > 0)).sum())


def test_every_gene_is_drawn_once_at_its_score():
    metrics, genes, classes = tables.gene_class_tables()
    axes = gene_classes(metrics, genes, classes).axes[-1]
    drawn = np.concatenate([points.get_offsets()[:, 0] for points in axes.collections])
    pool = genes[(genes.regime == "pretrained") & genes.seed.isna()]
    np.testing.assert_allclose(np.sort(drawn), np.sort(pool.score))


@pytest.mark.slow
def test_scorecard_prints_one_models_pooled_numbers_and_marks_what_is_planted():
    card, _ = tables.scorecard_table()
    card.loc[card["regime"] == "frozen", "value"] = 0.777
    card.loc[card["seed"].notna(), "value"] = 0.555
    figure = scorecard(card, regime="full", simulated_sets=["planted"])
    found = words(figure)
    assert "planted (simulated)" in found
    assert found.count("8") == 4, "0.4 over a base rate of 0.05: two tracks, two sets"
    assert found.count("2") == 4
    assert found.count("+0.42") == 2
    assert found.count("+0.33") == 2
    assert found.count("1e-4") == 8
    assert not any("16" in word or "+0.78" in word or "+0.56" in word for word in found)
    assert "900" in text(figure)


@pytest.mark.slow
def test_scorecard_leaves_out_what_was_not_measured():
    card, _ = tables.scorecard_table(faithful=False)
    figure = scorecard(card, regime="full")
    assert "+0.33" not in words(figure), "the gain over random genes"
    assert "AUPRC" in text(figure) and states(text(figure), 45)
    without_sets = scorecard(tables.scorecard_table(truths=())[0], regime="full")
    assert "AUPRC" not in text(without_sets) and not states(text(without_sets), 45)
    assert "Spearman" in text(without_sets) and "+0.33" in words(without_sets)
    assert is_empty(scorecard(card.iloc[:0], regime="full"))


def test_similar_tracks_become_neighbours():
    rng = np.random.default_rng(0)
    group = np.array([0, 1, 0, 1, 0, 1])
    similarity = (group[:, None] == group) * 0.8 + 0.02 * rng.random((6, 6))
    order = seriated((similarity + similarity.T) / 2)
    assert group[order].tolist() in ([0, 0, 0, 1, 1, 1],), "the first track's group comes first"
    assert seriated(np.eye(2)).tolist() == [0, 1]
    assert is_empty(agreement(tables.scorecard_table()[1].iloc[:1], regime="full"))


def test_equal_length_shows_every_regime_measure_and_pair():
    figure = equal_length_figure()
    dots, genes, shares, curve = figure.axes
    table = tables.input_length_table().set_index(["regime", "measure"])
    assert [label.get_text() for label in dots.get_yticklabels()] == [
        *("full", "full equal length\n(tokens: equal length)"),
        "full equal depth\n(tokens: equal depth)",
        *("frozen", "frozen equal length\n(tokens: equal length)"),
    ]
    points = [line for line in dots.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == pytest.approx(
        table["value"].xs("accuracy", level="measure").tolist()
    )
    assert len([line for line in dots.lines if line.get_marker() != "o"]) == 5, "intervals"
    assert numbers_in(genes.get_xlabel()) == [30]
    percent = [line.get_xdata()[0] for line in shares.lines if line.get_marker() == "o"]
    assert percent == pytest.approx([6, 5, 4, 3, 2, 20, 20, 20, 20, 20])
    labels = [text.get_text() for text in curve.get_legend().get_texts()]
    assert [numbers_in(label) for label in labels] == [[200], [150]], "median lengths"
    assert labels[0].startswith("full vs frozen")
    assert labels[1].startswith("full equal length vs frozen equal length")


def test_tables_of_the_shift_hold_what_the_figures_draw():
    shift = tables.rank_shift_table(PAIRS[:2], longest=300, median=150)
    drawn = change_by_rank(shift, min_cells=10)
    assert list(drawn[["a", "b"]].drop_duplicates().itertuples(index=False, name=None)) == PAIRS[:2]
    total = shift[shift.layer.isna() & (shift.a == PAIRS[0][0]) & (shift.b == PAIRS[0][1])]
    at = total[total["rank"] == 7]
    row = drawn[(drawn.a == PAIRS[0][0]) & (drawn["rank"] == 7)]
    (pooled,) = row[row.seed.isna()].percent_change
    assert pooled == pytest.approx(100 * (at.sum_a.sum() / at.sum_b.sum() - 1))
    assert set(row.fold.dropna()) == set(at.fold)
    assert drawn[drawn.seed.isna()].n_cells.min() >= 10
    layers = change_by_layer(shift, min_cells=10)
    assert set(layers.layer) == set(shift.layer.dropna().astype(int))
    bins = layers[["rank_low", "rank_high"]].drop_duplicates().sort_values("rank_low")
    assert (bins.rank_low.to_numpy()[1:] == bins.rank_high.to_numpy()[:-1] + 1).all()
    low, high = bins.iloc[0]
    first = shift[(shift.layer == 1) & shift["rank"].between(low, high) & shift.seed.notna()]
    first = first[(first.a == PAIRS[0][0]) & (first.b == PAIRS[0][1])]
    expected = 100 * (first.sum_a.sum() / first.sum_b.sum() - 1)
    found = layers[(layers.a == PAIRS[0][0]) & (layers.layer == 1) & (layers.rank_low == low)]
    assert found.percent_change.item() == pytest.approx(expected)


@pytest.mark.parametrize("simulated", [True, False])
def test_a_plate_is_a_figure_with_its_table(tmp_path, simulated):
    paths = [tmp_path / f"f.{kind}" for kind in ("svg", "png", "tsv")]
    table = pd.DataFrame({"symbol": ["MDM2", "=A1"], "score": [0.5, np.nan]})
    save_plate(empty_figure("drawn"), table, paths, simulated=simulated)
    assert all(path.stat().st_size for path in paths)
    lines = paths[2].read_text().splitlines()
    mark = "\tsimulated", "\tTrue"
    assert lines == [
        "symbol\tscore" + mark[0] * simulated,
        "MDM2\t0.5" + mark[1] * simulated,
        "'=A1\t" + mark[1] * simulated,
    ]
