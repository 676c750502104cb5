"""Two small finished studies as folders, their gene tables with known agreement."""

import numpy as np
import pandas as pd
from study_configs import made_study

from keygenes import __version__
from keygenes.core.files import write_json
from keygenes.core.schemas import TABLES
from keygenes.core.tables import set_stamp, write_table
from keygenes.core.version import write_version
from keygenes.evidence.tracks import random_track, track
from keygenes.report.provenance import provenance

PLANTED, FREE = "attention_residual", "attention_received"  # ranked alike in both; in neither
CLASSES = {"low": [0], "high": [25]}
N_GENES = 400


def gene_ids(n=N_GENES, start="ENSG"):
    return np.array([f"{start}{i:011d}" for i in range(n)])


def genes_of(seed, *, ids=None, noise=0.1, regimes=("full", "frozen"), runs=(1, 2)):
    """Return a table 'genes': `PLANTED` follows one order of the genes, whatever the seed.

    Detection follows another one; every model also has rows per training seed.
    """
    ids = gene_ids() if ids is None else ids
    common, own = np.random.default_rng(7), np.random.default_rng([seed, 8])
    order, often = common.normal(size=(2, len(ids)))
    n_cells = np.maximum(1, (50 * np.exp(often + own.normal(0, 0.2, len(ids)))).astype(int))

    def noisy(values):
        return values + own.normal(0, noise, len(ids))

    tracks = [
        track("detection", ids, n_cells.astype(float), n_cells),
        track("mean_rank", ids, own.normal(size=len(ids)), n_cells),
        track("wilcoxon", ids, own.normal(size=len(ids)), n_cells),
        random_track(ids, n_cells),
    ]
    for regime in regimes:
        for run in (*runs, None):
            names = {"regime": regime, "seed": run}
            tracks += [
                track(PLANTED, ids, noisy(order), n_cells, **names),
                track(FREE, ids, own.normal(size=len(ids)), n_cells, **names),
                track("attention_total", ids, noisy(n_cells.astype(float)), n_cells, **names),
            ]
    frame = pd.concat(tracks, ignore_index=True)
    frame["seed"] = frame["seed"].astype("Int64")
    frame["symbol"] = frame["ensembl_id"].str.replace("ENSG", "S")
    return frame.reindex(columns=TABLES["genes"].names)


def primary_of(**values):
    """Return a table 'primary' in which what is not given is missing."""
    named = {"task": "level", "regime": "full", "track": PLANTED, "gene_set": "planted"}
    return pd.DataFrame([dict.fromkeys(TABLES["primary"].names) | named | values])


def write_study(folder, seed, *, tasks=None, ids=None, primary=None, simulated=False, dataset=None):
    """Write a finished study with the package's own functions; return its folder.

    Parameters
    ----------
    tasks : dict {task: {class: values}}, optional
    primary : table 'primary', optional
    dataset : str, optional
        Name of its cells; one of its own by default.
    """
    tasks, dataset = tasks or {"level": CLASSES}, dataset or f"cells_{folder.name}"
    set_stamp({"rule": "score_genes", "versions": {"keygenes": __version__}})
    selection = pd.DataFrame(
        {"step": ["all", "kept"], "n_cells": [900, 800 + seed], "n_genes": N_GENES, "note": ""}
    )
    labels = pd.DataFrame({"cell": [f"c{i}" for i in range(4)]})
    for task, classes in tasks.items():
        names = list(classes)
        labels[task] = pd.Categorical(np.resize(names, 4), names, ordered=True)
    tables = {"cells/selection": ("selection", selection), "cells/labels": (None, labels)}
    for task in tasks:
        tables[f"evidence/{task}/genes"] = ("genes", genes_of(seed, ids=ids))
    if primary is not None:
        tables["evidence/primary"] = ("primary", primary)
    paths = [folder / f"{name}.parquet" for name in tables]
    for path, (name, table) in zip(paths, tables.values(), strict=True):
        write_table(table, path, name)
    set_stamp(None)
    config = {
        "study": folder.name,
        "dataset": dataset,
        "model": "pretrain",
        "tasks": [{"name": k, "column": "dose_um", "classes": v} for k, v in tasks.items()],
        "folds": [1, 2],
        "seeds": [1, 2],
        "evidence": {
            "regime": "full",
            "primary": {"task": "level"} if primary is not None else None,
        },
    }
    entry = {"title": "made-up cells", "simulate": {"seed": dataset}, "simulated": simulated}
    record = provenance(
        made_study(config, datasets={dataset: entry}),
        config,
        given={},
        sources={},
        code={"rules": "r", "scripts": {}},
        checkout=folder,
        snakemake="9.0",
        results=folder,
        tables=paths,
    )
    write_json(record, folder / "provenance.json")
    write_version(folder)
    return folder
