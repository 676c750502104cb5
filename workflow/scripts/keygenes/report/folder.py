"""The folder of the report beside its page: code, data, figures. It opens from disk, offline.

Data are packed (JSON, gzip, base64) into scripts, as a page on disk may not read other files.
"""

import base64
import gzip
import importlib.metadata
import io
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import altair
import itables
import vl_convert
from PIL import Image

from keygenes.core.files import intact, write_text, written

HERE = Path(__file__).resolve().parent
TEMPLATES = (HERE / "page.html", HERE / "page.css", HERE / "page.js")  # inputs of the page's rule
MAX_SVG_BYTES = 300_000  # a larger vector figure is shown as a picture
FIGURE_DPI = 300  # of the PNG files that `style.save_figure` writes
PAGE_DPI = 150
CSS_DPI = 120  # pixels per inch of figure: 8 point text comes out at 13 pixels
EXPORT = re.compile(r"export\s*\{([^}]*)\};?")
SHIPPED = {  # who made what is in the assets, and where its licence is
    "vega.js": "Vega, Vega-Lite, Vega-Embed (BSD 3-Clause, University of Washington Interactive "
    "Data Lab), as bundled by vl-convert-python {vl-convert-python}",
    "tables.js, tables.css": "DataTables (MIT, SpryMedia Ltd) and jQuery (MIT, OpenJS Foundation), "
    "as bundled by itables {itables} (MIT, Marc Wouts); the file names all of its parts",
}


def _classic(module, names):
    """Return the text of an ES module as a script that leaves some exports in `window`.

    A page on disk may load scripts, but no modules.

    Parameters
    ----------
    module : str
    names : dict {export: name in window}
    """
    found = list(EXPORT.finditer(module))
    if len(found) != 1:
        raise ValueError(f"a module with one export statement was expected, found {len(found)}")
    pairs = (part.split(" as ") for part in found[0][1].split(","))
    local = {exported.strip(): name.strip() for name, exported in pairs}
    kept = "".join(f"window.{name}={local[exported]};" for exported, name in names.items())
    start, end = found[0].span()
    return f"(() => {{ 'use strict';\n{module[:start]}{kept}{module[end:]}\n}})();\n"


def write_assets(folder):
    """Write the code that the page runs: its own, and the chart and table libraries.

    Returns
    -------
    nothing; the files are page.css, page.js, vega.js, tables.js, tables.css and licences.txt.
    """
    folder = Path(folder)
    for name in ("page.css", "page.js"):
        write_text((HERE / name).read_text(encoding="utf-8"), folder / name)
    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    vega = vl_convert.javascript_bundle(vl_version=version)
    write_text(f"(() => {{\n{vega}\n}})();\n", folder / "vega.js")
    shipped = files(itables) / "html"
    tables = (shipped / "dt_bundle.js").read_text(encoding="utf-8")
    write_text(_classic(tables, {"default": "DataTable"}), folder / "tables.js")
    write_text((shipped / "dt_bundle.css").read_text(encoding="utf-8"), folder / "tables.css")
    versions = {name: importlib.metadata.version(name) for name in ("vl-convert-python", "itables")}
    said = [f"{name}: {text.format(**versions)}" for name, text in SHIPPED.items()]
    write_text("\n".join(["page.css, page.js: keygenes", *said, ""]), folder / "licences.txt")


def write_packed(value, name, path):
    """Write a value as a script that hands it to the page under a name; equal bytes each time."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")
    write_text(f'keygenes.take({json.dumps(name)}, "{packed}");\n', path)


def copy_file(source, target):
    """Copy a file into the report."""
    with written(target) as part:
        shutil.copyfile(source, part)


def copy_figure(source, target):
    """Copy a figure and its table into the report; its PNG at the page's resolution.

    Parameters
    ----------
    source, target : path-like
        Without ending: ``.svg``, ``.png`` and ``.tsv`` are copied.

    Returns
    -------
    kind : str
        svg or png: which of them the page shows.
    size : (int, int)
        Width and height in CSS pixels.
    """
    source, target = Path(source), Path(target)
    svg, png, tsv = (source.with_name(f"{source.name}.{kind}") for kind in ("svg", "png", "tsv"))
    with intact(svg):
        ElementTree.parse(svg)  # a damaged one would be an empty frame on the page
    with intact(png), Image.open(png) as image:
        size = tuple(round(length * CSS_DPI / FIGURE_DPI) for length in image.size)
        scale = PAGE_DPI / FIGURE_DPI
        smaller = tuple(max(1, round(length * scale)) for length in image.size)
        small = image.convert("RGB").resize(smaller, Image.Resampling.LANCZOS)
    small = small.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="PNG")
    with written(target.with_name(f"{target.name}.png")) as part:
        Path(part).write_bytes(buffer.getvalue())
    for path in (svg, tsv):
        copy_file(path, target.with_name(path.name))
    return ("svg" if svg.stat().st_size <= MAX_SVG_BYTES else "png"), size
