"""One model put to the test in its test cells: attributions, faithfulness and randomisation.

What one pass answers is computed in all test cells (`evidence.attribution.max_cells`); what takes
many passes in some of them, drawn evenly from classes and their wells (`costly_cells`). The fold
alone chooses cells and draws: every training of it, on labels as they are or dealt anew, is looked
at in the same cells.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from keygenes.core.progress import with_progress
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import ATTRIBUTIONS, ONE_PASS
from keygenes.evidence import attribution
from keygenes.evidence.cell_scores import (
    Masking,
    all_scores,
    one_pass_scores,
    timed,
    without_rejected,
)
from keygenes.evidence.drawn_cells import drawn_cells
from keygenes.evidence.faithfulness import cell_faithfulness
from keygenes.evidence.intervals import table_of
from keygenes.evidence.orders import attention_orders, gene_orders, orders_of
from keygenes.evidence.randomisation import cell_randomisation
from keygenes.models.batches import budget_batches, padded
from keygenes.models.cells import task_cells
from keygenes.models.device import set_up_torch, token_budget
from keygenes.models.encoder import check_fit, load_classifier
from keygenes.models.head import cell_logits

log = logging.getLogger("keygenes")

# The first of these that any cell has is also tried from its end.
REVERSED = ("integrated_gradients", "occlusion", "attattr", *ONE_PASS[::-1])
RANDOMISED_STEPS = 10  # of integrated gradients, whose ranks alone matter there


class Asked(NamedTuple):
    """What is asked of a model.

    Attributes
    ----------
    tracks : list of str
        Others than those of `ONE_PASS` and `MANY_PASSES` are passed over.
    attribution, faithfulness : dict
        Config sections evidence.attribution and evidence.faithfulness.
    """

    tracks: list[str]
    attribution: dict[str, Any]
    faithfulness: dict[str, Any] | None


class OrderFiles(NamedTuple):
    """Tables that tell orders of genes which attributions are held against.

    Attributes
    ----------
    wilcoxon, by_well : path-like
        `by_well` of the same model.
    """

    wilcoxon: str | Path
    by_well: str | Path


def well_table(scores, cells, ensembl_ids, specials):
    """Return table 'well_scores': sums over the cells of a well, per track and gene.

    Parameters
    ----------
    scores : dict {track: dict {cell: float64 array [length]}}
    cells : Cells
    ensembl_ids : array of str [n_tokens]
    specials : sequence of int
        Tokens that are no genes.
    """
    frames, n_tokens, wells = [], len(ensembl_ids), cells.wells
    for track in [t for t in ATTRIBUTIONS if scores.get(t)]:
        chosen = list(scores[track])
        values = np.concatenate([scores[track][i] for i in chosen])
        genes = np.concatenate([cells.tokens[i] for i in chosen]).astype(np.int64)
        of_well = np.repeat(wells.codes[chosen].astype(np.int64), cells.lengths[chosen])
        used = ~np.isnan(values) & ~np.isin(genes, list(specials))
        codes, at = np.unique((of_well * n_tokens + genes)[used], return_inverse=True)
        frames.append(
            pd.DataFrame(
                {
                    "track": track,
                    "well": np.asarray(wells.categories)[codes // n_tokens],
                    "ensembl_id": ensembl_ids[codes % n_tokens],
                    "n_cells": np.bincount(at, minlength=len(codes)),
                    "sum": np.bincount(at, values[used], len(codes)),
                    "sum_absolute": np.bincount(at, np.abs(values[used]), len(codes)),
                }
            )
        )
    return table_of(frames, "well_scores")


def cell_table(scores, errors, kept, cells, values):
    """Return table 'attributed_cells': a row per track of `ATTRIBUTIONS` and cell."""
    lengths = cells.lengths
    rows = [
        {
            "cell": cells.names[i],
            "well": cells.wells[i],
            "track": track,
            "length": lengths[i],
            "contrast": values[i],
            "completeness_error": errors.get(track, {}).get(i, np.nan),
            "rejected": i not in kept[track],
        }
        for track in ATTRIBUTIONS
        for i in scores.get(track, {})
    ]
    return table_of([pd.DataFrame(rows)], "attributed_cells")


def faithfulness_table(model, cells, kept, of_genes, fixed, options, masking):
    """Return table 'cell_faithfulness' of the costly cells.

    Parameters
    ----------
    cells : Cells
    kept : dict {track: dict {cell: float array [length]}}
    of_genes : dict {order: float array [n_tokens]}
    fixed : callable
        ``fixed(cell)`` -> bool array [L], positions that are never masked.
    options : dict
        fractions, n_random.
    masking : Masking
    """
    frames = []
    turned = next((track for track in REVERSED if kept.get(track)), None)

    def value(variants):
        ids = torch.from_numpy(variants.astype(np.int64)).to(model.trunk.device)
        return attribution.contrasts(model, ids, batch_tokens=masking.batch_tokens)

    for i in map(int, with_progress(cells.costly, "faithfulness", "cells")):
        cell = cells.tokens[i]
        genes = np.flatnonzero(~fixed(cell))
        if not len(genes):
            continue
        of_cell = {track: scores[i] for track, scores in kept.items() if i in scores}
        sign = 1.0 if value(cell[None])[0] >= 0 else -1.0
        table = cell_faithfulness(
            value,
            cell,
            genes,
            orders_of(cell, genes, of_cell, of_genes, sign, turned),
            options,
            masking.mask_token,
            np.random.default_rng([cells.fold, 23, i]),
        )
        frames.append(table.assign(cell=cells.names[i], well=cells.wells[i]))
    return table_of(frames, "cell_faithfulness")


def randomisation_table(model, cells, tracks, masking):
    """Return table 'cell_randomisation' of the cells shown, for tracks that few passes answer."""

    def scores_of(some_model, i):
        ids, mask = padded([cells.tokens[i]], model.trunk.device)
        genes = ~np.isin(cells.tokens[i], masking.specials)
        scores = one_pass_scores(some_model, ids, mask, tracks)
        if "integrated_gradients" in tracks:
            scores["integrated_gradients"], _ = attribution.integrated_gradients(
                some_model, ids, mask, n_steps=RANDOMISED_STEPS, **masking._asdict()
            )
        return {track: found[0, : len(genes)][genes] for track, found in scores.items()}

    table = cell_randomisation(model, list(cells.shown), scores_of, cells.fold)
    at = cells.shown[table.pop("at").to_numpy(int)]
    table = table.assign(cell=cells.names[at], well=cells.wells[at])
    return table_of([table], "cell_randomisation")


def logit_contrasts(model, cells, batch_tokens):
    """Return F of every cell, unmasked: float64 array [n_cells]."""
    values = np.full(len(cells.tokens), np.nan)
    for batch in with_progress(budget_batches(cells.lengths, batch_tokens), "logits"):
        ids, mask = padded([cells.tokens[i] for i in batch], model.trunk.device)
        with torch.no_grad():
            logits = cell_logits(model, ids, mask)
        values[batch] = attribution.contrast(logits).double().cpu().numpy()
    return values


def attribute_genes(files, model_files, obs, asked, out, compute, orders=None):
    """Write the attributions of one model per well and gene, and how far they can be believed.

    Parameters
    ----------
    files : TaskFold
        Of a model that was trained on dealt labels, those of the true one. The fold chooses the
        cells, all draws and the weights that randomisation puts in.
    model_files : ModelFiles
    obs : DataFrame, indexed by cell
        Of the study's cells; its `well` is used where there is one.
    asked : Asked
    out : dict {name: path-like}
        well_scores, cells; faithfulness, randomisation: without these two nothing is masked and
        nothing is randomised.
    compute : core.jobs.Compute
    orders : OrderFiles, optional
        For faithfulness.
    """
    options, tested, tracks = asked.attribution, "faithfulness" in out, asked.tracks
    n_shown = asked.faithfulness["randomised_cells"] if tested else 0
    device = set_up_torch(compute)
    model, _ = load_classifier(model_files.weights, model_files.config)
    table = read_table(model_files.vocabulary)
    size = {"vocabulary_size": len(table), "max_length": model_files.max_length}
    check_fit(model.config, **size, where=str(model_files.config))
    model.requires_grad_(False).to(device)
    ids = table["ensembl_id"].to_numpy(str)
    specials = table.loc[table["ensembl_id"].str.startswith("<"), "token"].tolist()
    mask_token = int(table.loc[table["ensembl_id"] == "<mask>", "token"].iloc[0])
    masking = Masking(mask_token, specials, token_budget(compute, model.config))

    frame, all_tokens, _ = task_cells(*files)
    cells = drawn_cells(frame, all_tokens, obs, options, n_shown, files.fold)
    n_costly = len(cells.costly)
    log.info("%d test cells, %d of them with tracks of many passes", len(cells.names), n_costly)

    reads_first = getattr(model.config, "classifier_pooling", "first") != "mean"

    def fixed(cell):
        never = np.isin(cell, specials)
        never[0] |= reads_first
        return never

    steps = {"integrated_gradients": options["n_steps"], "attattr": options["attattr_steps"]}
    if not tested:
        tracks = [track for track in tracks if track in ATTRIBUTIONS]
    scores, errors = all_scores(model, cells, tracks, steps, masking)
    if reads_first and not np.isin([c[0] for c in cells.tokens], specials).all():
        log.info(
            "the classifier reads position 0: its gene is part of every track, but of no order "
            "whose faithfulness is tested"
        )
    kept = without_rejected(scores, errors, options["max_completeness_error"])
    write_table(well_table(kept, cells, ids, specials), out["well_scores"], "well_scores")
    values = logit_contrasts(model, cells, masking.batch_tokens)
    attributed = cell_table(scores, errors, kept, cells, values)
    write_table(attributed, out["cells"], "attributed_cells")
    if not tested:
        return
    of_genes = gene_orders(read_table(orders.wilcoxon), files.task, ids, all_tokens)
    of_genes |= attention_orders(read_table(orders.by_well), ids, tracks)
    with timed("faithfulness", n_costly):
        masked = faithfulness_table(
            model, cells, kept, of_genes, fixed, asked.faithfulness, masking
        )
    write_table(masked, out["faithfulness"], "cell_faithfulness")
    with timed("randomisation", len(cells.shown)):
        changed = randomisation_table(model, cells, tracks, masking)
    write_table(changed, out["randomisation"], "cell_randomisation")
