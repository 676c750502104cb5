"""The genes as the page shows them: a row each, and what opens when a reader picks one."""

import numpy as np
import pandas as pd

from keygenes.attention.expected import LIMIT
from keygenes.core.shown import gene_name
from keygenes.core.tracks import BASELINES
from keygenes.evidence.gene_table import leading_of, sets_of, tracks_of
from keygenes.report.panels import spoken
from keygenes.report.style import all_numbers

DIGITS = 4  # significant ones of a number on the page; the files have all


def _rounded(values):
    """Return numbers with `DIGITS` significant digits as nested lists, None for what is missing."""
    values = np.asarray(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.where(values == 0, 0.0, np.round(values * scale) / scale)
    whole = rounded == np.floor(rounded)
    found = rounded.astype(object)
    found[whole] = [int(value) for value in rounded[whole]]
    found[~np.isfinite(rounded)] = None
    return found.tolist()


def _models_first(tracks):
    return sorted(tracks, key=lambda track: track in BASELINES)  # else they keep their order


def class_unit(task, classes):
    """Return the unit of a task's classes: µM where they are doses themselves, else nothing.

    Parameters
    ----------
    task : dict
        Of the config.
    classes : list of str
    """
    return "µM" if task["column"] == "dose_um" and all_numbers(classes) else ""


def gene_rows(table, explained, unit="", leading=None):
    """Return the page's table of genes: {columns: [{title, hint, kind}], rows: [[...]], leading}.

    Parameters
    ----------
    table : result of `evidence.gene_table.gene_table`
    explained : result of `evidence.gene_table.explained_columns`
    unit : str
        Of the classes; may be empty.
    leading : str, optional
        The track by which genes are listed.

    Returns
    -------
    dict
        kind of a column: gene, text, flag or number. In the order of `table`, with the rank of a
        gene on every track; scores are in `gene_details`. leading: the position of the column by
        which the rows are sorted.
    """
    hints = dict(zip(explained["column"], explained["meaning"], strict=True))
    columns = [
        ("symbol", "gene", "gene", table["symbol"].map(gene_name)),
        ("ensembl_id", "Ensembl id", "text", table["ensembl_id"]),
        *(
            (f"in_{name}", spoken(name), "flag", table[f"in_{name}"].astype(int))
            for name in sets_of(table)
        ),
        (
            "group",
            f"most different in{unit and f' ({unit})'}",
            "text",
            table["group"].astype(object),
        ),
        ("log2fc", "its log2 fold change", "number", _rounded(table["log2fc"])),
        ("p_adj", "its adjusted p", "number", _rounded(table["p_adj"])),
        *(
            (
                f"{track}_rank",
                f"{spoken(track)}, rank",
                "number",
                table[f"{track}_rank"].astype(object),
            )
            for track in _models_first(tracks_of(table))
        ),
    ]
    by = f"{leading_of(tracks_of(table), leading)}_rank"
    values = [[None if pd.isna(v) else v for v in column] for *_, column in columns]
    return {
        "columns": [
            {"title": title, "hint": hints[name], "kind": kind} for name, title, kind, _ in columns
        ],
        "rows": [list(row) for row in zip(*values, strict=True)],
        "leading": [name for name, *_ in columns].index(by),
    }


def _hints(tracks, explained):
    """Return what the score of each track is, with its unit: "mean norm of ... [unit]".

    Of attention_residual the limit of its q as well.
    """
    said = explained.set_index("column")
    found = [said.loc[f"{track}_score", ["meaning", "unit"]] for track in tracks]
    limits = [f". q: {LIMIT}" if t == "attention_residual" else "" for t in tracks]
    return [
        (f"{meaning} [{unit}]" if unit not in ("", "none") else meaning) + limit
        for (meaning, unit), limit in zip(found, limits, strict=True)
    ]


def gene_details(table, explained, tests, ranks, heads, *, regime, unit=""):
    """Return what opens for each gene of `table`, in its order.

    Parameters
    ----------
    table : result of `evidence.gene_table.gene_table`
    explained : result of `evidence.gene_table.explained_columns`
    tests : table 'wilcoxon' of the task
    ranks : table 'gene_ranks'
    heads : table 'gene_heads', or None
        Without it there is no attention.
    regime : str or None
        Whose tracks and attention these are, where they are a regime's.
    unit : str
        Of the classes; may be empty.

    Returns
    -------
    dict
        regime, unit; tracks, classes, groups (names); hints: per track what its score is; sizes:
        per group its cells and those of the rest; scores: per gene and track score, rank, q, n;
        ranks: per gene and class mean, sd, n cells; tests: per gene and group log2fc, p_adj;
        layers, heads (how many, 0 without attention); attention: per gene, layer by layer, that of
        each head; cells: per gene those behind it. None: there is none.
    """
    ids = table["ensembl_id"]
    tracks = tracks_of(table)
    parts = ("score", "rank", "q", "n")
    scores = np.stack(
        [table[[f"{t}_{part}" for part in parts]].to_numpy(float, na_value=np.nan) for t in tracks],
        axis=1,
    )
    classes = [str(c) for c in ranks["class"].cat.categories]
    tests = tests[tests["reference"].astype(str) == "rest"]
    groups = [str(c) for c in tests["group"].cat.categories if (tests["group"] == c).any()]
    sizes = tests.groupby(tests["group"].astype(str))[["n_cells", "n_reference"]].max()

    def per_gene(frame, key, names, columns):
        """Return float [genes, names, columns]."""
        found = np.full((len(ids), len(names), len(columns)), np.nan)
        for i, name in enumerate(names):
            rows = frame[frame[key].astype(str) == name].set_index("ensembl_id")
            found[:, i] = rows[columns].reindex(ids).to_numpy(float, na_value=np.nan)
        return found

    return {
        "regime": regime and spoken(regime),
        "unit": unit,
        "tracks": [spoken(track) for track in tracks],
        "hints": _hints(tracks, explained),
        "scores": _rounded(scores),
        "classes": classes,
        "ranks": _rounded(per_gene(ranks, "class", classes, ["rank_mean", "rank_sd", "n_cells"])),
        "groups": groups,
        "sizes": sizes.loc[groups].to_numpy().tolist(),
        "tests": _rounded(per_gene(tests, "group", groups, ["log2fc", "p_adj"])),
        **_attention(heads, ids),
    }


def _attention(heads, ids):
    """Return layers, heads, attention and cells of `gene_details`."""
    if heads is None:
        return {"layers": 0, "heads": 0, "attention": [], "cells": []}
    n_layers, n_heads = int(heads["layer"].max()), int(heads["head"].max())
    place = (heads["layer"] - 1) * n_heads + heads["head"] - 1
    attention = heads.assign(place=place).pivot(index="ensembl_id", columns="place", values="mean")
    attention = attention.reindex(index=ids, columns=range(n_layers * n_heads)).to_numpy(float)
    cells = heads.groupby("ensembl_id")["n_cells"].max().reindex(ids)
    return {
        "layers": n_layers,
        "heads": n_heads,
        "attention": _rounded(attention),
        "cells": [None if pd.isna(n) else int(n) for n in cells],
    }
