"""The look of every figure: colours, sizes, and how a figure becomes two files.

Figures are made from `matplotlib.figure.Figure` directly, without pyplot: no global state, no
display, equal bytes for equal tables.
"""

import functools
import textwrap

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from keygenes.core.files import written

# Okabe and Ito: eight colours that stay apart under every common form of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
CATEGORIES = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)
GREY, PALE = "#8A8A8A", "#D9D9D9"
UP, DOWN = VERMILLION, BLUE
SEQUENTIAL, DIVERGING = "viridis", "PuOr_r"

STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # gene symbols and class names are never formulas
    "savefig.dpi": 300,
    "svg.fonttype": "path",
    "svg.hashsalt": "keygenes",  # without it the ids in an SVG are random
}

NOTE_SIZE = 6.5  # points
NOTE_CHARACTERS = 19  # of a note per inch of figure width, at NOTE_SIZE


def styled(function):
    """Run `function` under `STYLE` alone, whatever matplotlibrc the user has."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return function(*args, **kwargs)

    return wrapper


def panel_grid(n, *, columns, width, height, margin=0.0, **subplots):
    """Return a figure and `n` axes, at most `columns` side by side.

    Parameters
    ----------
    n, columns : int
    width, height : float
        Of one panel, inches.
    margin : float
        Width to add on the right, inches, e.g. for a colour bar.
    **subplots
        Passed to `Figure.subplots`.
    """
    columns = max(1, min(n, columns))
    rows = max(1, -(-n // columns))
    figure = Figure(figsize=(columns * width + margin, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **subplots).ravel()
    for extra in axes[n:]:
        extra.remove()
    return figure, list(axes[:n])


def empty_figure(message):
    """Return a figure that says in words why there is nothing to draw."""
    figure = Figure(figsize=(4.0, 1.2), layout="constrained")
    figure.text(0.5, 0.5, message, ha="center", va="center", color=GREY)
    return figure


def add_note(figure, text, legend=None):
    """Write `text` below the figure: n, test, units, whatever the axes have no room for.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    text : str
    legend : (list, list), optional
        Handles and labels of a legend to set between the figure and the text.
    """
    top = -0.06  # inches, measured from the lower edge of the figure
    inch = 1 / figure.get_figheight()
    if legend and legend[0]:
        figure.legend(
            *legend,
            loc="upper left",
            bbox_to_anchor=(0.005, top * inch),
            bbox_transform=figure.transFigure,  # the default anchor moves under a tight crop
            borderaxespad=0.0,
            borderpad=0.0,
            ncols=len(legend[0]),
        )
        top -= 0.22
    wrapped = textwrap.fill(text, int(figure.get_figwidth() * NOTE_CHARACTERS))
    figure.text(
        0.005, top * inch, wrapped, ha="left", va="top", fontsize=NOTE_SIZE, color="#404040"
    )


def class_order(values):
    """Return the classes in `values` in reading order: numbers by value, others as they come.

    Parameters
    ----------
    values : pandas.Series
        A categorical series keeps its own order unless its classes are numbers.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        classes = [c for c in values.cat.categories if (values == c).any()]
    else:
        classes = list(pd.unique(values.dropna()))
    return sorted(classes, key=float) if all_numbers(classes) else classes


def all_numbers(classes):
    """Return whether every class is a finite number, as doses are."""
    try:
        return bool(np.isfinite([float(c) for c in classes]).all())
    except (TypeError, ValueError):
        return False


def class_colours(classes):
    """Return {class: colour}: a sequential scale for numbers, Okabe-Ito for other classes.

    Doses are ordered, so their colours are as well; more than eight categories fall back to
    the sequential scale.
    """
    if (all_numbers(classes) and len(classes) > 2) or len(classes) > len(CATEGORIES):
        scale = matplotlib.colormaps[SEQUENTIAL](np.linspace(0.0, 0.92, len(classes)))
        return {
            c: tuple(float(v) for v in rgba[:3]) for c, rgba in zip(classes, scale, strict=True)
        }
    return dict(zip(classes, CATEGORIES, strict=False))


def text_colour(background):
    """Return black or white, whichever is easier to read on `background`."""
    red, green, blue = to_rgb(background)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def heatmap(
    axes, values, *, rows, columns, texts=None, cmap=SEQUENTIAL, vmin=0.0, vmax=1.0, size=6
):
    """Draw a matrix as a grid of coloured cells, first row on top, and return the mesh.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    values : float array [n_rows, n_columns]
        NaN cells are drawn pale, with a dash.
    rows, columns : list of str
        Tick labels.
    texts : list of list of str, optional
        What is printed in each cell.
    vmin, vmax : float
        Ends of the colour scale.
    size : float
        Font size of `texts`, points.
    """
    values = np.asarray(values, dtype=float)
    colours = matplotlib.colormaps[cmap].with_extremes(bad=PALE)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=colours, vmin=vmin, vmax=vmax, edgecolor="white", lw=0.6
    )
    for i, j in np.ndindex(values.shape):
        if np.isnan(values[i, j]):
            axes.text(j + 0.5, i + 0.5, "–", ha="center", va="center", fontsize=size, color=GREY)
        elif texts is not None:
            axes.text(
                j + 0.5,
                i + 0.5,
                texts[i][j],
                ha="center",
                va="center",
                fontsize=size,
                linespacing=1.1,
                color=text_colour(mesh.cmap(mesh.norm(values[i, j]))),
            )
    axes.set_xticks(np.arange(values.shape[1]) + 0.5, columns)
    axes.set_yticks(np.arange(values.shape[0]) + 0.5, rows)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    for spine in axes.spines.values():
        spine.set_visible(False)
    return mesh


def count(value):
    """Return a whole number with its thousands separated, or a dash."""
    return f"{value:,.0f}" if value is not None and np.isfinite(value) else "–"


def number(value, digits=3):
    """Return a number for a reader: `digits` significant digits, thousands separated."""
    if value is None or not np.isfinite(value):
        return "–"
    value = float(value)
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}g}"


@styled
def save_figure(figure, svg_path, png_path, *, simulated):
    """Write a figure as SVG and as PNG (300 dpi), each atomically, equal bytes for equal input.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    svg_path, png_path : path-like
    simulated : bool or str
        If true, both carry a visible mark of simulated data. It stands above
        the figure's own area, so that it hides nothing.
    """
    mark = figure.text(
        0.995,
        1.01,
        "simulated data",
        ha="right",
        va="bottom",
        fontsize=7,
        fontweight="bold",
        color="white",
        bbox={"facecolor": VERMILLION, "edgecolor": "none", "boxstyle": "round,pad=0.35"},
        visible=bool(simulated),
    )
    options = {"bbox_inches": "tight", "pad_inches": 0.06, "facecolor": "white"}
    try:
        with written(svg_path) as part:
            figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None}, **options)
        with written(png_path) as part:
            figure.savefig(part, format="png", metadata={"Software": None}, **options)
    finally:
        mark.remove()
