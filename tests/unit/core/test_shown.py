"""What others wrote, where it is shown: messages, logs, page, figures, tables for a spreadsheet."""

import logging
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from keygenes.core.errors import input_error
from keygenes.core.shown import gene_name, printable, spreadsheet_cell
from keygenes.core.step import _PlainLines
from keygenes.core.tables import write_tsv
from keygenes.report.page import write_page
from keygenes.report.style import save_figure, styled

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></svg><svg onload=alert(1)>",
    "<!-- ]]> <![CDATA[ -- >",
    "&lt;b&gt; &amp; &#x3c;",
    "$\\frac{1}{0}$",
    "$$ \\input{/etc/passwd} $",
    "{{ 7 * 7 }} {% raw %}",
    "two\nlines\r\nand a tab\t.",
    "nul\0bell\x07colour\x1b[31mred",
    "abc\u202edcba\u2066x\u200f",
    "half \ud800 a character",
    "x" * 10_000,
    "=cmd|'/c calc'!A0",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_is_one_line_of_a_sensible_length(text):
    message = str(input_error(text, found=text, expected=text, remedy=text))
    assert message.isprintable()
    assert len(message) < 3000


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_has_lines_and_no_controls(text):
    record = logging.LogRecord("keygenes", 20, "", 0, "cell %s: kept\n  and more", (text,), None)
    lines = _PlainLines().format(record).split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[-1] == "  and more"


@pytest.mark.slow
@given(st.text())
def test_what_is_printable_stays_and_all_else_goes(text):
    shown = printable(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text
    assert len(gene_name(text)) <= 60


CELLS = {
    "=1+1": "'=1+1",
    "+cmd": "'+cmd",
    "-2+3": "'-2+3",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "' =1",
    "\r=1": "' =1",
    "\n@x": "' @x",
    "  =1": "'  =1",
    "\u200b=1": "'=1",
    "＝1": "'＝1",
    "-": "'-",
    "-1.5e-3": "-1.5e-3",
    "+2": "+2",
    "-7": "-7",
    "HLA-DRB1": "HLA-DRB1",
    "a=b": "a=b",
    "": "",
}


@pytest.mark.parametrize("text", CELLS)
def test_a_spreadsheet_runs_nothing(text):
    assert spreadsheet_cell(text) == CELLS[text]


@pytest.mark.parametrize("value", [-1, -0.5, np.float64(-3), None, True, np.nan])
def test_what_is_no_text_stays_what_it_is(value):
    assert spreadsheet_cell(value) is value


def test_a_table_for_a_spreadsheet_keeps_its_rows_and_its_numbers(tmp_path):
    frame = pd.DataFrame({"symbol": HOSTILE, "=x": -np.arange(len(HOSTILE)) / 3})
    write_tsv(frame, tmp_path / "t.tsv")
    back = pd.read_csv(tmp_path / "t.tsv", sep="\t", keep_default_na=False)
    assert list(back.columns) == ["symbol", "'=x"] and len(back) == len(HOSTILE)
    np.testing.assert_allclose(back["'=x"], frame["=x"], rtol=1e-3)
    assert not [text for text in back["symbol"] if text.startswith(("=", "+", "-", "@", "\t"))]


@styled
def drawn(name, paths):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.barh([0, 1], [1, 2], label=name)
    axes.set_yticks([0, 1], [name, "b"])
    axes.set(title=name, xlabel=name)
    axes.text(0, 0, name)
    axes.legend()
    save_figure(figure, *paths, simulated=False)


@pytest.mark.slow
@pytest.mark.parametrize("symbol", HOSTILE)
def test_a_gene_s_name_in_a_figure_is_text(tmp_path, symbol):
    paths = tmp_path / "f.svg", tmp_path / "f.png"
    drawn(gene_name(symbol), paths)
    tree = ElementTree.parse(paths[0])
    tags = {element.tag.split("}")[-1] for element in tree.iter()}
    assert not tags & {"script", "foreignObject", "image", "a", "iframe", "img", "b"}
    assert not [k for e in tree.iter() for k in e.attrib if k.lower().startswith("on")]
    assert paths[0].stat().st_size < 1_000_000


@pytest.mark.parametrize("text", HOSTILE)
def test_names_on_the_page_are_text(tmp_path, text):
    if "\ud800" in text:
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")  # as files give it
    table = pd.DataFrame({text[:50]: [text, "b"], "n": [-1, 2]})
    write_page(
        tmp_path / "index.html",
        title=text,
        study=text,
        simulated=text,
        answer=[text],
        headline=[(text, text, text)],
        sections=[{"title": text, "text": text, "tables": [(text, table, text)]}],
        methods=[text],
        references=[("key", text, None)],
        config_yaml=text,
        versions={text: text},
        provenance={text: text},
    )
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200f]", page)
    assert not re.search(r"<(script(?! src=.assets/)|img|svg|b|!--)[ >]", page)
    assert "49" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)


def test_captions_of_snakemake_s_report_show_nothing_but_the_study(repository):
    for path in (repository / "workflow/report").glob("*.rst"):
        shown = re.findall(r"\{\{(.*?)\}\}", path.read_text(encoding="utf-8"))
        names = {f' snakemake.config["{key}"] ' for key in ("study", "dataset")}
        names |= {' task["name"] ', ' "" if loop.last else ", " '}  # all of a schema's pattern
        assert set(shown) <= names, path
