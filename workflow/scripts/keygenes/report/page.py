"""The report page: one HTML file that holds every figure, table, caption, config and version.

It needs no network, no script and no other file: styles are inline, figures are embedded. It
follows the reader's light or dark setting, prints, and fits a phone.
"""

import base64
import functools
import io
from pathlib import Path
from xml.etree import ElementTree

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from keygenes.core.files import intact, write_text
from keygenes.core.shown import printable_lines
from keygenes.evidence.verdicts import VERDICTS
from keygenes.report.figures_claims import MARKS, found_text
from keygenes.report.panels import distinct
from keygenes.report.style import count, number

HERE = Path(__file__).resolve().parent
TEMPLATES = (HERE / "page.html", HERE / "page.css")  # read by the page: inputs of its rule
MAX_SVG_BYTES = 300_000  # a larger vector figure is embedded as a picture
FIGURE_DPI = 300  # of the PNG files that `style.save_figure` writes
PAGE_DPI = 150
CSS_DPI = 120  # pixels per inch of figure: 8 point text comes out at 13 pixels
MAX_ROWS = 50  # of a table on the page; the file behind it has all


def _data_uri(data, kind):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _picture(path):
    """Return a figure as (data URI, width in CSS pixels), smaller than the file it comes from.

    A path to an SVG above `MAX_SVG_BYTES` is served from the PNG beside it.
    """
    path = Path(path)
    vector = path.with_suffix(".svg")
    raster = path.with_suffix(".png")
    if vector.is_file() and (vector.stat().st_size <= MAX_SVG_BYTES or not raster.is_file()):
        width = None
        if raster.is_file():
            with intact(raster), Image.open(raster) as image:
                width = round(image.width * CSS_DPI / FIGURE_DPI)
        with intact(vector):
            ElementTree.parse(vector)  # a damaged one would be an empty frame on the page
        return _data_uri(vector.read_bytes(), "svg+xml"), width
    with intact(raster), Image.open(raster) as image:
        width = round(image.width * CSS_DPI / FIGURE_DPI)
        scale = PAGE_DPI / FIGURE_DPI
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return _data_uri(buffer.getvalue(), "png"), width


def format_value(value):
    """Return a table cell as text: sensible digits, thousands separated, a dash for nothing."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if value is None or value is pd.NA or (np.isscalar(value) and pd.isna(value)):
        return "–"
    if isinstance(value, (int, np.integer)):
        return count(int(value))
    if isinstance(value, (float, np.floating)):
        if abs(value) >= 100 and float(value).is_integer():
            return count(value)
        return number(value, 3) if np.isfinite(value) else str(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(format_value(part) for part in value)
    return str(value)


def _is_number(series):
    return pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)


def _table(caption, frame, source):
    """Return what the template needs of a table."""
    shown = frame.head(MAX_ROWS)
    return {
        "caption": caption,
        "columns": [(str(name), bool(_is_number(frame[name]))) for name in frame.columns],
        "rows": [
            [format_value(value) for value in row]
            for row in shown.astype(object).itertuples(index=False, name=None)
        ],
        "left_out": len(frame) - len(shown),
        "n_rows": len(frame),
        "source": str(source) if source else "",
    }


def _figure(path, caption):
    picture, width = _picture(path)
    first = caption.split("\n", 1)[0]
    return {
        "name": Path(path).stem,
        "picture": Markup(picture),
        "width": width,
        "alt": first.split(". ")[0],
        "paragraphs": _paragraphs(caption),
    }


def _paragraphs(text):
    return [part.strip() for part in (text or "").split("\n\n") if part.strip()]


def _claims(table):
    """Return what the template needs of the verdicts: each claim with its readings."""
    if table is None:
        return []
    groups = []
    for claim in distinct(table["claim"]):
        rows = table[table["claim"] == claim]
        first = rows.iloc[0]
        readings = [
            {
                **{k: format_value(row[k]) for k in ("reading", "task", "thesis_value", "why")},
                "control": format_value(row["control"]),
                "found": found_text(row),
                "unit": "" if pd.isna(row["unit"]) else row["unit"],
                "n": "" if pd.isna(row["n"]) else f"n = {count(row['n'])} {row['n_of']}",
                "p": ""
                if pd.isna(row["p"])
                else f"p = {number(row['p'], 2)}, Holm {number(row['p_holm'], 2)}",
                "verdict": str(row["verdict"]),
                "mark": MARKS[str(row["verdict"])],
                "class": f"verdict-{VERDICTS.index(str(row['verdict']))}",
            }
            for _, row in rows.iterrows()
        ]
        names = {"id": claim, "statement": first["statement"], "where": first["where"]}
        groups.append({**names, "readings": readings})
    return groups


def _shown(value):
    return printable_lines(value) if type(value) is str else value  # Markup is our own


@functools.cache
def _template():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,  # gene names, class names and paths come from outside
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def write_page(
    path,
    *,
    title,
    study,
    simulated,
    headline,
    sections,
    config_yaml,
    versions,
    provenance,
):
    """Write the report as one self-contained HTML file, equal bytes for equal input.

    Parameters
    ----------
    path : path-like
    title, study : str
    simulated : bool or str
        If true, a banner says so; a text says what is simulated.
    headline : list of (str, object, str)
        Label, value and detail of the numbers that matter, e.g.
        ``("accuracy of level, full", 0.91, "95 % interval 0.88 to 0.94, n = 480 cells")``.
        Numbers are formatted, text is taken as it is.
    sections : list of dict
        title and text (paragraphs split by an empty line); figures: list of (path of the SVG or
        PNG, caption); tables: list of (caption, DataFrame, path of the file behind it or None);
        claims: table 'claims', shown whole, claim by claim.
        All but the title may be left out.
    config_yaml : str
        The configuration of the run.
    versions : dict
        {package: version}.
    provenance : dict
        {what: text}, e.g. data source, checksum, model, licence. Values are shown as text.

    Raises
    ------
    FileNotFoundError
        If a figure is not there.
    """
    content = _template().render(
        title=title,
        study=study,
        simulated=simulated,
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        headline=[(label, format_value(value), detail) for label, value, detail in headline],
        sections=[
            {
                "anchor": f"section-{i}",
                "title": section["title"],
                "paragraphs": _paragraphs(section.get("text")),
                "claims": _claims(section.get("claims")),
                "figures": [_figure(*figure) for figure in section.get("figures", ())],
                "tables": [_table(*table) for table in section.get("tables", ())],
            }
            for i, section in enumerate(sections, start=1)
        ],
        config_yaml=config_yaml,
        versions={name: str(version) for name, version in versions.items()},
        provenance={name: format_value(value) for name, value in provenance.items()},
    )
    write_text(content, path)
