import base64
import gzip
import json

import pandas as pd
import pytest
from PIL import Image

from keygenes.core.errors import InputError
from keygenes.report.folder import _classic, copy_figure, write_assets, write_packed
from keygenes.report.plates import save_plate
from keygenes.report.style import empty_figure

MAX_ASSETS_BYTES = 1_750_000  # of the libraries of charts and tables: 1.6 MB with these versions


@pytest.fixture
def figure(tmp_path):
    stem = tmp_path / "figure4_cosine"
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png", "tsv")]
    save_plate(empty_figure("drawn"), pd.DataFrame({"a": [1]}), paths, simulated=False)
    return stem


def test_a_small_figure_is_shown_as_vectors_and_a_large_one_as_a_picture(tmp_path, figure):
    kind, (width, height) = copy_figure(figure, tmp_path / "report/figure4_cosine")
    assert kind == "svg"
    with (
        Image.open(f"{figure}.png") as whole,
        Image.open(tmp_path / "report/figure4_cosine.png") as small,
    ):
        assert (width, height) == tuple(round(length * 120 / 300) for length in whole.size)
        assert small.size == tuple(round(length / 2) for length in whole.size)
    for kind in ("svg", "tsv"):
        copied = tmp_path / f"report/figure4_cosine.{kind}"
        assert copied.read_bytes() == figure.with_name(f"figure4_cosine.{kind}").read_bytes()
    svg = figure.with_name("figure4_cosine.svg")
    svg.write_text(svg.read_text() + "<!--" + "x" * 400_000 + "-->")
    assert copy_figure(figure, tmp_path / "report/again")[0] == "png"


def test_damaged_figures_are_named(tmp_path, figure):
    svg = figure.with_name("figure4_cosine.svg")
    svg.write_bytes(svg.read_bytes()[:300])
    with pytest.raises(InputError, match="figure4_cosine.svg"):
        copy_figure(figure, tmp_path / "report/figure4_cosine")
    assert not (tmp_path / "report").exists()


def test_packed_data_comes_back_and_repeats(tmp_path):
    value = {"rows": [["<b>MDM2</b>\u2028", None, 0.5]]}
    for name in "ab":
        write_packed(value, "genes.dose", tmp_path / f"{name}.js")
    text = (tmp_path / "a.js").read_text()
    assert text == (tmp_path / "b.js").read_text()
    start, end = 'keygenes.take("genes.dose", "', '");\n'
    assert text.startswith(start)
    assert text.endswith(end)
    packed = base64.b64decode(text[len(start) : -len(end)])
    assert json.loads(gzip.decompress(packed)) == value


def test_a_module_becomes_a_script():
    module = "var a=1,b=2;export{a as default,b as other};/* end */"
    assert _classic(module, {"other": "Other"}) == (
        "(() => { 'use strict';\nvar a=1,b=2;window.Other=b;/* end */\n})();\n"
    )
    with pytest.raises(ValueError, match="one export"):
        _classic("var a=1;", {})


@pytest.mark.slow
def test_assets_name_their_makers_and_repeat(tmp_path):
    for name in "ab":
        write_assets(tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["licences.txt", "page.css", "page.js", "tables.css", "tables.js", "vega.js"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    weight = sum((tmp_path / "a" / name).stat().st_size for name in files)
    assert weight < MAX_ASSETS_BYTES, "every report carries them, and every reader loads them"
    said = (tmp_path / "a/licences.txt").read_text()
    assert all(
        f"{name}: " in said or f"{name}, " in said for name in files if name != "licences.txt"
    )
    assert "window.vegaEmbed" in (tmp_path / "a/vega.js").read_text()
    assert "window.DataTable=" in (tmp_path / "a/tables.js").read_text()
