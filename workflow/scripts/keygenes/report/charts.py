"""The charts of the page: the table of a figure in, a Vega-Lite chart of the same numbers out.

Colours and fonts that follow the reader's light or dark setting are set where the page draws them.
"""

import altair as alt
import pandas as pd

from keygenes.report.panels import distinct, pool, spoken
from keygenes.report.style import (
    BLUE,
    DIVERGING,
    GREEN,
    ORANGE,
    PURPLE,
    SEQUENTIAL,
    SKY,
    VERMILLION,
    class_colours,
)

PANEL = 190  # pixels
PAGE = 940  # pixels that the page has for panels side by side, their axes included
STEP = 26  # pixels of a cell of a map
AXES = 55  # pixels of a panel's labels and of the room to the next
FOLDS = (SKY, PURPLE, GREEN, ORANGE, VERMILLION)  # single folds, beside the pool in BLUE
MAX_POINTS = 15_000  # of one chart
BELOW = alt.Legend(orient="bottom")  # leaves the width to the panels
SCHEMES = {SEQUENTIAL: "viridis", DIVERGING: "purpleorange"}


def _hex(colour):
    if isinstance(colour, str):
        return colour
    return "#" + "".join(f"{round(255 * part):02X}" for part in colour)


def _pairs(table):
    """Return the table with a column pair ("a vs b"), and the pairs in their order."""
    table = table.assign(pair=table["a"] + " vs " + table["b"])
    return table, distinct(table["pair"])


def _columns(width):
    """Return how many panels of a width stand side by side on the page, at most 4."""
    return max(1, min(4, PAGE // (width + AXES)))


def _map(table, x, y, colour, tooltip, step=STEP):
    """Return a map of coloured cells, each `step` pixels wide."""
    base = alt.Chart(table).mark_rect().encode(x=x, y=y, color=colour, tooltip=tooltip)
    return base.properties(width=alt.Step(step), height=alt.Step(step))


def umap(table, classes):
    """Return Figure 1: the cells, a panel per task."""
    every = -(-len(table) // MAX_POINTS)
    table = table[["cell", "umap1", "umap2", *classes]].iloc[::every]
    thinned = f" (one cell in {every})" if every > 1 else ""
    fields = {task: f"class {i}" for i, task in enumerate(classes)}  # a name may be an expression
    base = alt.Chart(table.rename(columns=fields)).mark_circle(size=14, opacity=0.8)
    tooltip = ["cell:N", *(alt.Tooltip(f"{fields[task]}:N", title=task) for task in classes)]
    bare = {"axis": alt.Axis(ticks=False, labels=False), "scale": alt.Scale(zero=False)}
    panels = []
    for i, (task, names) in enumerate(classes.items()):
        colours = [_hex(colour) for colour in class_colours(names).values()]
        panel = base.encode(
            x=alt.X("umap1:Q", title="UMAP 1", **bare),
            y=alt.Y("umap2:Q", title="UMAP 2", **bare),
            color=alt.Color(
                f"{fields[task]}:N", title=task, scale=alt.Scale(domain=names, range=colours)
            ),
            tooltip=tooltip,
        )
        zoom = alt.selection_interval(name=f"zoom{i}", bind="scales")
        panels.append(
            panel.add_params(zoom).properties(width=320, height=300, title=f"{task}{thinned}")
        )
    return alt.concat(*panels, columns=2).resolve_scale(color="independent")


def training(table, _classes):
    """Return the loss per epoch of every model."""
    long = table.melt(
        ["regime", "fold", "seed", "epoch", "best", "valid_accuracy"],
        ["train_loss", "valid_loss"],
        "loss of",
        "loss",
    )
    names = {"train_loss": "training cells", "valid_loss": "validation cells"}
    long["loss of"] = long["loss of"].map(names)
    base = alt.Chart(long).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("loss:Q", title="cross-entropy (nats)"),
        color=alt.Color(
            "loss of:N",
            scale=alt.Scale(domain=list(names.values()), range=[SKY, BLUE]),
            legend=BELOW,
        ),
        detail=["fold:N", "seed:N"],
        tooltip=[
            *("regime:N", "fold:Q", "seed:Q", "epoch:Q", "loss of:N", "loss:Q"),
            "valid_accuracy:Q",
        ],
    )
    lines = base.mark_line(point=alt.OverlayMarkDef(size=18))
    kept = base.transform_filter("datum.best && datum['loss of'] === 'validation cells'")
    kept = kept.mark_point(size=90, color=VERMILLION).encode(color=alt.value(VERMILLION))
    layers = (lines + kept).properties(width=PANEL, height=150)
    return layers.facet(
        alt.Facet("regime:N", sort=distinct(table["regime"]), title=None), columns=_columns(PANEL)
    )


def confusion(table, classes):
    """Return Figure 3: true against predicted class of the pooled test cells, a map per regime."""
    table = table[table["regime"] != "majority"]
    keys = ["regime", "true", "predicted"]
    cells = pool(table)[[*keys, "n_cells"]]
    totals = cells.groupby(["regime", "true"], observed=True)["n_cells"].transform("sum")
    cells = cells.assign(share=cells["n_cells"] / totals)
    (order,) = classes.values()
    step = 34  # pixels: room for "100%"
    chart = _map(
        cells,
        alt.X("predicted:N", sort=order),
        alt.Y("true:N", sort=order),
        alt.Color(
            "share:Q",
            title="share of the true class",
            scale=alt.Scale(scheme=SCHEMES[SEQUENTIAL], domain=[0, 1]),
            legend=BELOW,
        ),
        [
            *(f"{key}:N" for key in keys),
            alt.Tooltip("n_cells:Q", title="cells"),
            alt.Tooltip("share:Q", format=".0%"),
        ],
        step=step,
    )
    dark = alt.condition("datum.share < 0.6", alt.value("white"), alt.value("black"))
    texts = chart.mark_text(fontSize=10).encode(text=alt.Text("share:Q", format=".0%"), color=dark)
    regimes = alt.Facet("regime:N", sort=distinct(cells["regime"]), title=None)
    return (chart + texts).facet(regimes, columns=_columns(step * len(order)))


def forest(table, _classes):
    """Return the accuracy of every regime and baseline with its interval."""
    rows = pool(table[table["split"] == "test"])
    rows = rows[rows["metric"].isin(["accuracy", "balanced_accuracy"])]
    rows = rows.assign(metric=rows["metric"].str.replace("_", " ")).drop(columns="p")
    base = alt.Chart(rows).encode(
        y=alt.Y("regime:N", sort=distinct(rows["regime"]), title=None),
        color=alt.Color(
            "design:N",
            title="held out by",
            scale=alt.Scale(domain=["grouped", "random"], range=[BLUE, ORANGE]),
        ),
        yOffset=alt.YOffset("design:N", sort=["grouped", "random"]),
        tooltip=[
            *("regime:N", "design:N", "metric:N"),
            *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("value", "ci_low", "ci_high")),
            *("n_cells:Q", "n_units:Q", "unit:N", "covers:N"),
        ],
    )
    value = alt.X("value:Q", title="value on pooled test cells", scale=alt.Scale(zero=False))
    ends = {"x": alt.X("ci_low:Q", title="value on pooled test cells"), "x2": "ci_high:Q"}
    drawn = base.mark_rule(strokeWidth=2).encode(**ends) + base.mark_point(
        filled=True, size=45, opacity=1
    ).encode(x=value)
    drawn = drawn.properties(width=300, height=alt.Step(15))
    return drawn.facet(alt.Facet("metric:N", title=None), columns=2)


def cosine(table, _classes):
    """Return Figure 4: the similarity of two models' attention, a map of layer x head per pair."""
    table, pairs = _pairs(table)
    keys = ["pair", "layer", "head"]
    columns = ["cosine", "pearson", "spearman", "jensen_shannon"]
    means = table.groupby(keys, sort=False)[columns].mean().reset_index()
    chart = _map(
        means,
        alt.X("head:O", axis=alt.Axis(labelAngle=0)),
        "layer:O",
        alt.Color(
            "cosine:Q", scale=alt.Scale(scheme=SCHEMES[SEQUENTIAL], domainMax=1), legend=BELOW
        ),
        ["pair:N", "layer:O", "head:O", *(alt.Tooltip(f"{c}:Q", format=".4f") for c in columns)],
    )
    panels = alt.Facet("pair:N", sort=pairs, title=None)
    return chart.facet(panels, columns=_columns(STEP * table["head"].nunique()))


def rank_shift(table, _classes):
    """Return Figure 5: the change of attention received per rank, a panel per pair."""
    table, pairs = _pairs(table[table["percent_change"].notna()])
    if len(table) > MAX_POINTS:  # long cells: the pool alone
        table = pool(table)
    table = table.assign(of=table["fold"].map("fold {:.0f}".format, na_action="ignore"))
    table["of"] = table["of"].fillna("all cells")
    folds = [name for name in distinct(table["of"]) if name != "all cells"]
    colours = [FOLDS[i % len(FOLDS)] for i in range(len(folds))]
    table = table[["pair", "of", "seed", "rank", "percent_change", "n_cells"]]
    base = alt.Chart(table).encode(
        x=alt.X("rank:Q", title="rank in the cell's encoding (1: first)"),
        y=alt.Y("percent_change:Q", title="change (%)"),
        color=alt.Color(
            "of:N",
            title=None,
            scale=alt.Scale(domain=["all cells", *folds], range=[BLUE, *colours]),
            legend=alt.Legend(symbolStrokeWidth=3),
        ),
        tooltip=[
            *("pair:N", "of:N", "seed:Q", "rank:Q"),
            alt.Tooltip("percent_change:Q", title="change (%)", format=".2f"),
            "n_cells:Q",
        ],
    )
    lines = base.transform_filter("datum.of !== 'all cells'").mark_line(strokeWidth=1)
    lines = lines.encode(detail="seed:N")  # the trainings of a fold share its colour
    pooled = base.transform_filter("datum.of === 'all cells'").mark_line(strokeWidth=1.6)
    zoom = alt.selection_interval(bind="scales", encodings=["x"])
    panel = (lines.add_params(zoom) + pooled).properties(width=620, height=110)
    return panel.facet(row=_row(pairs)).resolve_scale(y="independent")


def _row(pairs):
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold")
    return alt.Row("pair:N", sort=pairs, title=None, header=header)


def rank_shift_layers(table, _classes):
    """Return Figure 6: the change of attention received per layer and bin of ranks."""
    table, pairs = _pairs(table[table["percent_change"].notna()])
    top = float(table["percent_change"].abs().quantile(0.98)) or 1.0
    colour = alt.Color(
        "percent_change:Q",
        title="change (%)",
        scale=alt.Scale(scheme=SCHEMES[DIVERGING], domain=[-top, top], clamp=True),
    )
    table = table.assign(rank_low=table["rank_low"] - 0.5, rank_high=table["rank_high"] + 0.5)
    panel = (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X("rank_low:Q", title="rank in the cell's encoding (1: first)"),
            x2="rank_high:Q",
            y="layer:O",
            color=colour,
            tooltip=[
                *("pair:N", "layer:O"),
                alt.Tooltip("rank_low:Q", title="from rank", format=".0f"),
                alt.Tooltip("rank_high:Q", title="to rank", format=".0f"),
                alt.Tooltip("percent_change:Q", title="change (%)", format=".2f"),
            ],
        )
        .properties(width=620, height=alt.Step(14))
    )
    return panel.facet(row=_row(pairs))


def norms(table, _classes):
    """Return Figure 9: the norms per layer and head, a map per regime."""
    rows = table[(table["subset"] == "test") & (table["measure"] == "weighted")]
    means = rows.groupby(["regime", "layer", "head"], sort=False)[["mean", "sd"]].mean()
    chart = _map(
        means.reset_index(),
        alt.X("head:O", axis=alt.Axis(labelAngle=0)),
        "layer:O",
        alt.Color(
            "mean:Q",
            title="Σ ‖αf(x)‖",
            scale=alt.Scale(scheme=SCHEMES[SEQUENTIAL]),
            legend=BELOW,
        ),
        [
            "regime:N",
            "layer:O",
            "head:O",
            *(alt.Tooltip(f"{c}:Q", format=".4g") for c in ("mean", "sd")),
        ],
    )
    regimes = alt.Facet("regime:N", sort=distinct(rows["regime"]), title=None)
    return chart.facet(regimes, columns=_columns(STEP * rows["head"].nunique()))


CHARTS = {
    "figure1_umap": umap,
    "training_curves": training,
    "figure3_confusion": confusion,
    "forest": forest,
    "figure4_cosine": cosine,
    "figure5_rank_shift": rank_shift,
    "figure6_rank_shift_layers": rank_shift_layers,
    "figure9_norms": norms,
}


def chart_spec(name, table, classes):
    """Return the Vega-Lite specification of a figure's chart, or None where it has none.

    Parameters
    ----------
    name : str
        Of the figure, e.g. ``figure4_cosine``.
    table : pandas.DataFrame
        What the figure's TSV holds; classes as text.
    classes : dict {task: list of str}
        Of the figure's tasks, in their order.
    """
    if name not in CHARTS or table.empty:
        return None
    with alt.data_transformers.enable("default", max_rows=None):  # bounded by MAX_POINTS
        return _compact(CHARTS[name](_spoken(table), classes).to_dict())


def _spoken(table):
    """Return a table with its regimes named as a reader reads them."""
    names = [column for column in ("regime", "a", "b") if column in table]
    return table.assign(**{column: table[column].astype(str).map(spoken) for column in names})


def _compact(spec):
    """Return a specification whose data are CSV: a third of the size of a record per row."""
    parse = {}
    for name, rows in spec["datasets"].items():
        frame = pd.DataFrame(rows)
        flags = [c for c, kind in frame.dtypes.items() if pd.api.types.is_bool_dtype(kind)]
        frame[flags] = frame[flags].astype(int)  # JavaScript takes the text False for true
        parse[name] = {
            column: "number" if pd.api.types.is_numeric_dtype(kind) else "string"
            for column, kind in frame.dtypes.items()
        }
        spec["datasets"][name] = frame.to_csv(index=False, float_format="%.5g", lineterminator="\n")
    return _with_formats(spec, parse)


def _with_formats(part, parse):
    """Return a specification in which every mention of a dataset says how to read it."""
    if isinstance(part, list):
        return [_with_formats(item, parse) for item in part]
    if not isinstance(part, dict):
        return part
    found = {
        key: value if key == "datasets" else _with_formats(value, parse)
        for key, value in part.items()
    }
    if part.get("name") in parse:
        found["format"] = {"type": "csv", "parse": parse[part["name"]]}
    return found
