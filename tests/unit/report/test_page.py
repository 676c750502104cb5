import html.parser
import re

import numpy as np
import pandas as pd
import pytest
import report_tables as tables
from stated import states

from keygenes.report.folder import TEMPLATES
from keygenes.report.page import MAX_ROWS, format_value, write_page

VOID = {"meta", "img", "br", "hr", "link", "input"}  # tags that are not closed


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


FIGURE = {
    "title": "Figure 4 · two <models>",
    "stem": "figures/dose/figure4_cosine",
    "source": "figures/dose/figure4_cosine.svg",
    "width": 400,
    "height": 300,
    "chart": "dose/figure4_cosine",
    "caption": "Cosine. Units: none.\n\nMore.",
}


def page(path, **changes):
    genes = pd.DataFrame(
        {
            "symbol": ["MDM2", "<script>alert(1)</script>", None],
            "rank": pd.array([1, 2048, None], "Int64"),
            "regime": ["full", "last_layer", None],
            "p_adj": [1.234e-30, 0.04567, np.nan],
            "in_set": [True, False, False],
        }
    )
    content = {
        "title": "Key genes & attention",
        "study": "demo",
        "simulated": "no cell is real",
        "answer": ["Which genes?", "These & <b>those</b>."],
        "methods": ["Cells were simulated (Author, 2020)."],
        "references": [
            ("author2020", "Author A. (2020). <i>Title</i>.", "https://doi.org/10.1000/1")
        ],
        "headline": [("accuracy, level", 0.91234, "95 % interval"), ("cells", 1440, "<b>")],
        "sections": [
            {
                "title": "Attention <i>",
                "text": "First paragraph.\n\nSecond & last.",
                "figures": [FIGURE, {**FIGURE, "chart": None}],
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


def test_the_page_says_what_it_was_given(tmp_path):
    reader, found = page(tmp_path / "index.html")
    for part in (
        "Key genes & attention",
        "Which genes? These & <b>those</b>.",
        "Cells were simulated (Author, 2020).",
        "Author A. (2020). <i>Title</i>.",
        "no cell is real",
        "accuracy, level 0.912 95 % interval",
        "1,440",
        "First paragraph. Second & last.",
        "Figure 4 · two <models>. Cosine. Units: none. More.",
        "figure4_cosine.svg figure4_cosine.png figure4_cosine.tsv",
        "evidence/genes.parquet",
        "symbol rank regime p adj in set",
        "last layer",
        "2,048",
        "1.23e-30",
        "keygenes 0.1.0",
        "note: <b> & {{ 1 + 1 }}",
    ):
        assert part in found
    assert found.count("–") == 4
    assert reader.tags.count("table") == 1


def test_nothing_from_a_table_becomes_markup(tmp_path):
    reader, found = page(tmp_path / "index.html")
    assert reader.tags.count("script") == 3  # the page's own
    assert "<script>alert(1)</script>" in found
    assert "i" not in reader.tags


def test_the_page_asks_for_its_folder_alone(tmp_path):
    reader, _ = page(tmp_path / "index.html")
    links = [value for name, value in reader.attributes if name in ("src", "href")]
    own = ("#", "assets/", "figures/dose/figure4_cosine.", "references.bib", "https://doi.org/")
    assert all(link == "data:," or link.startswith(own) for link in links)
    names = {link.split("/")[1] for link in links if link.startswith("assets/")}
    assert names == {"page.css", "tables.css", "vega.js", "tables.js", "page.js"}
    anchors = {value for name, value in reader.attributes if name == "id"}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    style = TEMPLATES[1].read_text()
    assert "url(" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def test_a_figure_has_its_files_and_its_chart_if_there_is_one(tmp_path):
    reader, _ = page(tmp_path / "index.html")
    links = [value for name, value in reader.attributes if name == "href"]
    for kind in ("svg", "png", "tsv"):
        assert links.count(f"figures/dose/figure4_cosine.{kind}") == 2
    assert [v for k, v in reader.attributes if k == "data-chart"] == ["dose/figure4_cosine"]


def test_the_parts_of_a_verdict_are_labelled(tmp_path):
    sections = [{"title": "Claims", "claims": tables.claims_table()}]
    reader, found = page(tmp_path / "index.html", sections=sections)
    labels = [value for name, value in reader.attributes if name == "data-label"]
    assert labels == 5 * ["claimed", "found here", "verdict", "why", "control"]
    assert [v for k, v in reader.attributes if k == "class"].count("nothing") == 1  # nothing found
    assert "evidence/claims.parquet" in found


def test_genes_are_offered_per_task(tmp_path):
    sections = [{"title": "Genes", "gene_tasks": ["dose", "level"]}]
    reader, found = page(tmp_path / "index.html", sections=sections)
    assert reader.tags.count("option") == 3
    assert (
        "<option>dose</option><option selected>level</option>"
        in (tmp_path / "index.html").read_text()
    )
    assert ("href", "tables/level/genes.xlsx") in reader.attributes
    assert "noscript" in reader.tags


def test_no_banner_over_real_data(tmp_path):
    _, found = page(tmp_path / "index.html", simulated=False)
    assert "Simulated" not in found


def test_long_tables_are_cut_and_say_so(tmp_path):
    long = pd.DataFrame({"gene": [f"G{i}" for i in range(1234)]})
    sections = [{"title": "Genes", "tables": [("All.", long, None)]}]
    _, found = page(tmp_path / "index.html", sections=sections)
    assert states(found, MAX_ROWS, 1234)
    assert "G49" in found
    assert "G50" not in found


def test_equal_content_gives_equal_bytes(tmp_path):
    page(tmp_path / "1.html")
    page(tmp_path / "2.html")
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_no_path_of_this_machine_is_on_the_page(tmp_path):
    page(tmp_path / "index.html")
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
