"""The page of two studies held against each other: one file of HTML beside its figures."""

from pathlib import Path

import jinja2
import pandas as pd

from keygenes.core.files import write_text
from keygenes.core.shown import printable_lines
from keygenes.core.studies import shared_cells
from keygenes.evidence.replication import of_regime, same_track
from keygenes.report.page import format_value
from keygenes.report.panels import spoken
from keygenes.report.style import number
from keygenes.report.wording import listed, plural

HERE = Path(__file__).resolve().parent
SHOWN = {  # columns of the table of a track with itself: {column: heading}
    "track": "track",
    "regime": "regime",
    "rbo": "overlap (RBO), other study",
    "rbo_chance": "by chance",
    "nearest": "nearest other track, same study",
    "difference": "difference",
    "spearman": "Spearman's ρ, other study",
    "partial": "given detection",
    "partial_both": "given detection and rank",
    "n_genes": "genes",
    "cells": "cells per gene (median)",
}


def shown_regime(table, studies):
    """Return the regime whose tracks a figure shows: that of the first study's evidence.

    Where the table lacks it, the second study's, else the first that both studies have; None
    where they have none in common.
    """
    there = list(dict.fromkeys(table["regime"].dropna().astype(str)))
    wanted = [study.record["config"]["evidence"].get("regime") for study in studies]
    return next((name for name in [*wanted, *there] if name in there), None)


def simulated_words(studies):
    """Return what is simulated in which study, or False: 'a: no cell is real'."""
    found = [f"{s.name}: {s.record['simulated']}" for s in studies if s.record["simulated"]]
    return "; ".join(found) or False


def between(value, low, high):
    """Return a value with its interval as text: '0.31 (0.25 to 0.40)'."""
    if pd.isna(value):
        return "–"
    text = number(value, 2)
    return text if pd.isna(low) else f"{text} ({number(low, 2)} to {number(high, 2)})"


def _nearest(row):
    if pd.isna(row.nearest_rbo):
        return "–"
    return f"{number(row.nearest_rbo, 2)}, {spoken(row.nearest_track)} in {row.nearest_study}"


def self_table(same):
    """Return the rows of a track with itself as the page has them, all text."""
    return pd.DataFrame(
        [
            {
                "track": spoken(row.track_a),
                "regime": "–" if pd.isna(row.regime) else spoken(row.regime),
                "rbo": between(row.rbo, row.rbo_low, row.rbo_high),
                "rbo_chance": format_value(row.rbo_chance),
                "nearest": _nearest(row),
                "difference": between(row.difference, row.difference_low, row.difference_high),
                "spearman": between(row.spearman, row.spearman_low, row.spearman_high),
                "partial": between(row.partial, row.partial_low, row.partial_high),
                "partial_both": between(row.partial_both, None, None),
                "n_genes": f"{row.n_genes:,}",
                "cells": f"{format_value(row.n_cells_a)} and {format_value(row.n_cells_b)}",
            }
            for row in same.itertuples()
        ],
        columns=list(SHOWN),
    ).rename(columns=SHOWN)


def answer_of(task, same, regime, names):
    """Return in a sentence or two how many tracks of a regime are most like themselves.

    Parameters
    ----------
    same : rows of table 'replication' of a track with itself
    """
    same = of_regime(same, regime).dropna(subset=["difference"])
    models, others = same[same["regime"].notna()], same[same["regime"].isna()]
    parts = []
    for rows, of in ((models, f"of regime {spoken(regime)}"), (others, "that need no model")):
        if len(rows):
            above = rows[rows["difference_low"] > 0]
            which = f" ({listed(map(spoken, above['track_a']))})" if len(above) else ""
            parts.append(f"{len(above)} of {plural(len(rows), 'track')} {of}{which}")
    if not parts:
        return f"Task {task}: no track of {names[0]} and {names[1]} can be held against itself."
    text = (
        f"Task {task}: a track repeats itself where it is more like itself in the other study than "
        f"like any other track of its own study (interval above 0). {listed(parts)} do."
    )
    left = models.dropna(subset=["spearman", "partial"])
    if len(left):
        text += (
            f" Between the studies Spearman's ρ of the tracks of regime {spoken(regime)} is "
            f"{number(left['spearman'].median(), 2)} in the median; given how many cells express a "
            f"gene in each study it is {number(left['partial'].median(), 2)}."
        )
    return text


def answer_on_primary(beside, names):
    """Return what the two primary tests come to, in a sentence."""
    of = beside.set_index("quantity")
    named = ["task", "track", "gene_set", "regime"]
    a, b = (of[name] for name in names)
    if a["outcome"] is None or b["outcome"] is None:
        without = [name for name, one in zip(names, (a, b), strict=True) if one["outcome"] is None]
        return f"No primary test was named in {listed(without)}: there is none to repeat."
    same = all(str(a[key]) == str(b[key]) for key in named)
    which = "The primary test" if same else "The primary tests, which are of different things,"
    return f"{which}: {a['outcome']} in {names[0]}, {b['outcome']} in {names[1]}."


def answer_on_classes(labels, tasks, names):
    """Return sentences on tasks whose last class, which scores of a model are of, differs.

    Parameters
    ----------
    labels : two tables of the cells' labels, a categorical column per task
    tasks : iterable of str
    """
    last = {task: [table[task].cat.categories[-1] for table in labels] for task in tasks}
    return [
        f"In task {task} attributions and effects are of another class: {a} in {names[0]}, {b} in "
        f"{names[1]}."
        for task, (a, b) in last.items()
        if a != b
    ]


def study_facts(studies, selections):
    """Return a table of what each study is: a row per fact, a column per study.

    Parameters
    ----------
    studies : two `Study`
    selections : two tables 'selection'
    """
    facts = {}
    for study, selection in zip(studies, selections, strict=True):
        record, kept = study.record, selection.iloc[-1]
        made, commit = record["keygenes"], record["keygenes"].get("commit")
        dataset = record["config"]["dataset"]
        title = record["entries"]["datasets"].get(dataset, {}).get("title", "")
        facts[study.name] = {
            "folder": study.folder,
            "study": record["study"],
            "cells": f"{kept['n_cells']:,}",
            "genes": f"{kept['n_genes']:,}",
            "dataset": f"{dataset}{f': {title}' if title else ''}",
            "simulated": record["simulated"] or "no",
            "model": record["config"]["model"],
            "keygenes": f"{made['version']}{f' (commit {commit[:12]})' if commit else ''}",
            "packages": ", ".join(f"{k} {' and '.join(v)}" for k, v in record["software"].items()),
            "config sha256": record["config_sha256"],
        }
    return pd.DataFrame(facts).reset_index(names="")


def primary_section(beside):
    """Return the section of the primary tests."""
    shown = beside[beside.iloc[:, 1:].notna().any(axis=1)]
    shown = shown.assign(quantity=shown["quantity"].map(spoken))
    rows = [[format_value(value) for value in row] for row in shown.to_numpy(object)]
    frame = pd.DataFrame(rows, columns=["", *shown.columns[1:]])
    if not rows:
        return {
            "title": "Primary tests side by side",
            "paragraphs": ["Neither study named a test before anything was seen."],
        }
    return {
        "title": "Primary tests side by side",
        "paragraphs": [
            "The one test that each study named before anything was seen. Each has its own null of "
            "models trained on relabelled wells; docs/design.md has the columns."
        ],
        "tables": [("Table primary of both studies.", frame)],
    }


def task_section(task, table, figure, alone):
    """Return the section of a task.

    Parameters
    ----------
    task : str
    table : table 'replication' of the task
    figure : str
        Path of the figure beside the page, without ending.
    alone : dict {study: [regime or track]}
        What one study alone has.
    """
    paragraphs = [
        "Difference: the overlap of a track with itself in the other study minus the largest "
        "overlap with another track within either study, that is of the same regime or needs no "
        "model; its interval takes the two as independent. Above 0 a track carries something of "
        "its own from study to study. Intervals are over genes, taken as independent: genes that "
        "are regulated together are not, so they are rather too narrow."
    ]
    paragraphs += [
        f"In {name} alone: {listed(map(spoken, found))}." for name, found in alone.items()
    ]
    tracks = self_table(same_track(table))
    return {
        "title": f"Task {task}",
        "paragraphs": paragraphs,
        "figure": figure,
        "tables": [("Each track against itself in the other study.", tracks)],
    }


def page_content(studies, selections, labels, tables, beside, *, left_out, alone):
    """Return title, answer, sections and label of the page, for `write_replication_page`.

    Parameters
    ----------
    studies : two `Study`
    selections, labels : two tables each
        'selection', and those of the cells' labels.
    tables : dict {task: table 'replication'}
    beside : result of `primary_beside`
    left_out : dict {task: why it is not compared}
    alone : dict {task: result of `not_in_both`}
    """
    names = [study.name for study in studies]
    answer = [
        answer_of(task, same_track(table), shown_regime(table, studies), names)
        for task, table in tables.items()
    ]
    answer += answer_on_classes(labels, tables, names)
    answer.append(answer_on_primary(beside, names))
    if shared := shared_cells(*studies):
        answer.append(
            f"Both studies read the cells of {listed(shared)}: where they agree, nothing is "
            "repeated in other cells."
        )
    if left_out:
        reasons = "; ".join(f"{task} ({why})" for task, why in left_out.items())
        answer.append(f"Not compared: {reasons}.")
    sections = [
        *(
            task_section(task, table, f"figures/{task}", alone[task])
            for task, table in tables.items()
        ),
        primary_section(beside),
        {"title": "The studies", "tables": [("", study_facts(studies, selections))]},
    ]
    return {
        "title": f"{names[0]} and {names[1]}: what repeats itself?",
        "simulated": simulated_words(studies),
        "answer": answer,
        "sections": sections,
    }


def _shown(value):
    return printable_lines(value) if type(value) is str else value


def write_replication_page(path, *, title, simulated, answer, sections):
    """Write the page, equal bytes for equal input; it asks for no network.

    Parameters
    ----------
    path : path-like
    title : str
    simulated : str or False
    answer : list of str
    sections : list of dict
        title; paragraphs (list of str), figure (path without ending) and tables (list of (caption,
        DataFrame of text)) may be left out.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,  # names of studies, tasks and classes come from outside
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = environment.get_template("replication.html").render(
        title=title,
        simulated=simulated,
        answer=answer,
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        sections=[
            {
                "anchor": i,
                "title": section["title"],
                "paragraphs": section.get("paragraphs", []),
                "figure": section.get("figure"),
                "tables": [
                    {"caption": caption, "columns": list(frame), "rows": frame.values.tolist()}
                    for caption, frame in section.get("tables", [])
                ],
            }
            for i, section in enumerate(sections, start=1)
        ],
    )
    write_text(content, path)
