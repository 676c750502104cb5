"""Figure 4: the attention of two models compared, layer by layer and head by head."""

import numpy as np

from keygenes.report.panels import (
    add_title,
    cosine_text,
    distinct_cells,
    layer_head,
    model_text,
    numbered,
    pairs_of,
    versus,
)
from keygenes.report.style import (
    add_note,
    count,
    empty_figure,
    heatmap,
    number,
    panel_grid,
    styled,
)
from keygenes.report.summaries import trained_again


def _bound_text(rows, bounds, regime):
    """Say what else the agreement of a pair is, and that of its first regime trained twice."""
    text = f"r {rows['pearson'].median():.2f}"
    again = None if bounds is None else trained_again(bounds, regime)
    if not again:
        return text
    bound, rows = again
    cosine, r = (rows[column].median() for column in ("cosine", "pearson"))
    name = {"other_seed": "again", "other_fold": "other fold"}[bound]
    return f"{text}; {name}: cos {cosine:.2f}, r {r:.2f}"


@styled
def figure4_cosine(cosine, bounds=None, *, task=None):
    """Draw the cosine similarity of two models' attention per layer and head, a panel per pair.

    Parameters
    ----------
    cosine : pandas.DataFrame
        Schema ``cosine``. Models (folds and trainings) are averaged.
    bounds : pandas.DataFrame, optional
        Schema ``comparison_bounds``.
    task : str, optional
    """
    pairs = pairs_of(cosine)
    if not pairs:
        return empty_figure("no pair of models to compare")
    layers, heads = int(cosine.layer.max()), int(cosine["head"].max())
    width = max(2.3, 0.4 * heads + 0.6, 4.8 / len(pairs))  # title and note need that much in all
    figure, axes = panel_grid(
        len(pairs),
        columns=3 if width < 3 else 1,
        width=width,
        height=0.24 * layers + 1.3,
    )
    lowest = float(np.floor(10 * cosine.cosine.min()) / 10)
    lowest = min(lowest, 0.9) if np.isfinite(lowest) else 0.0
    for panel, (a, b) in zip(axes, pairs, strict=True):
        rows = cosine[(cosine.a == a) & (cosine.b == b)]
        values = layer_head(rows, "cosine", layers, heads)
        digits = 3 if np.nanmin(values, initial=1.0) >= 0.95 else 2
        mesh = heatmap(
            panel,
            values,
            rows=numbered(layers),
            columns=numbered(heads),
            texts=[[cosine_text(value, digits) for value in row] for row in values],
            vmin=lowest,
            size=7 if heads <= 8 else 5.5,
        )
        spread = number(rows["sd"].median(), 2)
        n, models = distinct_cells(rows), model_text(rows)
        bound = _bound_text(rows, bounds, a)
        names = versus(a, b)
        if len(names) > 33 and width <= 3:
            names = names.replace(" vs ", "\nvs ")
        panel.set_title(f"{names}\nn = {count(n)} cells, {models}, sd {spread}\n{bound}")
        panel.set(xlabel="head", ylabel="layer")
    bar = figure.colorbar(mesh, ax=axes, aspect=25, pad=0.02, shrink=0.8)
    bar.set_label("cosine similarity")
    bar.outline.set_visible(False)
    add_title(figure, "Attention compared head by head", task)
    add_note(
        figure,
        "Cosine of the two models' full attention matrices, cell by cell, averaged over test cells"
        " and then over models (folds × trainings); 1: equal. sd: between the cells of a fold. r:"
        " correlation of the attention that genes receive. Again: the first model's regime trained"
        " on the same cells from another seed; other fold: on another fold, where each was trained"
        " once; both on at most 50 test cells per fold. sd and r: medians over layers and heads.",
    )
    return figure
