import numpy as np
import pytest
import report_tables as tables
from PIL import Image
from study_configs import made_study
from test_page import read

from keygenes.evidence.verdicts import VERDICTS
from keygenes.report.contents import claims_section
from keygenes.report.figures_claims import MARKS, by_chance, claims, found_text
from keygenes.report.headline import summary_text
from keygenes.report.page import write_page
from keygenes.report.style import save_figure
from keygenes.report.summaries import verdict_counts

CLAIMS = {"title": "Claims of the thesis", "source": "a thesis"}


def drawn(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))


def section(simulated=False):
    table = tables.claims_table()
    shown = {name: {"stem": f"figures/{name}"} for name in ("dose/forest", "claims")}
    datasets = {"mine": {"title": "made-up cells", "simulated": simulated}}
    study = made_study({"dataset": "mine"}, CLAIMS, datasets=datasets)
    return claims_section(table, study, shown)


def test_the_section_counts_the_verdicts_and_has_the_figure():
    [found] = section()
    assert found["title"] == "Claims of the thesis"
    assert "a thesis" in found["text"]
    assert "2 hold, 1 in part, 0 fail, 0 undecided, 0 not testable" in found["text"]
    assert [figure["stem"] for figure in found["figures"]] == ["figures/claims"]
    assert found["figures"][0]["caption"]


def test_verdicts_about_simulated_cells_say_so_in_the_heading():
    [found] = section("cells drawn from a law")
    assert "simulated cells" in found["title"]


def test_a_study_without_claims_has_no_section_and_no_line():
    assert claims_section(None, made_study(), {}) == []
    assert "claims:" not in summary_text([("a", "1", "b")], "page", False)


def test_the_terminal_has_one_line():
    lines = summary_text([("a", "1", "b")], "page", False, tables.claims_table()).splitlines()
    [line] = [line for line in lines if "claims:" in line]
    assert line.strip() == f"claims: {verdict_counts(tables.claims_table())}"
    assert line.strip().startswith("claims: 2 hold, 1 in part, 0 fail, 0 undecided")


def test_a_range_of_seeds_is_not_shown_as_an_interval():
    row = {"value": 117, "ci_low": 223, "ci_high": 246, "unit": "rank; range of 2 single seeds"}
    assert found_text(row) == "117 (single seeds 223 to 246)"
    row["unit"] = "rank; range of 9 single models"
    assert found_text(row) == "117 (single models 223 to 246)"
    assert found_text({**row, "unit": "rank; 95 % interval"}) == "117 (223 to 246)"
    assert found_text({**row, "ci_low": None}) == "117"
    assert found_text({**row, "value": None}) == "–"


def test_the_page_shows_every_reading_whole(tmp_path):
    [found] = section()
    path = tmp_path / "index.html"
    write_page(
        path,
        title="t",
        study="s",
        simulated=False,
        answer=[],
        headline=[],
        sections=[{**found, "figures": []}],
        methods=[],
        references=[],
        config_yaml="",
        versions={},
        provenance={},
    )
    reader, text = read(path)
    table = tables.claims_table()
    for column in ("statement", "where", "reading", "why", "thesis_value", "unit"):
        assert all(str(value) in text for value in table[column].dropna()), column
    for verdict in table["verdict"].astype(str):
        assert f"{MARKS[verdict]} {verdict}" in text
    assert "0.49 (0.45 to 0.53)" in text
    assert "p = 0.001, Holm 0.002" in text
    classes = [value for name, value in reader.attributes if name == "class"]
    assert {c for c in classes if c.startswith("verdict-")} == {
        f"verdict-{VERDICTS.index(verdict)}" for verdict in table["verdict"].unique()
    }
    assert "evidence/claims.parquet" in text


@pytest.mark.slow
def test_the_figure_has_every_claim_and_a_mark_per_reading(tmp_path):
    table = tables.claims_table()
    figure = claims(table, title="Claims of the thesis")
    text = drawn(figure)
    for part in ("Claims of the thesis", "0.49 (0.45 to 0.53)", "holds: 2", "fails: 0"):
        assert part in text
    for verdict in VERDICTS:
        # once per reading, once in the key, which counts claims
        assert text.count(MARKS[verdict]) >= 1 + (table["verdict"] == verdict).sum()
    save_figure(figure, tmp_path / "c.svg", tmp_path / "c.png", simulated=True)
    with Image.open(tmp_path / "c.png") as image:
        assert image.width > 2500
        assert np.asarray(image.convert("L")).std() > 10


def test_the_marks_differ_without_colour():
    assert len(set(MARKS.values())) == len(VERDICTS) == len(MARKS)


def test_the_rate_of_studies_with_nothing_behind_them_stands_beside_a_verdict():
    row = tables.claims_table().iloc[0].to_dict()
    assert (
        by_chance({**row, "null_holds": 0.048, "null_in_part": 0.1}) == "by chance 5%, in part 10%"
    )
    assert by_chance({**row, "null_holds": np.nan, "null_in_part": np.nan}) == ""


def test_no_claims_make_an_empty_figure():
    assert "no claims" in drawn(claims(tables.claims_table().head(0), title="t"))
