"""The report page: HTML that leads through answer, verdicts, figures, tables, methods, provenance.

Its folder holds all that it needs (`folder`). Without JavaScript it shows its static figures; it
follows the reader's light or dark setting, prints, and fits a phone.
"""

import functools
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from keygenes.core.files import write_text
from keygenes.core.shown import printable_lines
from keygenes.evidence.verdicts import VERDICTS
from keygenes.report.figures_claims import MARKS, by_chance, found_text
from keygenes.report.panels import distinct, spoken
from keygenes.report.style import count, number

HERE = Path(__file__).resolve().parent
MAX_ROWS = 50  # of a table on the page; the file behind it has all
NAMES = (
    "regime",
    "model",
    "encoder",
    "metric",
)  # columns whose values are names that the pipeline gives


def format_value(value):
    """Return a table cell as text: sensible digits, thousands separated, a dash for nothing."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if value is None or value is pd.NA or (np.isscalar(value) and pd.isna(value)):
        return "–"
    if isinstance(value, (int, np.integer)):
        return count(int(value))
    if isinstance(value, (float, np.floating)):
        if abs(value) >= 100 and float(value).is_integer():
            return count(value)
        return number(value, 3) if np.isfinite(value) else str(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(format_value(part) for part in value)
    return str(value)


def _is_number(series):
    return pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)


def _table(caption, frame, source):
    """Return what the template needs of a table."""
    shown = frame.head(MAX_ROWS)
    named = [name in NAMES for name in frame.columns]
    return {
        "caption": caption,
        "columns": [(spoken(name), bool(_is_number(frame[name]))) for name in frame.columns],
        "rows": [
            [
                spoken(format_value(value)) if name else format_value(value)
                for name, value in zip(named, row, strict=True)
            ]
            for row in shown.astype(object).itertuples(index=False, name=None)
        ],
        "left_out": len(frame) - len(shown),
        "n_rows": len(frame),
        "source": str(source) if source else "",
    }


def _figure(figure):
    first = figure["caption"].split("\n", 1)[0]
    return {
        **figure,
        "file": figure["stem"].rsplit("/", 1)[-1],
        "alt": first.split(". ")[0],
        "paragraphs": _paragraphs(figure["caption"]),
    }


def _paragraphs(text):
    return [part.strip() for part in (text or "").split("\n\n") if part.strip()]


def _claims(table):
    """Return what the template needs of the verdicts: each claim with its readings."""
    if table is None:
        return []
    groups = []
    for claim in distinct(table["claim"]):
        rows = table[table["claim"] == claim]
        rows = rows.sort_values("primary", ascending=False, kind="stable")
        first = rows.iloc[0]
        readings = [
            {
                **{k: format_value(row[k]) for k in ("reading", "task", "thesis_value", "why")},
                "control": format_value(row["control"]),
                "found": found_text(row),
                "unit": "" if pd.isna(row["unit"]) else row["unit"],
                "n": "" if pd.isna(row["n"]) else f"n = {count(row['n'])} {row['n_of']}",
                "p": ""
                if pd.isna(row["p"])
                else f"p = {number(row['p'], 2)}, Holm {number(row['p_holm'], 2)}",
                "primary": bool(row["primary"]),
                "null": by_chance(row),
                "null_study": "" if pd.isna(row["null_study"]) else row["null_study"],
                "verdict": str(row["verdict"]),
                "mark": MARKS[str(row["verdict"])],
                "class": f"verdict-{VERDICTS.index(str(row['verdict']))}",
            }
            for _, row in rows.iterrows()
        ]
        names = {"id": claim, "statement": first["statement"], "where": first["where"]}
        names["verdict"] = next((r for r in readings if r["primary"]), None)
        groups.append({**names, "readings": readings})
    return groups


def _shown(value):
    return printable_lines(value) if type(value) is str else value  # not what a macro has made


@functools.cache
def _template():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,  # gene names, class names and paths come from outside
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def write_page(
    path,
    *,
    title,
    study,
    simulated,
    answer,
    headline,
    sections,
    methods,
    references,
    config_yaml,
    versions,
    provenance,
):
    """Write the page of the report's folder, equal bytes for equal input.

    Parameters
    ----------
    path : path-like
    title, study : str
    simulated : bool or str
        If true, a banner says so; a text says what is simulated.
    answer : list of str
        The question and the answer, in sentences.
    headline : list of (str, object, str)
        Label, value and detail of the numbers that matter, e.g.
        ``("accuracy of level, full", 0.91, "95 % interval 0.88 to 0.94, n = 480 cells")``.
        Numbers are formatted, text is taken as it is.
    sections : list of dict
        title and text (paragraphs split by an empty line); figures: list of dict with title, stem
        (path in the folder, without ending), source (of the picture shown), width, height, caption
        and chart (name of its chart in ``data/charts.js``, or None); tables: list of (caption,
        DataFrame, path in the results of the file behind it or None); claims: table 'claims', shown
        whole, claim by claim; gene_tasks: tasks whose table of genes is shown, the last one first.
        All but the title may be left out.
    methods : list of str
        Paragraphs.
    references : list of str
    config_yaml : str
        The configuration of the run.
    versions : dict
        {package: version}.
    provenance : dict
        {what: text}, e.g. data source, checksum, model, licence. Values are shown as text.
    """
    content = _template().render(
        title=title,
        study=study,
        simulated=simulated,
        answer=answer,
        headline=[(label, format_value(value), detail) for label, value, detail in headline],
        sections=[
            {
                "anchor": f"section-{i}",
                "title": section["title"],
                "paragraphs": _paragraphs(section.get("text")),
                "claims": _claims(section.get("claims")),
                "gene_tasks": section.get("gene_tasks", ()),
                "figures": [_figure(figure) for figure in section.get("figures", ())],
                "tables": [_table(*table) for table in section.get("tables", ())],
            }
            for i, section in enumerate(sections, start=1)
        ],
        methods=methods,
        references=references,
        config_yaml=config_yaml,
        versions={name: str(version) for name, version in versions.items()},
        provenance={name: format_value(value) for name, value in provenance.items()},
    )
    write_text(content, path)
