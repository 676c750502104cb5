"""The verdicts as one figure: what was claimed, what is found, one verdict, the other readings."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from keygenes.evidence.verdicts import (
    FAILS,
    HOLDS,
    PART,
    UNDECIDED,
    UNTESTABLE,
    of_claims,
    tally,
)
from keygenes.report.panels import distinct
from keygenes.report.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    PALE,
    VERMILLION,
    add_note,
    empty_figure,
    number,
    styled,
)

# A shape for each, so that they also differ in black and white.
MARKS = {HOLDS: "●", PART: "◐", FAILS: "○", UNDECIDED: "?", UNTESTABLE: "–"}
COLOURS = {HOLDS: BLUE, PART: ORANGE, FAILS: VERMILLION, UNDECIDED: BLACK, UNTESTABLE: GREY}
PER_LINE = 6  # marks side by side


def found_text(row):
    """Return a value with its interval, e.g. "0.49 (0.45 to 0.53)".

    A range of single models or seeds is said to be one, as the value of all together may lie
    outside.
    """
    if pd.isna(row["value"]):
        return "–"
    if pd.isna(row["ci_low"]):
        return number(row["value"])
    words = str(row["unit"]).split()
    of = f"{' '.join(words[-2:])} " if words[-2:-1] == ["single"] else ""
    return f"{number(row['value'])} ({of}{number(row['ci_low'])} to {number(row['ci_high'])})"


def by_chance(row):
    """Return how often a study with nothing behind it earns this, e.g. "by chance 5 %"; or ''."""
    if pd.isna(row["null_holds"]):
        return ""
    return f"by chance {row['null_holds']:.0%}, in part {row['null_in_part']:.0%}"


def quantity(unit):
    """Return what a value is, without what its interval is: the part before the semicolon."""
    return "" if pd.isna(unit) else str(unit).split(";")[0]


@styled
def claims(table, *, title):
    """Draw a row per claim: statement, claimed, found, its verdict, marks of its other readings.

    Parameters
    ----------
    table : pandas.DataFrame
        Table 'claims'.
    title : str
    """
    if table.empty:
        return empty_figure("no claims")
    lines = []
    for claim in distinct(table["claim"]):
        rows = table[table["claim"] == claim]
        row = of_claims(rows).iloc[0]
        here = textwrap.wrap(found_text(row), 29) + textwrap.wrap(quantity(row["unit"]), 29)
        lines.append(
            {
                "id": claim,
                "statement": textwrap.wrap(row["statement"], 52),
                "reading": textwrap.wrap(f"{row['reading']}, task {row['task']}", 62),
                "thesis": textwrap.wrap(row["thesis_value"], 13),
                "here": here,
                "verdict": str(row["verdict"]),
                "chance": textwrap.wrap(by_chance(row), 17),
                "others": rows.loc[~rows["primary"].astype(bool), "verdict"].astype(str).tolist(),
            }
        )
    unit = 0.155  # inches per line of text
    heights = [
        max(
            len(line["statement"]) + 0.85 * len(line["reading"]),
            len(line["thesis"]),
            len(line["here"]),
            1.2 + len(line["chance"]),
            -(-len(line["others"]) // PER_LINE) * 1.2,
        )
        * unit
        + 0.1
        for line in lines
    ]
    width, head = 11.0, 0.3
    total = head + sum(heights) + 0.36
    figure = Figure(figsize=(width, total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(total, 0))
    axes.axis("off")
    left = {
        "id": 0.06,
        "statement": 0.36,
        "thesis": 4.5,
        "here": 5.75,
        "verdict": 7.9,
        "marks": 9.35,
    }
    text = {"va": "top", "color": BLACK, "linespacing": 1.15}
    for name, label in {
        "statement": "claim, and the reading that the numbers are of",
        "thesis": "claimed",
        "here": "found here",
        "verdict": "verdict",
        "marks": "other readings and tasks",
    }.items():
        axes.text(left[name], 0.06, label, fontsize=8, **{**text, "color": "#404040"})
    y = head
    for line, height in zip(lines, heights, strict=True):
        axes.plot([0, width], [y, y], color=PALE, lw=0.8)
        at = y + 0.05
        axes.text(left["id"], at, line["id"], fontsize=9, fontweight="bold", **text)
        axes.text(left["statement"], at, "\n".join(line["statement"]), fontsize=9, **text)
        axes.text(
            left["statement"],
            at + len(line["statement"]) * unit,
            "\n".join(line["reading"]),
            fontsize=7,
            **{**text, "color": "#404040"},
        )
        for name in ("thesis", "here"):
            axes.text(left[name], at, "\n".join(line[name]), fontsize=8.5, **text)
        mark = {"fontsize": 13, "ha": "center", "va": "center", "color": COLOURS[line["verdict"]]}
        axes.text(left["verdict"] + 0.08, at + 0.07, MARKS[line["verdict"]], **mark)
        beside = {"fontsize": 8.5, "va": "center", "color": COLOURS[line["verdict"]]}
        axes.text(left["verdict"] + 0.22, at + 0.07, line["verdict"], **beside)
        small = {"fontsize": 7, **text, "color": "#404040"}
        axes.text(left["verdict"] + 0.22, at + 1.1 * unit, "\n".join(line["chance"]), **small)
        for i, verdict in enumerate(line["others"]):
            row, column = divmod(i, PER_LINE)
            axes.text(
                left["marks"] + 0.08 + 0.26 * column,
                at + 0.07 + 1.2 * unit * row,
                MARKS[verdict],
                fontsize=13,
                ha="center",
                va="center",
                color=COLOURS[verdict],
            )
        y += height
    axes.plot([0, width], [y, y], color=PALE, lw=0.8)
    for i, (verdict, n) in enumerate(tally(of_claims(table)["verdict"]).items()):
        at = left["statement"] + 2.1 * i
        key = {"fontsize": 9, "va": "center", "color": COLOURS[verdict]}
        axes.text(at, y + 0.19, MARKS[verdict], **{**key, "fontsize": 13, "ha": "center"})
        axes.text(at + 0.16, y + 0.19, f"{verdict}: {n}", **key)
    figure.text(
        0.006, 1 + 0.1 / total, title, fontsize=10, fontweight="bold", ha="left", va="bottom"
    )
    add_note(
        figure,
        f"Counts are of the {len(lines)} claims: the verdict of a claim is that of its primary "
        "reading, which the numbers are of, with its 95 % interval over wells or, where there is "
        "none, the range of single models. By chance: how often a study with nothing behind it "
        "holds, and holds in part. The other marks are in the order of the table.",
    )
    return figure


def claim_plates(tables, params, task):
    """Return the figure and its numbers, for `core.figures`."""
    return {"claims": (claims(tables["claims"], title=params["title"]), tables["claims"])}
