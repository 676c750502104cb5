"""The pipeline's own steps on a world: fine-tune, extract, attribute, score."""

import numpy as np
import pandas as pd
import scipy.sparse as sp
from tiny_study import model_files, task_fold, write_model
from worlds import MAX_LENGTH, N_GENES, SPECIALS, write_world

from keygenes.attention.extract import extract_attention, looked_at
from keygenes.core.jobs import Compute
from keygenes.core.matrices import read_matrix
from keygenes.core.runs import Run
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence.attribute import Asked, OrderFiles, attribute_genes
from keygenes.evidence.score import model_tracks
from keygenes.evidence.well_sums import well_groups
from keygenes.expression.wilcoxon import Counted, rank_genes
from keygenes.models.finetune import Regime, finetune

LAYERS, HEADS = 2, 4
OPTIONS = {
    "epochs": 25,
    "batch_size": 12,
    "learning_rate": 1e-3,
    "weight_decay": 0.001,
    "warmup_steps": 500,
    "warmup_fraction": 0.1,
    "max_grad_norm": 1.0,
    "attention_dropout": 0.0,
    "pooling": None,
    "keep_epoch": "best",
    "converge": None,
}
UNTRAINED = {"epochs": 1, "learning_rate": 1e-12}  # a step too small to be seen
CHEAP = [*ATTENTION, "attention_readout", "rollout", "attention_gradient"]
EVERY = [*ATTENTION, *ATTRIBUTIONS]
TABLES = ("by_rank", "by_gene", "by_well", "norms", "heads", "expected")
COMPUTE = Compute(8192)


def write_tests(paths, folder):
    """Write the Wilcoxon table of a world; return its path."""
    cells = read_matrix(paths["counts"])
    labels = read_table(paths["labels"]).set_index("cell").loc[cells.obs_names, "level"]
    table = rank_genes(
        Counted(
            sp.csr_matrix(cells.X),
            cells.obs["n_counts"].to_numpy(float),
            cells.var_names,
            cells.var["symbol"].to_numpy(),
        ),
        labels,
        (cells.obs["dose_um"] == 0).to_numpy(),
        task="level",
        pseudocount=1.0,
    )
    write_table(table, folder / "wilcoxon.parquet", "wilcoxon")
    return folder / "wilcoxon.parquet"


def run_fold(paths, folder, model, *, fold, seed, tracks, options, costly_cells):
    """Fine-tune and look at one fold; return the paths of by_well, well_scores, predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    files = task_fold(paths, fold)
    parts = {"weights": "model.safetensors", "config": "config.json"}
    tuned = {part: folder / name for part, name in parts.items()}
    others = {name: folder / f"{name}.parquet" for name in ("history", "predictions")}
    finetune(
        files=files,
        model_files=model_files(paths | model, MAX_LENGTH),
        out={**tuned, **others, "loading": folder / "loading.json"},
        run=Run(fold, seed),
        regime=Regime(["*"], OPTIONS | options),
        compute=COMPUTE,
    )
    tuned = model_files(paths | tuned, MAX_LENGTH)
    obs = read_matrix(paths["counts"]).obs
    extract_attention(
        looked_at(files, obs, (obs["dose_um"] == 0).to_numpy(), None),
        tuned,
        {name: folder / f"{name}.parquet" for name in TABLES},
        pair_norms="norm_pair" in tracks,
        compute=COMPUTE,
    )
    outputs = ("well_scores", "cells", "faithfulness", "randomisation")
    attribution = {
        "max_cells": None,
        "costly_cells": costly_cells,
        "n_steps": 200,
        "attattr_steps": 5,
        "max_completeness_error": 0.05,
    }
    faithfulness = {"fractions": [0.1], "n_random": 1, "randomised_cells": 0}
    attribute_genes(
        files,
        tuned,
        obs,
        Asked(tracks, attribution, faithfulness),
        {name: folder / f"{name}.parquet" for name in outputs},
        COMPUTE,
        OrderFiles(paths["wilcoxon"], folder / "by_well.parquet"),
    )
    return {n: folder / f"{n}.parquet" for n in ("by_well", "well_scores", "predictions")}


def run_world(
    folder,
    kind,
    *,
    n_replicates,
    n_folds,
    tracks=EVERY,
    seed=0,
    trained=True,
    costly_cells=24,
    options=None,
):
    """Run some folds of a world; return its tracks and predictions.

    Parameters
    ----------
    tracks : list of str
        Of models.
    trained : bool
        False: a step too small to be seen is all that the model learns.
    costly_cells : int
        Test cells of each fold for tracks of many passes.
    options : dict, optional
        Of fine-tuning, where they differ from `OPTIONS`.

    Returns
    -------
    frame : DataFrame
        Pooled rows of every track asked for, as table 'genes' has them.
    predictions : DataFrame
        Of the test cells of all folds: cell, true, predicted.
    paths : dict
        The world's files.
    """
    paths = write_world(folder, kind, n_replicates=n_replicates, seed=seed)
    paths["wilcoxon"] = write_tests(paths, folder)
    model = write_model(
        folder / "encoder",
        seed=seed,
        n_tokens=len(SPECIALS) + N_GENES,
        layers=LAYERS,
        heads=HEADS,
        hidden=32,
        max_length=MAX_LENGTH,
        spread=0.02,
    )
    options = (options or {}) | ({} if trained else UNTRAINED)
    folds = {
        fold: run_fold(
            paths,
            folder / f"fold{fold}",
            model,
            fold=fold,
            seed=seed,
            tracks=tracks,
            options=options,
            costly_cells=costly_cells,
        )
        for fold in range(1, n_folds + 1)
    }
    obs = read_matrix(paths["counts"]).obs
    labels = read_table(paths["labels"]).set_index("cell").loc[obs.index, "level"]
    groups = well_groups(obs, labels, (obs["dose_um"] == 0).to_numpy())
    frames = []
    for names, table in ((ATTENTION, "by_well"), (ATTRIBUTIONS, "well_scores")):
        wanted = [track for track in names if track in tracks]
        if wanted:
            of_folds = {(fold, seed): files[table] for fold, files in folds.items()}
            frames += model_tracks(wanted, "full", of_folds, LAYERS * HEADS, groups)
    frame = pd.concat(frames, ignore_index=True)
    predictions = pd.concat(read_table(files["predictions"]) for files in folds.values())
    return (
        frame[frame["seed"].isna()],
        predictions.loc[predictions["split"] == "test", ["cell", "true", "predicted"]],
        paths,
    )


def accuracy(predictions):
    """Return the share of cells predicted right."""
    return float(
        np.mean(predictions["true"].astype(str).to_numpy() == predictions["predicted"].astype(str))
    )
