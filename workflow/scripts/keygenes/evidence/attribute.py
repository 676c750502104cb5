"""One model put to the test in its test cells: attributions, faithfulness and randomisation.

What one pass answers is computed in all test cells (`evidence.attribution.max_cells`); what takes
many passes in some of them, drawn evenly from classes and their wells (`costly_cells`). The fold
alone chooses cells and draws: every training of it, on labels as they are or dealt anew, is looked
at in the same cells.
"""

import contextlib
import logging
import time

import numpy as np
import pandas as pd
import torch

from keygenes.attention.flow import readout_and_rollout
from keygenes.core.progress import with_progress
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import ATTRIBUTIONS, MANY_PASSES, ONE_PASS
from keygenes.evidence import attribution
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

OF_WELLS = ATTRIBUTIONS  # attention has its own tables
# The first of these that any cell has is also tried from its end.
REVERSED = ("integrated_gradients", "occlusion", "attattr", *ONE_PASS[::-1])
RANDOMISED_STEPS = 10  # of integrated gradients, whose ranks alone matter there


def one_pass_scores(model, ids, mask, tracks):
    """Return what one pass answers: dict {track: float64 array [n_cells, L]}.

    Attention is in multiples of uniform attention, the rollout too: its share times the length.
    """
    scores = {}
    if "attention_received" in tracks:
        scores["attention_received"] = attribution.attention_received(model, ids, mask)
    if {"attention_readout", "rollout"} & set(tracks):
        config = model.config
        readout, rollout = readout_and_rollout(
            model.trunk,
            ids,
            mask,
            getattr(config, "classifier_pooling", "first"),
            getattr(config, "pooling_leaves_out", ()),
        )
        scores["attention_readout"] = readout.double().cpu().numpy()
        scores["rollout"] = (rollout.double() * mask.sum(1, keepdim=True)).cpu().numpy()
    if "attention_gradient" in tracks:
        scores["attention_gradient"] = attribution.attention_gradient(model, ids, mask)
    return {track: scores[track] for track in ONE_PASS if track in tracks}


def many_pass_scores(model, ids, mask, track, *, steps, mask_token, specials, batch_tokens):
    """Return one track of `MANY_PASSES` and its completeness errors (None where it has none).

    Parameters
    ----------
    steps : dict {track: int}
    """
    cost = {"batch_tokens": batch_tokens}
    tokens = {"mask_token": mask_token, "specials": specials}
    if track == "attattr":
        return attribution.attattr(model, ids, mask, n_steps=steps[track], **cost)
    if track == "integrated_gradients":
        return attribution.integrated_gradients(
            model, ids, mask, n_steps=steps[track], **tokens, **cost
        )
    if track == "occlusion":
        return attribution.occlusion(model, ids, mask, **tokens, **cost), None
    return attribution.deletion(model, ids, mask, specials=specials, **cost), None


@contextlib.contextmanager
def timed(what, n_cells):
    """Log what a part costs. No table holds times: equal runs have equal bytes."""
    started = time.perf_counter()
    yield
    seconds = (time.perf_counter() - started) / max(1, n_cells)
    log.info("%s: %d cells, %.3g s per cell", what, n_cells, seconds)


def all_scores(model, cells, tracks, *, steps, mask_token, specials, batch_tokens):
    """Return every track in every cell that it is computed in, and completeness errors.

    Parameters
    ----------
    cells : Cells
        The costly ones get the tracks of `MANY_PASSES`, and attention received.
    tracks : list of str

    Returns
    -------
    scores : dict {track: dict {cell: float64 array [length]}}
        NaN where a track says nothing.
    errors : dict {track: dict {cell: float}}
    """
    scores = {track: {} for track in (*ONE_PASS, *MANY_PASSES) if track in tracks}
    errors = {}
    lengths, costly = cells.lengths, cells.costly
    everywhere = np.arange(len(lengths))
    for names, chosen in (
        ([t for t in ONE_PASS if t in tracks and t in ATTRIBUTIONS], everywhere),
        ([t for t in ONE_PASS if t in tracks and t not in ATTRIBUTIONS], costly),
    ):
        if not names or not len(chosen):
            continue
        with timed(", ".join(names), len(chosen)):
            batches = budget_batches(lengths[chosen], batch_tokens)
            for batch in with_progress([chosen[b] for b in batches], "one pass"):
                ids, mask = padded([cells.tokens[i] for i in batch], model.trunk.device)
                for track, found in one_pass_scores(model, ids, mask, names).items():
                    for i, row in zip(batch, found, strict=True):
                        scores[track][int(i)] = row[: lengths[i]]
    for track in [t for t in MANY_PASSES if t in tracks]:
        errors[track] = {}
        groups = cells_together(lengths, costly, steps.get(track), batch_tokens, model.trunk.device)
        with timed(track, len(costly)):
            for group in with_progress(groups, track):
                found, error = many_pass_scores(
                    model,
                    *padded([cells.tokens[i] for i in group], model.trunk.device),
                    track,
                    steps=steps,
                    mask_token=mask_token,
                    specials=specials,
                    batch_tokens=batch_tokens,
                )
                for row, i in enumerate(map(int, group)):
                    scores[track][i] = found[row, : lengths[i]]
                    if error is not None:
                        errors[track][i] = float(error[row])
        for of_cells in (scores[track], errors[track]):  # tables are in this order
            of_cells.update({int(i): of_cells.pop(int(i)) for i in costly if int(i) in of_cells})
    return scores, errors


def cells_together(lengths, costly, n_steps, batch_tokens, device):
    """Return groups of cells whose passes fill the token budget; on a CPU each cell is alone.

    Parameters
    ----------
    costly : int array
        Positions of the cells.
    n_steps : int or None
        Passes per cell; None: one per gene.
    """
    if device.type == "cpu":
        return [costly[i : i + 1] for i in range(len(costly))]
    left, groups = costly[np.argsort(-lengths[costly], kind="stable")], []
    while len(left):
        longest = lengths[left[0]]
        n = max(1, batch_tokens // int(longest * (n_steps or longest)))
        groups.append(left[:n])
        left = left[n:]
    return groups


def without_rejected(scores, errors, most):
    """Return the scores of cells whose attributions add up; the others are counted in the log.

    Parameters
    ----------
    scores, errors : as of `all_scores`
    most : float
        Largest completeness error.
    """
    kept = dict(scores)
    for track, of_cells in errors.items():
        # not "> most": an error that is no number is too large as well
        rejected = [cell for cell, error in of_cells.items() if not error <= most]
        kept[track] = {c: s for c, s in scores[track].items() if c not in rejected}
        if of_cells:
            log.info(
                "%s: completeness error median %.2g, largest %.2g; %d of %d cells rejected (> %g)",
                *(track, np.median(list(of_cells.values())), max(of_cells.values())),
                *(len(rejected), len(of_cells), most),
            )
    return kept


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
    for track in [t for t in OF_WELLS if scores.get(t)]:
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
    """Return table 'attributed_cells': a row per track of `OF_WELLS` and cell."""
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
        for track in OF_WELLS
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
        tracks = [track for track in tracks if track in OF_WELLS]
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
