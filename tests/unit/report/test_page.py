import html.parser
import re

import numpy as np
import pandas as pd
import pytest

from keygenes.report.page import MAX_ROWS, TEMPLATES, format_value, write_page
from keygenes.report.style import empty_figure, save_figure

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Collects the text of a page and checks that its tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader, " ".join(" ".join(reader.text).split())


@pytest.fixture
def figure(tmp_path):
    paths = tmp_path / "figure4_cosine.svg", tmp_path / "figure4_cosine.png"
    save_figure(empty_figure("drawn"), *paths, simulated=False)
    return paths


def page(path, figure, **changes):
    genes = pd.DataFrame(
        {
            "symbol": ["MDM2", "<script>alert(1)</script>", None],
            "rank": pd.array([1, 2048, None], "Int64"),
            "p_adj": [1.234e-30, 0.04567, np.nan],
            "in_set": [True, False, False],
        }
    )
    content = {
        "title": "Key genes & attention",
        "study": "demo",
        "simulated": "no cell is real",
        "headline": [("accuracy, level", 0.91234, "95 % interval"), ("cells", 1440, "<b>")],
        "sections": [
            {
                "title": "Attention <i>",
                "text": "First paragraph.\n\nSecond & last.",
                "figures": [(figure, "Cosine. Units: none.\n\nMore.")],
                "tables": [("Genes. Units.", genes, "evidence/genes.parquet")],
            },
            {"title": "Empty"},
        ],
        "config_yaml": "study: demo\nnote: <b> & {{ 1 + 1 }}\n",
        "versions": {"keygenes": "0.1.0"},
        "provenance": {"data": "simulated", "cells": 480},
    }
    write_page(path, **{**content, **changes})
    return read(path)


def test_the_page_says_what_it_was_given(tmp_path, figure):
    reader, found = page(tmp_path / "index.html", figure[0])
    for part in (
        "Key genes & attention",
        "Simulated data: no cell is real.",
        "accuracy, level 0.912 95 % interval",
        "1,440",
        "First paragraph. Second & last.",
        "figure4_cosine Cosine. Units: none. More.",
        "File: evidence/genes.parquet",
        "2,048",
        "1.23e-30",
        "keygenes 0.1.0",
        "note: <b> & {{ 1 + 1 }}",
    ):
        assert part in found
    assert found.count("–") == 3
    assert reader.tags.count("table") == 1


def test_nothing_from_a_table_becomes_markup(tmp_path, figure):
    reader, found = page(tmp_path / "index.html", figure[0])
    assert "script" not in reader.tags
    assert "<script>alert(1)</script>" in found
    assert "i" not in reader.tags


def test_the_page_needs_no_other_file(tmp_path, figure):
    reader, _ = page(tmp_path / "index.html", figure[0])
    links = [value for name, value in reader.attributes if name in ("src", "href")]
    assert links
    assert all(link.startswith(("#", "data:image/")) for link in links)
    assert "link" not in reader.tags
    style = TEMPLATES[1].read_text()
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    anchors = {value for name, value in reader.attributes if name == "id"}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors


def test_no_banner_over_real_data(tmp_path, figure):
    _, found = page(tmp_path / "index.html", figure[0], simulated=False)
    assert "Simulated" not in found


def test_small_figures_are_vectors_and_large_ones_pictures(tmp_path, figure):
    svg, png = figure
    page(tmp_path / "a.html", png)
    assert "data:image/svg+xml;base64," in (tmp_path / "a.html").read_text()
    svg.write_text(svg.read_text() + "<!--" + "x" * 400_000 + "-->")
    page(tmp_path / "b.html", svg)
    text = (tmp_path / "b.html").read_text()
    assert "data:image/png;base64," in text
    assert len(text) < 100_000
    svg.unlink()
    page(tmp_path / "c.html", png)
    assert (tmp_path / "c.html").read_text() == text


def test_a_missing_figure_leaves_no_page(tmp_path):
    with pytest.raises(FileNotFoundError):
        page(tmp_path / "index.html", tmp_path / "absent.svg")
    assert list(tmp_path.iterdir()) == []


def test_long_tables_are_cut_and_say_so(tmp_path, figure):
    long = pd.DataFrame({"gene": [f"G{i}" for i in range(1234)]})
    sections = [{"title": "Genes", "tables": [("All.", long, None)]}]
    _, found = page(tmp_path / "index.html", figure[0], sections=sections)
    assert f"The first {MAX_ROWS} of 1,234 rows." in found
    assert "G49" in found
    assert "G50" not in found


def test_equal_content_gives_equal_bytes(tmp_path, figure):
    page(tmp_path / "1.html", figure[1])
    page(tmp_path / "2.html", figure[1])
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_no_path_of_this_machine_is_on_the_page(tmp_path, figure):
    page(tmp_path / "index.html", figure[0])
    assert not re.search(re.escape(str(tmp_path)), (tmp_path / "index.html").read_text())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "yes"),
        (np.False_, "no"),
        (None, "–"),
        (pd.NA, "–"),
        (float("nan"), "–"),
        (np.int64(12345), "12,345"),
        (1e6, "1,000,000"),
        (0.00012345, "1.23e-04"),
        (0.5, "0.5"),
        (float("inf"), "inf"),
        ("MDM2", "MDM2"),
        ([0, 1.25], "0, 1.25"),
    ],
)
def test_values_are_shown_with_sensible_digits(value, shown):
    assert format_value(value) == shown
