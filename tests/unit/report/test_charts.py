import io
import json
import re

import pandas as pd
import pytest
import report_tables as tables
import vl_convert
from stated import numbers_in

from keygenes.report.charts import CHARTS, MAX_POINTS, chart_spec
from keygenes.report.rank_changes import change_by_layer, change_by_rank
from keygenes.report.style import BLUE, SKY

HOSTILE = "<b>high</b>, \"quoted\" datum['x'] | \\n"
CLASSES = {"dose": tables.DOSES, "level": ["low", HOSTILE]}
DOSE = {"dose": tables.DOSES}


def umap():
    cells, labels = tables.umap_tables()
    labels["level"] = labels["level"].astype(str).replace("high", HOSTILE)
    return cells.merge(labels, on="cell")


def shift(**options):
    return tables.rank_shift_table([("full", "frozen")], **options)


def cosine():
    return tables.cosine_table().assign(spearman=0.5, jensen_shannon=0.1)


CASES = {
    "figure1_umap": lambda: (umap(), CLASSES),
    "training_curves": lambda: (tables.history_table(), DOSE),
    "figure3_confusion": lambda: (tables.confusion_table(), DOSE),
    "forest": lambda: (tables.metrics_table(), DOSE),
    "figure4_cosine": lambda: (cosine(), DOSE),
    "figure5_rank_shift": lambda: (change_by_rank(shift(longest=300, median=150)), DOSE),
    "figure6_rank_shift_layers": lambda: (change_by_layer(shift(longest=300, median=150)), DOSE),
    "figure9_norms": lambda: (tables.norms_table(), DOSE),
}


def data_of(spec):
    """Return all rows of a specification, read as the browser reads them."""
    parts = [pd.read_csv(io.StringIO(text)) for text in spec["datasets"].values()]
    return pd.concat(parts, ignore_index=True)


def test_every_chart_is_tried():
    assert set(CASES) == set(CHARTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_charts_are_drawn_from_what_the_file_holds(name):
    table, classes = CASES[name]()
    text = dict.fromkeys([*classes, "true", "predicted", "regime"], str)
    read = pd.read_csv(io.StringIO(table.to_csv(sep="\t", index=False)), sep="\t", dtype=text)
    spec = chart_spec(name, read, classes)
    assert vl_convert.vegalite_to_svg(spec).startswith("<svg")
    assert json.dumps(spec) == json.dumps(chart_spec(name, read, classes))
    assert len(data_of(spec))


def test_an_empty_table_and_a_figure_without_a_chart_have_none():
    assert chart_spec("figure4_cosine", cosine().head(0), DOSE) is None
    assert chart_spec("agreement", cosine(), DOSE) is None


@pytest.mark.slow
def test_classes_keep_order_and_text():
    spec = chart_spec("figure1_umap", umap(), CLASSES)
    drawn = vl_convert.vegalite_to_svg(spec)
    assert "&lt;b&gt;high" in drawn
    assert "<b>high" not in drawn
    places = [drawn.index(f">{dose}<") for dose in tables.DOSES]
    assert places == sorted(places)


def test_confusion_shares_are_of_the_true_class():
    rows = data_of(chart_spec("figure3_confusion", *CASES["figure3_confusion"]()))
    assert "majority" not in set(rows["regime"])
    totals = rows.groupby(["regime", "true"])["share"].sum()
    assert totals.between(0.999, 1.001).all()


def test_charts_name_models_as_one_speaks_of_them():
    table = tables.cosine_table([("full_equal_length", "upstream_freeze6")])
    rows = data_of(chart_spec("figure4_cosine", cosine().assign(a=table.a[0], b=table.b[0]), DOSE))
    assert set(rows["pair"]) == {"full equal length vs upstream freeze6"}
    regimes = data_of(chart_spec("training_curves", tables.history_table(("last_layer",)), DOSE))
    assert set(regimes["regime"]) == {"last layer"}


@pytest.mark.slow
def test_every_fold_has_a_colour_of_its_own():
    table = change_by_rank(shift(folds=(1, 2, 3, 4, 5), seeds=(1, 2), longest=30, median=15))
    spec = chart_spec("figure5_rank_shift", table, DOSE)
    scale = spec["spec"]["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == ["all cells", *(f"fold {i}" for i in range(1, 6))]
    assert len(set(scale["range"])) == 6
    assert scale["range"][:2] == [BLUE, SKY], "as in the figure"


@pytest.mark.parametrize(("heads", "columns"), [(4, 4), (8, 3), (18, 1), (64, 1)])
def test_as_many_panels_stand_side_by_side_as_the_page_is_wide(heads, columns):
    table = tables.cosine_table(heads=heads).assign(spearman=0.5, jensen_shannon=0.1)
    assert chart_spec("figure4_cosine", table, DOSE)["columns"] == columns


def test_training_stands_in_three_columns():
    assert chart_spec("training_curves", tables.history_table(tables.REGIMES), DOSE)["columns"] == 3


@pytest.mark.slow
def test_long_cells_are_drawn_pooled():
    table = change_by_rank(shift(longest=2048, median=900))
    many = pd.concat([table.assign(b=f"b{i}") for i in range(1 + MAX_POINTS // len(table))])
    whole, pooled = (data_of(chart_spec("figure5_rank_shift", t, DOSE)) for t in (table, many))
    assert set(whole["of"]) == {"all cells", "fold 1", "fold 2", "fold 3"}
    assert set(pooled["of"]) == {"all cells"}


def test_of_many_cells_every_second_is_drawn():
    cells, labels = tables.umap_tables(n=MAX_POINTS + 1)
    drawn = chart_spec("figure1_umap", cells.merge(labels, on="cell"), DOSE)
    assert len(data_of(drawn)) == MAX_POINTS // 2 + 1
    titles = re.findall(r'"title": "([^"]*)"', json.dumps(drawn))
    assert any(2 in numbers_in(title) for title in titles), "one cell in 2"
