import re

import pandas as pd
import pytest
from stated import names_in
from two_studies import PLANTED, genes_of, primary_of, write_study

from keygenes.core.files import checksum
from keygenes.core.studies import Study, finished
from keygenes.core.tables import read_table
from keygenes.evidence.replication import not_in_both, primary_beside, replication
from keygenes.report.figures_replication import overlaps, replication_figure
from keygenes.report.plates import save_plate
from keygenes.report.replication_page import (
    answer_on_classes,
    answer_on_primary,
    page_content,
    shown_regime,
    simulated_words,
    write_replication_page,
)

NAMES = ("one", "other")


@pytest.fixture(scope="module")
def genes():
    return genes_of(1), genes_of(2)


@pytest.fixture(scope="module")
def table(genes):
    return replication(*genes, NAMES, n_bootstrap=20).assign(task="level")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    written = (
        write_study(folder / "one", 1, simulated="no <cell> is real"),
        write_study(folder / "other", 2),
    )
    return [finished(str(path), name) for path, name in zip(written, NAMES, strict=True)]


@pytest.fixture
def page(studies, table, genes, tmp_path):
    def write(primary=(None, None), left_out=None):
        content = page_content(
            studies,
            *(
                [read_table(f"{study.folder}/cells/{name}.parquet") for study in studies]
                for name in ("selection", "labels")
            ),
            {"level": table},
            primary_beside(*primary, NAMES),
            left_out=left_out or {},
            alone={"level": not_in_both(*genes, NAMES)},
        )
        write_replication_page(tmp_path / "index.html", **content)
        return (tmp_path / "index.html").read_text(encoding="utf-8")

    return write


@pytest.mark.slow
def test_the_page_answers_first_and_says_what_is_simulated(page):
    text = page(left_out={"dose": "in one alone"})
    answered = text[text.index('id="answer"') : text.index('src="figures/level.png"')]
    assert "1 of 3" in answered and "attention residual" in answered
    assert "dose (in one alone)" in text
    assert "one: no &lt;cell&gt; is real" in text
    assert answer_on_primary(primary_beside(None, None, NAMES), NAMES) in answered
    assert "801" in text and "802" in text


@pytest.mark.slow
def test_the_page_asks_for_no_network(page):
    links = re.findall(r'(?:src|href)="([^"]+)"', page())
    assert links and not [link for link in links if re.match(r"\w+:|//", link) and link != "data:,"]
    assert "@import" not in page() and "url(" not in page()


def test_primary_tests_are_told_and_shown(page):
    supported = primary_of(outcome="supported", effect=0.2)
    text = page((supported, primary_of(outcome="inconclusive", reason="too wide")))
    for name, outcome in (("one", "supported"), ("other", "inconclusive")):
        assert f"{outcome} in {name}" in text
    assert "<td>too wide</td>" in text and "<td>0.2</td>" in text
    assert "n permuted" not in text, "missing in both"


def test_primary_tests_of_different_things_are_not_called_one():
    other = primary_of(outcome="supported", track="deletion")
    beside = primary_beside(primary_of(outcome="supported"), other, NAMES)
    same = primary_beside(*2 * [primary_of(outcome="supported")], NAMES)
    assert answer_on_primary(beside, NAMES) != answer_on_primary(same, NAMES)
    beside = primary_beside(primary_of(outcome="supported"), None, NAMES)
    assert names_in(answer_on_primary(beside, NAMES), [*NAMES, "supported"]) == {"other"}


def test_another_last_class_is_told(studies, tmp_path):
    turned = write_study(tmp_path / "turned", 3, tasks={"level": {"high": [25], "low": [0]}})
    folders = [studies[0].folder, turned]
    labels = [read_table(f"{folder}/cells/labels.parquet") for folder in folders]
    (said,) = answer_on_classes(labels, ["level"], NAMES)
    assert names_in(said, ["level", "high", "low", *NAMES]) == {"level", "high", "low", *NAMES}
    assert said.index("high") < said.index("low")
    assert answer_on_classes(labels[:1] * 2, ["level"], NAMES) == []


@pytest.mark.slow
def test_same_input_gives_same_bytes(page, table, tmp_path):
    assert page() == page()
    sums = []
    for name in "xy":
        paths = [tmp_path / f"{name}.{kind}" for kind in ("svg", "png", "tsv")]
        figure = replication_figure(table, names=NAMES, regime="full", task="level")
        save_plate(figure, table, paths, simulated="one")
        sums.append([checksum(path) for path in paths])
    assert sums[0] == sums[1]


def test_the_matrices_hold_each_pair_in_its_place(table):
    rows = table[table["regime"] == "full"]
    tracks = [PLANTED, "attention_total"]
    across = overlaps(
        rows[
            (rows["comparison"] == "across") & rows[["track_a", "track_b"]].isin(tracks).all(axis=1)
        ],
        tracks,
        "one",
    )
    expected = rows.set_index(["comparison", "study_a", "track_a", "track_b"])["rbo"]
    assert across[0, 1] == expected["across", "one", PLANTED, "attention_total"]
    assert across[1, 0] == expected["across", "one", "attention_total", PLANTED]
    within = rows[
        (rows["comparison"] == "within") & rows[["track_a", "track_b"]].isin(tracks).all(axis=1)
    ]
    matrix = overlaps(within, tracks, "other")
    assert (
        matrix[0, 1]
        == matrix[1, 0]
        == expected["within", "other"].xs(tuple(within[["track_a", "track_b"]].iloc[0]))
    )
    assert pd.isna(matrix[0, 0])


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [(("full", "full"), "full"), (("absent", "full"), "full"), ((None, None), "frozen")],
)
def test_the_regime_of_the_evidence_is_shown(table, wanted, shown):
    studies = [
        Study("", name, {"config": {"evidence": {"regime": regime}}})
        for name, regime in zip(NAMES, wanted, strict=True)
    ]
    assert shown_regime(table, studies) == shown
    assert shown_regime(table[table["regime"].isna()], studies) is None


def test_figures_are_drawn_of_little_and_of_nothing(table):
    only = table[table["regime"].isna()]
    texts = [
        t.get_text()
        for t in replication_figure(only, names=NAMES, regime=None).findobj()
        if hasattr(t, "get_text")
    ]
    assert "detection" in texts
    nothing = replication_figure(table.iloc[:0], names=NAMES, regime="full")
    assert nothing.texts and not any(axes.has_data() for axes in nothing.axes)


def test_either_study_that_is_simulated_is_named(studies):
    assert simulated_words(studies) == "one: no <cell> is real"
    assert simulated_words(studies[1:]) is False
