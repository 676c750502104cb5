"""docs/extending.md, word for word: a reader from outside the checkout, from cells to the page."""

import json
import re

import pytest
from running import MICRO, REPOSITORY, copy_checkout, run_snakemake

from keygenes.core.tables import read_table

DOC = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`~/forest/([\w.]+)`[^\n]*\n\n```\w+\n(.*?)```", DOC, re.S))


def forest_study(folder, *more, replaced=()):
    """Run the study of the doc on the cells of the micro study; return (process, results)."""
    main = copy_checkout(folder / "main")
    own = folder / "forest"
    own.mkdir()
    for name, text in FILES.items():
        for old, new in replaced:
            text = text.replace(old, new)
        (own / name).write_text(text, encoding="utf-8")
    command = ("-s", main / "Snakefile", "-d", ".", "--cores", 2, *more, "--configfile")
    configs = [main / path for path in MICRO]
    process = run_snakemake(own, *command, *configs, own / "forest_study.yaml", timeout=600)
    return process, own / "results/forest"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    process, results = forest_study(tmp_path_factory.mktemp("extending"))
    assert process.returncode == 0, process.text
    return results


def test_the_files_of_the_doc_are_few_and_short():
    assert sorted(FILES) == ["forest.py", "forest.smk", "forest.yaml", "forest_study.yaml"]
    assert sum(len(FILES[name].splitlines()) for name in ("forest.py", "forest.smk")) <= 60


def test_the_reader_is_in_every_table(results):
    metrics = read_table(results / "models/level/metrics.parquet").astype({"regime": str})
    rows = metrics[(metrics["regime"] == "forest") & (metrics["metric"] == "accuracy")]
    assert len(rows) and rows["seed"].isna().any()
    gains = metrics.loc[metrics["metric"] == "accuracy_gain", "regime"]
    assert {"majority", "hvg_lr"} <= set(gains), "what the reader gains over each baseline"
    for name in ("genes", "scorecard"):
        assert "forest" in set(read_table(results / f"evidence/level/{name}.parquet")["track"])
    agreement = read_table(results / "evidence/level/agreement.parquet")
    assert {"forest", "wilcoxon"} <= set(agreement["track_a"])
    assert "forest" in set(read_table(results / "evidence/level/roar.parquet")["track"])
    keys = read_table(results / "evidence/level/key_genes.parquet")
    assert keys["score"].is_monotonic_decreasing and keys["score"].iloc[0] > 0
    table = read_table(results / "export/level/genes.parquet")
    assert {"forest_score", "forest_rank", "wilcoxon_score"} <= set(table.columns)


def test_the_page_is_about_the_reader_and_about_no_encoder(results):
    page = (results / "report/index.html").read_text(encoding="utf-8")
    shown = re.sub(r"<(script|style|pre)\b.*?</\1>", " ", page, flags=re.S)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))
    for said in (
        "a random forest",
        "log-normalised expression of all genes",
        "10.1023/A:1010933404324",
    ):
        assert said in text, said
    for word in ("attention", "transformer", "Geneformer", "None", "nan"):
        found = re.search(rf".{{40}}\b{word}\b.{{40}}", text)
        assert found is None, found
    details = (results / "report/data/details.level.js").read_text(encoding="utf-8")
    assert details
    for name in ("forest", "scorecard", "agreement"):
        assert (results / f"report/figures/level/{name}.svg").exists()


def test_what_makes_its_tables_is_recorded(results):
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    named = {source["name"] for source in record["inputs"]}
    assert {f"reader 'forest', file '{name}'" for name in FILES} <= named
    assert "evidence/level/forest/fold1.seed1/well_scores.parquet" in record["results"]


@pytest.mark.slow
def test_beside_the_encoder_it_stands_in_the_same_tables(tmp_path):
    beside = [("readers:\n", "readers:\n  - geneformer\n")]
    process, results = forest_study(tmp_path, replaced=beside)
    assert process.returncode == 0, process.text
    metrics = read_table(results / "models/level/metrics.parquet")
    assert {"full", "frozen", "forest"} <= set(metrics["regime"])
    tracks = set(read_table(results / "evidence/level/scorecard.parquet")["track"])
    assert {"attention_total", "forest"} <= tracks
    assert "forest_score" in read_table(results / "export/level/genes.parquet").columns


@pytest.mark.slow
def test_a_mistake_in_its_tables_ends_the_run_in_one_sentence(tmp_path):
    wrong = [('predictions.insert(0, "cell", ', 'predictions.insert(0, "cells", ')]
    process, results = forest_study(
        tmp_path, "results/forest/models/level/metrics.parquet", replaced=wrong
    )
    assert process.returncode == 1
    assert "readers/forest/level/fold1.seed1/predictions.tsv, column 'cell'" in process.text
    assert not (results / "models/level/forest").exists()
