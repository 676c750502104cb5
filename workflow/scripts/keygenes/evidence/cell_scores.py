"""Scores of the genes of each cell: what one pass through a model answers, and what takes many."""

import contextlib
import logging
import time
from typing import NamedTuple

import numpy as np

from keygenes.attention.flow import readout_and_rollout
from keygenes.core.progress import with_progress
from keygenes.core.tracks import ATTRIBUTIONS, MANY_PASSES, ONE_PASS, TRACKS
from keygenes.evidence import attribution
from keygenes.models.batches import budget_batches, padded, padded_length

log = logging.getLogger("keygenes")


class Masking(NamedTuple):
    """What stands for a masked gene, and what is never masked.

    Attributes
    ----------
    mask_token : int
    specials : list of int
        Tokens that are no genes.
    batch_tokens : int
        Tokens, padding included, that go through the model at once.
    """

    mask_token: int
    specials: list[int]
    batch_tokens: int


def one_pass_scores(model, ids, mask, tracks):
    """Return what one pass answers: dict {track: float64 array [n_cells, L]}.

    Attention is in multiples of uniform attention, the rollout too: its share times the length.
    A track without a line here is a function of `attribution` that is called as the track.
    """
    scores = {}
    if {"attention_readout", "rollout"} & set(tracks):  # one pass makes both
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
    asked = [track for track in ONE_PASS if track in tracks]
    return {
        track: scores[track] if track in scores else getattr(attribution, track)(model, ids, mask)
        for track in asked
    }


def many_pass_scores(model, ids, mask, track, steps, masking):
    """Return one track of `MANY_PASSES` and its completeness errors (None where it has none).

    It is a function of `attribution` that is called as the track; one whose scores add up
    (`Track.complete`) returns how far they are from that as well.

    Parameters
    ----------
    steps : dict {track: int}
    masking : Masking
    """
    options = masking._asdict() | {"n_steps": steps.get(track)}
    found = getattr(attribution, track)(model, ids, mask, **options)
    return found if TRACKS[track].complete else (found, None)


@contextlib.contextmanager
def timed(what, n_cells):
    """Log what a part costs. No table holds times: equal runs have equal bytes."""
    started = time.perf_counter()
    yield
    seconds = (time.perf_counter() - started) / max(1, n_cells)
    log.info("%s: %d cells, %.3g s per cell", what, n_cells, seconds)


def all_scores(model, cells, tracks, steps, masking):
    """Return every track in every cell that it is computed in, and completeness errors.

    Parameters
    ----------
    cells : Cells
        The costly ones get the tracks of `MANY_PASSES`, and attention received.
    tracks : list of str
    steps, masking
        As of `many_pass_scores`.

    Returns
    -------
    scores : dict {track: dict {cell: float64 array [length]}}
        NaN where a track says nothing.
    errors : dict {track: dict {cell: float}}
    """
    scores = {track: {} for track in (*ONE_PASS, *MANY_PASSES) if track in tracks}
    errors, batch_tokens = {}, masking.batch_tokens
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
        found = {}
        groups = groups_of(lengths, costly, steps.get(track), batch_tokens, model.trunk.device)
        with timed(track, len(costly)):
            for group in with_progress(groups, track):
                ids, mask = padded([cells.tokens[i] for i in group], model.trunk.device)
                if len(group) == 1:  # it goes without padding, and without a look at it
                    ids, mask = ids[:, : lengths[group[0]]], None
                values, error = many_pass_scores(model, ids, mask, track, steps, masking)
                for row, i in enumerate(group):
                    found[i] = values[row, : lengths[i]], None if error is None else error[row]
        scores[track] = {int(i): found[i][0] for i in costly}
        errors[track] = {int(i): float(found[i][1]) for i in costly if found[i][1] is not None}
    return scores, errors


def groups_of(lengths, costly, n_steps, batch_tokens, device):
    """Return groups of cells whose passes fill the token budget; on a CPU each cell is alone.

    A GPU is waited for less if it is asked for more at once; a CPU would compute the padding.

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
        longest = padded_length(lengths[left[:1]], device)
        n = max(1, batch_tokens // (longest * (n_steps or longest)))
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
