"""The report of a study: a folder with a page, written from tables and figures alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from keygenes.core.config import read_yaml
from keygenes.core.files import read_json, write_text
from keygenes.core.progress import duration
from keygenes.core.tables import read_table
from keygenes.report.answer import answer
from keygenes.report.charts import CHARTS, chart_spec
from keygenes.report.contents import claims_section, page_sections
from keygenes.report.facts import all_versions, provenance_facts
from keygenes.report.folder import copy_figure, copy_file, write_assets, write_packed
from keygenes.report.gene_data import class_unit, gene_details, gene_rows
from keygenes.report.headline import headline_numbers, summary_text
from keygenes.report.methods import methods
from keygenes.report.page import write_page
from keygenes.report.references import bibtex, own_entry, read_references, reference_list
from keygenes.report.run_times import run_times
from keygenes.report.study_counts import study_counts
from keygenes.report.style import count
from keygenes.report.subject import regime_of, subject

SHARED_TABLES = ("selection", "checks", "labels", "splits", "tokens", "wilcoxon", "vocabulary")
CELL_TABLES = ("metrics", "key_genes", "genes", "scorecard")
PAIR_TABLES = ("cosine", "comparison_bounds")  # of the tasks with models that are compared
SINGLE_TABLES = ("claims", "primary", "track_tests")  # that not every study has
SECONDS = ("wall_seconds", "longest_seconds", "cpu_seconds")
GENE_TABLES = ("gene_classes", "gene_metrics", "gene_scores")


def read_tables(files, study):
    """Return the tables of a study: {name: table}, those of tasks {name: {task: table}}.

    Parameters
    ----------
    files : dict {name: path or list of paths}
        Those of tasks in the order of the config's tasks, gene_sets of its sets; claims, primary
        and track_tests a list of one path or none.
    study : Study
    """
    tables = {name: read_table(files[name]) for name in SHARED_TABLES}
    for names, tasks in (
        (CELL_TABLES, study.tasks),
        (PAIR_TABLES, study.paired_tasks),
        (GENE_TABLES, study.gene_classes),
    ):
        for name in names:
            read = map(read_table, files[name])
            tables[name] = dict(zip(tasks, read, strict=True))
    tables["gene_sets"] = dict(
        zip(study.gene_sets, map(read_table, files["gene_sets"]), strict=True)
    )
    for name in SINGLE_TABLES:
        tables[name] = next(map(read_table, files[name]), None)
    return tables


def place_figures(names, source, folder, classes):
    """Copy figures into the report and make their charts.

    Parameters
    ----------
    names : list of str
        E.g. ``dose/figure4_cosine``.
    source, folder : path-like
        Where the figures lie, and the folder of the report.
    classes : dict {task: list of str}

    Returns
    -------
    shown : dict {name: dict}
        stem, source, width, height and chart, as `page.write_page` takes them.
    specs : dict {name: dict}
        Vega-Lite specifications of those that have a chart.
    """
    shown, specs = {}, {}
    for name in names:
        stem = name.rsplit("/", 1)[-1]
        kind, (width, height) = copy_figure(Path(source) / name, Path(folder) / "figures" / name)
        if stem in CHARTS:
            of = {name.split("/")[0]: classes[name.split("/")[0]]} if "/" in name else classes
            text = dict.fromkeys([*classes, "true", "predicted", "regime"], str)
            table = pd.read_csv(Path(source) / f"{name}.tsv", sep="\t", dtype=text)
            specs[name] = chart_spec(stem, table, of)
        shown[name] = {
            "stem": f"figures/{name}",
            "source": f"figures/{name}.{kind}",
            "width": width,
            "height": height,
            "chart": name if specs.get(name) else None,
        }
    return shown, {name: spec for name, spec in specs.items() if spec}


def write_genes(folder, study, tables, files):
    """Write the genes of each task: as files, for the page's table, and what opens for one."""
    for i, described in enumerate(study.cell_tasks):
        task = described["name"]
        classes = [str(c) for c in tables["labels"][task].cat.categories]
        unit = class_unit(described, classes)
        for kind in ("gene_tsv", "gene_xlsx"):
            copy_file(files[kind][i], folder / f"tables/{task}/{Path(files[kind][i]).name}")
        table = read_table(files["gene_tables"][i])
        explained = pd.read_csv(files["gene_columns"][i], sep="\t", keep_default_na=False)
        shown = gene_rows(table, explained, unit, study.leading_track)
        write_packed(shown, f"genes.{task}", folder / f"data/genes.{task}.js")
        tests = tables["wilcoxon"][tables["wilcoxon"]["task"].astype(str) == task]
        ranks = read_table(files["gene_ranks"][i])
        heads = read_table(files["gene_heads"][i]) if study.main_attended else None
        about = {"regime": regime_of(study), "unit": unit}
        details = gene_details(table, explained, tests, ranks, heads, **about)
        write_packed(details, f"details.{task}", folder / f"data/details.{task}.js")


def write_methods(path, files, tables, record, study):
    """Write the bibliography; return the methods and the works they cite, as the page shows them.

    Parameters
    ----------
    path : path-like
        Of the BibTeX file.
    files : dict
        references, references_schema and citation (paths).
    """
    schema = read_yaml(files["references_schema"])
    references = read_references(files["references"], schema)
    counts = study_counts(tables, study)
    paragraphs, keys = methods(study, references, counts=counts, software=record["software"])
    write_text(bibtex(keys, references, own_entry(files["citation"])), path)
    return paragraphs, reference_list(keys, references)


def write_report(files, folder, *, study, config, figures, software):
    """Write the report of a study, and the summary that the terminal prints.

    Parameters
    ----------
    files : dict {name: path or list of paths}
        The tables of `read_tables`; per task of cells gene_tables, gene_columns, gene_tsv,
        gene_xlsx, gene_ranks and, where a regime is in question, gene_heads; provenance;
        references, references_schema and citation.
    folder : path-like
        Of the report; figures are taken from ``figures`` beside it, times from ``benchmarks``.
    study : Study
    config : dict
        Shown as it is.
    figures : list of str
    software : dict {package: version}
        That writes the report.
    """
    folder = Path(folder)
    tables = read_tables(files, study)
    record = read_json(files["provenance"])
    labels = tables["labels"].drop(columns="cell")
    classes = {task: [str(c) for c in labels[task].cat.categories] for task in labels}
    shown, specs = place_figures(figures, folder.parent / "figures", folder, classes)
    write_assets(folder / "assets")
    write_packed(specs, "charts", folder / "data/charts.js")
    write_genes(folder, study, tables, files)
    times = run_times(folder.parent / "benchmarks")
    write_packed(shown_times(times), "run_times", folder / "data/run_times.js")
    paragraphs, references = write_methods(folder / "references.bib", files, tables, record, study)
    headline = headline_numbers(tables, study)
    write_page(
        folder / "index.html",
        title=f"{study.name}: {subject(study).heading}",
        study=study.name,
        simulated=study.simulated,
        answer=answer(tables, study),
        headline=headline,
        sections=[
            *claims_section(tables["claims"], study, shown),
            *page_sections(tables, study, shown),
        ],
        methods=paragraphs,
        references=references,
        config_yaml=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        versions=all_versions(record["software"], software),
        provenance=provenance_facts(record, study),
    )
    summary = summary_text(headline, folder / "index.html", study.simulated, tables["claims"])
    write_text(summary, folder / "summary.txt")


def shown_times(times):
    """Return run times as the page lists them: heads and rows of text."""
    heads = ["rule", "jobs", "wall time", "longest job", "CPU time", "most memory (MB)"]
    rows = [
        [
            row.rule,
            count(row.n_jobs),
            *(_time(getattr(row, name)) for name in SECONDS),
            count(row.peak_mb),
        ]
        for row in times.itertuples()
    ]
    return {"heads": heads, "rows": rows}


def _time(seconds):
    return duration(seconds) if np.isfinite(seconds) else "–"
