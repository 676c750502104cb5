"""The numbers of a study that its methods mention, counted from its tables."""

import pandas as pd

from keygenes.report.panels import pool


def study_counts(tables, study):
    """Return what the tables of a study count.

    Parameters
    ----------
    tables : dict
        Tables selection, splits, tokens (the report of the tokens) and, where at hand, vocabulary;
        per task of cells {task: table} metrics and genes, of those with pairs of models cosine;
        primary, a table or None.
    study : Study

    Returns
    -------
    dict
        n_cells, n_genes (of the study); hash_columns (of the hash filter, that the cells have);
        filter_pass (whether the cells have this column); unit ('well', 'replicate' or 'cell': what
        was held out whole); n_units {task: int} (units tested); has_intervals (whether accuracies
        have some: a class has several units); has_wells (whether wells could be
        compared); n_vocabulary (genes, where the vocabulary is given); n_cut (cells longer than
        a model reads), median_length (tokens); n_layers, n_heads (where models are compared);
        tracks (of regimes, that have scores, where there are regimes); permuted_unit (what the
        primary test relabels, where it is made).
    """
    tasks = study.tasks
    selection, tokens = tables["selection"], tables["tokens"]
    notes = dict(zip(selection["step"].astype(str), selection["note"].astype(str), strict=True))
    kept = selection.iloc[-1]
    named = [part.split() for part in notes.get("hash filter", "").split(", ")]
    scored = [tables["genes"][task] for task in tasks]
    return {
        "n_cells": int(kept["n_cells"]),
        "n_genes": int(kept["n_genes"]),
        "hash_columns": [words[0] for words in named if len(words) == 3 and words[1] in "<>"],
        "filter_pass": "filter_pass" in notes,
        "unit": str(tables["splits"]["unit"].iloc[0]),
        "n_units": {task: _units(tables["metrics"][task]) for task in tasks},
        "has_intervals": any(
            metrics["ci_low"].notna().any() for metrics in map(_pooled, tables["metrics"].values())
        ),
        "has_wells": any((table["track"].astype(str) == "pseudobulk").any() for table in scored),
        **_genes(tables.get("vocabulary")),
        **_primary(tables.get("primary")),
        "n_cut": int((tokens["n_truncated"] > 0).sum()),
        "median_length": float(tokens.loc[tokens["length"] > 0, "length"].median()),
        **_shape(tables["cosine"]),
        **({"tracks": _of_regimes(scored)} if study.regimes else {}),
    }


def _shape(cosine):
    """Return layers and heads of the models that are compared; empty where none are."""
    places = next(iter(cosine.values()), None)
    if places is None:
        return {}
    return {"n_layers": int(places["layer"].max()), "n_heads": int(places["head"].max())}


def _of_regimes(scored):
    """Return the tracks of regimes that some tables 'genes' have, sorted."""
    return sorted({str(name) for t in scored for name in t["track"][t["regime"].notna()].unique()})


def _pooled(metrics):
    """Return the accuracies over all models, with cells held out as the study holds them out."""
    pooled = pool(metrics[metrics["metric"].astype(str) == "accuracy"])
    return pooled[pooled["design"].astype(str) == "grouped"]


def _units(metrics):
    """Return how many units were tested, over all folds."""
    return int(_pooled(metrics)["n_units"].max())


def _primary(table):
    unit = None if table is None else table["permuted_unit"].iloc[0]
    return {} if pd.isna(unit) else {"permuted_unit": str(unit)}


def _genes(vocabulary):
    if vocabulary is None:
        return {}
    special = vocabulary["ensembl_id"].astype(str).str.startswith("<")
    return {"n_vocabulary": int((~special).sum())}
