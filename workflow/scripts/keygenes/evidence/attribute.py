"""One model put to the test in its test cells: attributions, faithfulness and randomisation.

What one pass answers is computed in all test cells (`evidence.attribution.max_cells`); what takes
many passes in some of them, drawn evenly from classes and their wells (`costly_cells`). The fold
alone chooses cells and draws: every training of it, on labels as they are or dealt anew, is looked
at in the same cells.
"""

import logging

import numpy as np
import pandas as pd
import torch

from keygenes.core.progress import with_progress
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import ATTRIBUTIONS, ONE_PASS
from keygenes.evidence import attribution
from keygenes.evidence.cell_scores import all_scores, one_pass_scores, timed, without_rejected
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


def faithfulness_table(model, cells, kept, of_genes, *, fixed, options, mask_token, batch_tokens):
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
    """
    frames = []
    turned = next((track for track in REVERSED if kept.get(track)), None)

    def value(variants):
        ids = torch.from_numpy(variants.astype(np.int64)).to(model.trunk.device)
        return attribution.contrasts(model, ids, batch_tokens=batch_tokens)

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
            mask_token=mask_token,
            rng=np.random.default_rng([cells.fold, 23, i]),
            **options,
        )
        frames.append(table.assign(cell=cells.names[i], well=cells.wells[i]))
    return table_of(frames, "cell_faithfulness")


def randomisation_table(model, cells, tracks, *, specials, **options):
    """Return table 'cell_randomisation' of the cells shown, for tracks that few passes answer."""

    def scores_of(some_model, i):
        ids, mask = padded([cells.tokens[i]], model.trunk.device)
        genes = ~np.isin(cells.tokens[i], list(specials))
        scores = one_pass_scores(some_model, ids, mask, tracks)
        if "integrated_gradients" in tracks:
            scores["integrated_gradients"], _ = attribution.integrated_gradients(
                some_model, ids, mask, specials=specials, n_steps=RANDOMISED_STEPS, **options
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


def attribute_genes(
    *,
    tokens,
    labels,
    splits,
    vocabulary,
    counts_obs,
    weights,
    config,
    out_well_scores,
    out_cells,
    task,
    fold,
    tracks,
    attribution_options,
    max_length,
    compute,
    wilcoxon=None,
    by_well=None,
    faithfulness_options=None,
    out_faithfulness=None,
    out_randomisation=None,
):
    """Write the attributions of one model per well and gene, and how far they can be believed.

    Of a model that was trained on dealt labels, `labels` and `splits` are those of the true one.

    Parameters
    ----------
    counts_obs : DataFrame, indexed by cell
        Obs of the study's cells; its `well` is used where there is one.
    fold : int
        Chooses the cells, all draws and the weights that randomisation puts in.
    tracks : list of str
        Others than those of `ONE_PASS` and `MANY_PASSES` are passed over.
    attribution_options : dict
        Config section evidence.attribution.
    wilcoxon, by_well, faithfulness_options, out_faithfulness, out_randomisation
        Without the outputs nothing is masked and nothing is randomised, and the others (tables of
        orders, config section evidence.faithfulness) are not read.
    """
    options, tested = dict(attribution_options), out_faithfulness is not None
    faith = dict(faithfulness_options) if tested else {"randomised_cells": 0}
    n_shown = faith.pop("randomised_cells")
    device = set_up_torch(compute)
    model, _ = load_classifier(weights, config)
    table = read_table(vocabulary)
    check_fit(model.config, vocabulary_size=len(table), max_length=max_length, where=str(config))
    model.requires_grad_(False).to(device)
    ids = table["ensembl_id"].to_numpy(str)
    specials = table.loc[table["ensembl_id"].str.startswith("<"), "token"].tolist()
    mask_token = int(table.loc[table["ensembl_id"] == "<mask>", "token"].iloc[0])
    batch_tokens = token_budget(compute, model.config)
    common = {"mask_token": mask_token, "batch_tokens": batch_tokens}

    frame, all_tokens, _ = task_cells(tokens, labels, splits, task, fold)
    cells = drawn_cells(frame, all_tokens, counts_obs, options, n_shown, fold)
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
    scores, errors = all_scores(model, cells, tracks, steps=steps, specials=specials, **common)
    if reads_first and not np.isin([c[0] for c in cells.tokens], specials).all():
        log.info(
            "the classifier reads position 0: its gene is part of every track, but of no order "
            "whose faithfulness is tested"
        )
    kept = without_rejected(scores, errors, options["max_completeness_error"])
    write_table(well_table(kept, cells, ids, specials), out_well_scores, "well_scores")
    values = logit_contrasts(model, cells, batch_tokens)
    write_table(cell_table(scores, errors, kept, cells, values), out_cells, "attributed_cells")
    if not tested:
        return
    of_genes = gene_orders(read_table(wilcoxon), task, ids, all_tokens)
    of_genes |= attention_orders(read_table(by_well), ids, tracks)
    with timed("faithfulness", n_costly):
        masked = faithfulness_table(
            model, cells, kept, of_genes, fixed=fixed, options=faith, **common
        )
    write_table(masked, out_faithfulness, "cell_faithfulness")
    with timed("randomisation", len(cells.shown)):
        changed = randomisation_table(model, cells, tracks, specials=specials, **common)
    write_table(changed, out_randomisation, "cell_randomisation")
