"""The records of figures, held against captions, draw functions and studies."""

import importlib
import json

import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawn
from study_configs import STUDIES, record_of, schema, study

from keygenes.core.claims_file import read_claims
from keygenes.core.code import modules_by_name, modules_of
from keygenes.core.figures import FIGURES, SHEETS, STUDY, figure_names, tasks_with
from keygenes.core.schemas import TABLES
from keygenes.core.study import Study
from keygenes.core.study_files import StudyFiles
from keygenes.report.captions import caption, caption_path

DRAWN = [figure for sheet in SHEETS for figure in sheet.figures]
NAMES = [sheet.name for sheet in SHEETS]
GENES = {"name": "classes", "type": "gene", "gene_classes": "dosage"}
SET = "p53_textbook"
# Tables whose columns depend on the study, without a row.
OWN_TABLES = {
    "labels": {"cell": str, "level": "category", "dose": "category"},
    "key_genes": {"symbol": str, "rank_mean": float},
    "attended_vs_expressed": {
        **dict.fromkeys(("ensembl_id", "symbol", "group"), str),
        **dict.fromkeys(("attention_rank", "attention", "de_rank", "log2fc", "p_adj"), float),
        **{"abs_statistic": float, f"in_{SET}": bool},
    },
}


def study_of(name):
    """Return one of the studies, with a task of genes beside its own."""
    config = study(name)
    claims = config["evidence"]["claims"]
    claims = claims and read_claims(claims, schema("claims"))
    entries = record_of(config).entries
    return Study.of(config | {"tasks": [*config["tasks"], GENES]}, entries, claims)


def empty(path):
    """Return a table without a row, with the columns that its place gives it."""
    name = path.rsplit("/", 1)[-1].removesuffix(".parquet")
    name = {"report": "token_report"}.get(name, name)
    if name in OWN_TABLES:
        return pd.DataFrame({k: pd.Series(dtype=v) for k, v in OWN_TABLES[name].items()})
    return TABLES[name].empty_table().to_pandas()


def empty_tables(sheet, of, task):
    """Return what a sheet is drawn from, without a row."""
    files, found = StudyFiles(of, {}), {}
    for name, table in sheet.tables.items():
        if isinstance(table, str):
            found[name] = empty(table)
        else:
            paths, runs = table(of, files, task), sheet.params["runs"](of, task)
            assert len(paths) == len(runs) > 0
            assert all(
                f"/{task}/{r}/fold{f}.seed{s}/" in p
                for p, (r, f, s) in zip(paths, runs, strict=True)
            )
            found[name] = empty(paths[0]).assign(regime="", fold=1, seed=1)
    return found


@pytest.fixture(scope="module")
def thesis():
    return study_of("demo")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_captions_a_section_and_a_title(name):
    figure = FIGURES[name]
    assert len(caption(name)) > 150
    assert figure.table is None or caption_path(figure.table).is_file()
    assert figure.section in {"Data", "Models", "Attention", "Genes", "Gene classes", "Claims"}
    assert figure.title and figure.title[0] == figure.title[0].lower()


def test_names_are_unique_and_every_figure_but_a_table_is_drawn():
    assert len(set(NAMES)) == len(NAMES)
    assert len(DRAWN) == len({figure.name for figure in DRAWN})
    assert set(FIGURES) - {figure.name for figure in DRAWN} == {"figure8_key_genes"}


@pytest.mark.parametrize("sheet", SHEETS, ids=NAMES)
def test_a_sheet_draws_its_figures_and_no_other_and_rests_on_plain_values(sheet, thesis):
    module, function = sheet.draws.split(":")
    assert module in modules_by_name("draw_figures")
    plates_of = getattr(importlib.import_module(f"keygenes.report.{module}"), function)
    task = None if sheet.per == STUDY else "level"
    params = {name: value(thesis, task) for name, value in sheet.params.items()}
    assert json.dumps(params), "plain values, which Snakemake compares"
    plates = plates_of(empty_tables(sheet, thesis, task), params, task)
    assert set(plates) == {figure.name for figure in sheet.figures}
    for drawn, table in plates.values():
        assert isinstance(drawn, Drawn) and isinstance(table, pd.DataFrame)


def test_words_of_a_record_draw_nothing_again_and_a_module_only_what_it_draws():
    behind = {
        module: {
            path.stem for path in modules_of("draw_figures", module) if path.stem != "__init__"
        }
        for module in {sheet.module for sheet in SHEETS}
    }
    assert not [module for module, files in behind.items() if "figures" in files]
    readers = {module for module, files in behind.items() if "figures_cosine" in files}
    assert readers == {"figures_attention"}
    assert {module for module, files in behind.items() if "figures_models" in files} == {
        "figures_models"
    }


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_the_figures_of_its_tasks_each_once(name):
    of = study_of(name)
    found = figure_names(of)
    assert len(set(found)) == len(found)
    assert {task for s in SHEETS if s.of_genes for task in tasks_with(of, s)} == {"classes"}
    assert "classes/gene_classes" in found and "classes/forest" not in found
    for task in of.tasks:
        assert f"{task}/forest" in found and f"{task}/gene_classes" not in found
        assert (f"{task}/figure4_cosine" in found) == (task in of.paired_tasks)
        assert (f"{task}/figure7_attended_vs_de" in found) == of.main_attended
        assert (f"{task}/equal_length" in found) == bool(of.on_variants(task))
        assert (f"{task}/randomisation" in found) == bool(of.of_task(of.attributed, task))
        assert (f"{task}/primary_test" in found) == (task == of.primary_task)
    assert ("claims" in found) == (of.claims is not None)
    assert {"figure1_umap", "dose_screen"} <= set(figure_names(of, lambda s: s.without_model))
    assert not {"claims"} & set(figure_names(of, lambda s: s.without_model))
    assert set(figure_names(of, lambda s: s.of_genes)) >= {"classes/gene_classes"}
