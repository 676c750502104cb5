"""The page of a study that has no encoder, models from outside, or no pairs of models."""

import os
import re
from collections import defaultdict

import pytest
import report_tables as tables
from stated import names_in, numbers_in, states
from study_configs import SOFTWARE, made_study, references

from keygenes.core.files import write_json
from keygenes.core.tables import write_table
from keygenes.core.tracks import BASELINES
from keygenes.evidence.gene_table import explained_columns, gene_table, tracks_of
from keygenes.report import methods_evidence, methods_models
from keygenes.report.answer import answer
from keygenes.report.captions import caption
from keygenes.report.contents import page_sections
from keygenes.report.facts import provenance_facts
from keygenes.report.figures_models import KIND_COLOURS, forest
from keygenes.report.figures_scorecard import agreement, scorecard
from keygenes.report.gene_data import gene_details, gene_rows
from keygenes.report.gene_export import Shown, write_gene_table
from keygenes.report.headline import headline_numbers, summary_text
from keygenes.report.methods import methods
from keygenes.report.report import CELL_TABLES, GENE_TABLES, SHARED_TABLES, write_report
from keygenes.report.study_counts import study_counts
from keygenes.report.subject import regime_of, subject
from keygenes.report.summaries import interval, pooled

TITLE = "a forest of trees"
FOREST = {
    **{"name": "random_forest", "rules": "rf.smk", "title": TITLE, "score": "mean impurity"},
    **{"unit": "share", "method": "Five hundred trees were grown [@nobody1999]"},
    "citation": "doi:10.5555/trees",
}
OTHER = {"name": "other", "rules": "o.smk", "title": "the other", "score": "gain", "random": False}
TASKS = [{"name": "level", "column": "x", "classes": {"low": ["1"], "high": ["2"]}}]
ENCODER = {
    "tasks": TASKS,
    "attention": {"pairs": [["full", "frozen"]]},
    "evidence": {
        **{"regime": "full", "gene_sets": ["p53"], "n_key_genes": 10},
        "primary": {"task": "level", "track": "attattr", "gene_set": "p53", "regime": "full"},
    },
}
RECORD = {
    "keygenes": {"version": "1", "commit": None, "changed": False},
    **{"study": "s", "inputs": [], "results": {}, "config_sha256": "0", "folds": [1]},
    "seeds": {"seeds": [1]},
}
WORDS = re.compile(r"attention|attend|transformer|None|\bnan\b|regime|encoder", re.I)


def study(*readers, regime=None, **changed):
    """Return a study of some readers; without 'geneformer' among them it has no encoder."""
    config = {**ENCODER, "readers": list(readers), **changed}
    if regime:
        config["evidence"] = {**ENCODER["evidence"], "regime": regime}
    entries = {"gene_sets": {"p53": {"title": "known genes"}}, "gene_classes": {}}
    entries["vocabulary"] = {"title": "a vocabulary", "version": "v1"}
    return made_study(config, model={"title": "Geneformer V1"}, **entries)


STUDIES = {
    "alone": lambda: study(),
    "forest": lambda: study(FOREST),
    "two": lambda: study(OTHER, FOREST, regime="random_forest"),
}
MIXED = {
    "beside": lambda: study("geneformer", FOREST),
    "in question": lambda: study("geneformer", FOREST, regime="random_forest"),
    "no pairs": lambda: study("geneformer", attention={"pairs": []}),
}


def said_by(record):
    """Return what the page of a study says outside its captions, as a dict of texts."""
    found = tables.page_tables(record)
    counts = study_counts(found, record)
    paragraphs, _ = methods(record, references(), counts=counts, software=SOFTWARE)
    shown = {f"level/{name}": {"stem": name} for name in ("figure3_confusion", "forest")}
    if record.paired_tasks:
        shown["level/figure4_cosine"] = {"stem": "figure4_cosine"}
    headline = headline_numbers(found, record)
    sections = page_sections(found, record, shown)
    listed = [
        [said, table.to_csv(), place]
        for s in sections
        for said, table, place in s.get("tables", [])
    ]
    return {
        "title": subject(record).heading,
        "answer": " ".join(answer(found, record)),
        "headline": " ".join(map(str, sum(headline, ()))),
        "summary": summary_text(headline, "page", False),
        "methods": "\n".join(paragraphs),
        "texts": " ".join(section.get("text", "") for section in sections),
        "tables": " ".join(sum(listed, [])),
        "titles": [section["title"] for section in sections],
    }


@pytest.fixture(autouse=True)
def _here(repository, monkeypatch):
    monkeypatch.chdir(repository)


@pytest.mark.parametrize("name", STUDIES)
def test_where_no_encoder_reads_nothing_speaks_of_one(name):
    record = STUDIES[name]()
    assert not record.regimes and record.primary is None
    for part, text in said_by(record).items():
        assert not WORDS.findall(str(text)), part


@pytest.mark.parametrize(
    "stem", ["metrics", "figure3_confusion", "forest", "scorecard", "agreement", "roar", "checks"]
)
def test_captions_of_every_study_do_not_speak_of_attention(stem):
    assert not re.findall(r"attention|attends|transformer|foundation", caption(stem))


def test_of_baselines_alone_the_best_is_told_and_the_test_leads():
    record = study()
    found = tables.page_tables(record)
    asked, told, genes, real = answer(found, record)
    assert "made-up cells" in asked and names_in(asked, ["level", "well"]) == {"level", "well"}
    assert numbers_in(asked) == [2, 6]
    assert "hvg lr" in told and states(told, 0.51, 0.46, 0.56, 0.22)
    assert "S0, S1, S2" in genes and numbers_in(genes) == [10, 4, 1.0]
    assert states(real, 45, 0.1, 0.05, 0.07, 0.0001)
    cells, accuracy, members = headline_numbers(found, record)
    assert cells[1] == "6" and "hvg lr" in accuracy[0]
    assert accuracy[1].startswith("0.51") and states(accuracy[2], 1440, 0.22, 0.45)
    assert members[1] == "4" and states(members[2], 1.0)


@pytest.mark.parametrize("name", ["forest", "two"])
def test_a_model_from_outside_is_called_by_its_title_and_scores_the_genes(name):
    record = STUDIES[name]()
    assert record.main == "random_forest"
    found = tables.page_tables(record)
    asked, told, genes, real = answer(found, record)
    for text in (asked, genes, real, subject(record).heading):
        assert TITLE in text
    assert TITLE[1:] in told and "hvg lr" in told
    assert ("the other" in told) == (name == "two")
    assert "S0, S1, S2" in genes and numbers_in(genes)[:3] == [10, 4, 1.0]
    assert states(real, 45, 0.4, 0.05, 0.07, 0.0001)
    _, accuracy, members = headline_numbers(found, record)
    assert "random forest" in accuracy[0] and "hvg lr" in accuracy[2]
    assert ("other 0.55" in accuracy[2]) == (name == "two")
    assert "random forest" in members[0] and members[1] == "4"


def test_without_sets_or_a_score_it_is_said_that_nothing_tests_the_genes():
    config = {"evidence": {**ENCODER["evidence"], "gene_sets": []}}
    for record in (study(**config), study(FOREST, **config)):
        genes, real = answer(tables.page_tables(record), record)[-2:]
        assert "S0, S1, S2" in genes
        assert not numbers_in(real)
    record = study(FOREST)
    found = tables.page_tables(record)
    found["scorecard"]["level"]["value"] = None
    assert "p53" in answer(found, record)[-1]
    found["key_genes"]["level"]["in_p53"] = False
    assert names_in(answer(found, record)[2], ["p53", "level"]) == {"p53", "level"}
    assert headline_numbers(found, record)[-1][1] == "not testable"


def test_a_model_from_outside_that_has_not_learnt_is_told_first():
    record = study(FOREST)
    found = tables.page_tables(record)
    models = ("random_forest", "length_only", "token0", "majority")
    found["metrics"]["level"] = tables.metrics_table(models, unlearnt=["random_forest"])
    first, *others = answer(found, record)
    assert TITLE in first and not WORDS.findall(first) and len(others) == 4


def added(before, after):
    """Return what one text has more than another; fail where it lacks anything of it."""
    start = len(os.path.commonprefix([before, after]))
    end = len(os.path.commonprefix([before[: start - 1 : -1], after[: start - 1 : -1]]))
    assert before[:start] + before[len(before) - end :] == before
    return after[start : len(after) - end]


@pytest.mark.slow
def test_beside_an_encoder_a_model_from_outside_is_named_and_nothing_else_changes():
    alone, both = study("geneformer"), MIXED["beside"]()
    assert both.main == "full" and regime_of(both) == "full"
    before, after = said_by(alone), said_by(both)
    for part in ("title", "titles", "texts"):
        assert before[part] == after[part]
    accuracy = interval(pooled(tables.page_tables(both)["metrics"]["level"], "random_forest"))
    for part, said in (("answer", TITLE), ("headline", "random forest"), ("methods", TITLE)):
        more = added(before[part], after[part])
        assert said in more and said not in before[part]
        assert accuracy in more or part == "methods"


@pytest.mark.slow
def test_a_model_from_outside_may_be_in_question_where_an_encoder_reads():
    record = MIXED["in question"]()
    found = tables.page_tables(record)
    asked, told, moved, genes, real = answer(found, record)
    assert TITLE in asked and TITLE in genes and TITLE in real
    assert "full" in told, "the regime of the primary test stands beside it"
    assert {"full", "frozen"} <= names_in(moved, ["full", "frozen"])
    assert states(real, 0.4, 45) and "supported" in real.lower()
    assert real.index("primary test") < real.lower().index("supported")
    assert regime_of(record) is None
    titles = said_by(record)["titles"]
    assert "Attention, task level" in titles


@pytest.mark.slow
def test_without_pairs_no_models_are_compared():
    record = MIXED["no pairs"]()
    assert record.main_attended and record.paired_tasks == []
    found = tables.page_tables(record)
    assert len(answer(found, record)) == 4
    assert not [label for label, *_ in headline_numbers(found, record) if "attention of" in label]
    assert "Attention, task level" not in said_by(record)["titles"]
    counts = study_counts(found, record)
    assert "n_layers" not in counts and counts["tracks"] == ["attention_total"]
    [only] = methods_evidence.attention(record, counts, {})
    assert "kobayashi2020" in only
    assert "cosine" not in "".join(methods(record, references(), counts=counts, software={})[0])


@pytest.mark.parametrize("name", STUDIES)
def test_methods_tell_of_the_models_there_are(name):
    record = STUDIES[name]()
    counts = study_counts(tables.page_tables(record), record)
    assert "n_layers" not in counts and "tracks" not in counts
    paragraphs, keys = methods(record, references(), counts=counts, software={})
    text = "\n".join(paragraphs)
    assert not {"loshchilov2019", "kobayashi2020", "phipson2010", "adebayo2018"} & set(keys)
    assert "hooker2019" in keys
    assert not re.search(r"\[@|\{|\}|None|  |\.\.|\( | \)| ,", text)
    for reader in record.readers.values():
        assert names_in(text, [reader.title, reader.score, reader.name]) == {
            *(reader.title, reader.score, reader.name)
        }
    if name != "alone":
        assert "Five hundred trees" in text and "doi:10.5555/trees" in text and "(share)" in text


def test_a_long_method_is_told_whole():
    long = "Trees were grown. " * 100
    record = study({**FOREST, "method": long})
    assert long.strip() in " ".join(methods_models.readers(record, {}, defaultdict(str)))


def shown_genes(record):
    """Return the wide gene table of a study, its columns explained, and its tables behind."""
    genes, tests, _, ranks = tables.gene_tables(record)
    table = gene_table(genes, tests, {"p53": {"S0"}}, record.main, record.leading_track)
    readers = {n: {"score": r.score, "unit": r.unit} for n, r in record.readers.items()}
    return table, explained_columns(table, "all", {"p53": "known"}, readers), tests, ranks


@pytest.mark.parametrize(
    ("name", "first", "led"),
    [
        ("alone", "wilcoxon", []),
        ("forest", "random_forest", ["random_forest"]),
        ("two", "random_forest", ["other", "random_forest"]),
    ],
)
def test_genes_are_listed_by_the_track_that_leads(name, first, led):
    record = STUDIES[name]()
    table, explained, tests, ranks = shown_genes(record)
    assert tracks_of(table) == ["wilcoxon", "detection", "mean_rank", *led]
    assert table["symbol"].head(3).tolist() == ["S0", "S1", "S2"]
    said = explained.set_index("column")
    for reader in record.readers.values():
        score = said.loc[f"{reader.name}_score"]
        assert (score["meaning"], score["unit"]) == (reader.score, reader.unit)
    shown = gene_rows(table, explained, "", record.leading_track)
    assert [row[shown["leading"]] for row in shown["rows"][:3]] == [1, 2, 3]
    assert first.replace("_", " ") in shown["columns"][shown["leading"]]["title"]
    details = gene_details(table, explained, tests, ranks, None, regime=regime_of(record))
    assert details["regime"] is None and details["layers"] == 0 and details["attention"] == []
    assert not [hint for hint in details["hints"] if WORDS.search(hint)]
    assert details["ranks"][0] == [[9, 2, 100], [9, 2, 100]]


def test_beside_an_encoder_its_own_track_leads():
    table, explained, *_ = shown_genes(MIXED["beside"]())
    assert tracks_of(table)[-2:] == ["attention_total", "random_forest"]
    shown = gene_rows(table, explained, "", "attention_total")
    assert "attention total" in shown["columns"][shown["leading"]]["title"]


def test_the_tables_of_the_page_name_the_file_behind_them_and_the_score():
    for name, score in (("alone", "rank-sum"), ("forest", "mean impurity")):
        record = STUDIES[name]()
        *_, section = page_sections(tables.page_tables(record), record, {})
        said, keys, source = section["tables"][0]
        assert score in said and source == "evidence/level/key_genes.parquet"
        assert list(keys.columns[:3]) == ["symbol", "position", "ensembl_id"] and len(keys) == 10


def test_facts_name_readers_and_no_model_that_is_not_read():
    facts = provenance_facts(RECORD, study(FOREST))
    assert facts["reader 'random_forest'"] == TITLE
    assert not [name for name in facts if name.startswith("model")]
    assert [n for n in provenance_facts(RECORD, study("geneformer")) if n.startswith("model")]


def report_files(record, folder):
    """Write the files that the report of a study is made from; return {name: path or paths}."""

    def written(name, table):
        write_table(table, folder / f"{name}.parquet")
        return folder / f"{name}.parquet"

    found = tables.page_tables(record)
    files = {name: [] for name in ("cosine", "comparison_bounds", "claims", "primary")}
    files |= {name: [] for name in ("track_tests", "gene_heads", *GENE_TABLES)}
    files |= {name: written(name, found[name]) for name in SHARED_TABLES}
    files |= {name: [written(name, found[name]["level"])] for name in CELL_TABLES}
    files["gene_sets"] = [written("p53", found["gene_sets"]["p53"])]
    files["gene_ranks"] = [written("gene_ranks", tables.gene_tables(record)[3])]
    export = {name: folder / f"exported.{name}" for name in ("parquet", "tsv", "xlsx", "columns")}
    readers = {
        n: {"title": r.title, "score": r.score, "unit": r.unit} for n, r in record.readers.items()
    }
    write_gene_table(
        files["genes"][0],
        files["wilcoxon"],
        {"p53": (files["gene_sets"][0], {"title": "known"})},
        Shown("s", "level", record.main, record.leading_track, readers, simulated=False),
        dict(zip(("table", "tsv", "xlsx", "columns"), export.values(), strict=True)),
    )
    names = ("gene_tables", "gene_tsv", "gene_xlsx", "gene_columns")
    files |= {name: [path] for name, path in zip(names, export.values(), strict=True)}
    write_json({**RECORD, "software": {"scanpy": ["1.2.3"]}}, folder / "provenance.json")
    return files | {
        "provenance": folder / "provenance.json",
        "references": "workflow/report/references.yaml",
        "references_schema": "workflow/schemas/references.schema.yaml",
        "citation": "CITATION.cff",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_whole_report_is_written_that_speaks_of_what_there_is(name, tmp_path):
    record = STUDIES[name]()
    files, to = report_files(record, tmp_path), tmp_path / "report"
    write_report(files, to, study=record, config={"study": "s"}, figures=[], software={})
    page = (to / "index.html").read_text()
    shown = re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.S)
    assert not WORDS.findall(shown) and not WORDS.findall((to / "summary.txt").read_text())
    for reader in record.readers.values():
        assert reader.title in shown
    assert (to / "data/details.level.js").is_file() and (to / "tables/level/exported.tsv").is_file()


def texts(figure):
    figure.draw_without_rendering()
    words = (t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")))
    return " ".join(" ".join(words).split())


@pytest.mark.slow
def test_a_forest_sets_models_from_outside_apart():
    assert len(set(KIND_COLOURS.values())) == len(KIND_COLOURS)
    names = ("random_forest", "length_only", "hvg_lr", "majority")
    figure = forest(tables.metrics_table(names), kinds={"random_forest": "reader"})
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["length only", "majority", "hvg lr", "random forest"]
    assert "from outside" in texts(figure) and not WORDS.findall(texts(figure))
    assert KIND_COLOURS["reader"] in {line.get_color() for line in figure.axes[0].lines}
    alone = texts(forest(tables.metrics_table(names[1:])))
    assert "from outside" not in alone and not WORDS.findall(alone)
    kinds = {"random_forest": "reader", "full": "trained"}
    both = texts(forest(tables.metrics_table(("full", *names)), kinds=kinds, main="full"))
    assert "from outside" in both and "fine-tuned" in both


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "regime", "lines", "encoder"),
    [
        ((), None, 0, False),
        (("random_forest",), "random_forest", 1, False),
        (("attention_total", "random_forest"), "full", 2, True),
    ],
)
def test_a_scorecard_has_its_tracks_in_groups(own, regime, lines, encoder):
    names = ["wilcoxon", "random", *own[::-1]]
    card, pairs = tables.scorecard_table(("p53",), names, outside=["random_forest"])
    figure = scorecard(card, regime=regime, task="level")
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == [name.replace("_", " ") for name in ("wilcoxon", "random", *own)]
    assert set(rows[:2]) <= set(BASELINES)
    found = texts(figure)
    assert bool(WORDS.findall(found)) == encoder
    assert ("from outside" in found) == ("random_forest" in own)
    assert sum(len(set(line.get_ydata())) == 1 for line in figure.axes[0].lines) == lines
    found = texts(agreement(pairs, regime=regime, task="level"))
    assert ("regime" in found) == encoder and "None" not in found
    assert ("random forest" in found) == ("random_forest" in own)
