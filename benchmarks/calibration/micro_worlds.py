"""Micro worlds: classifiers that are really trained, on true and on dealt labels, and scored.

A cell has up to forty of sixty genes, most of them in the order of a noisy rate; some stand
anywhere. Wells have an offset per gene. Where genes are planted, treated cells show half of those
that stand anywhere more often than untreated cells do; the other half is what the planted ones can
be matched with. An encoder of one layer is trained on one replicate and looked at in the other, and
all is done again, with the same cells, for labels dealt anew to the wells.
"""

import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rates import mean, share

from keygenes.cells.relabel import n_relabellings, relabellings, units_of
from keygenes.core import jackknife
from keygenes.core.files import read_json, write_json
from keygenes.evidence import primary
from keygenes.evidence.agreement import (
    against_draws,
    dealt_sets,
    matched_draws,
    positions,
    precision_positions,
    set_metrics,
    strata,
)
from keygenes.evidence.attribution import (
    attention_gradient,
    attention_received,
    integrated_gradients,
)
from keygenes.evidence.tracks import track_scores
from keygenes.evidence.well_sums import well_groups, well_matrices, well_tests
from keygenes.models.batches import padded
from keygenes.models.device import Hardware
from keygenes.models.encoder import pretrained_classifier, small_config
from keygenes.models.head import cell_logits
from keygenes.models.train import Course, Training, train

log = logging.getLogger("keygenes")

N_GENES = 60
ANYWHERE = np.arange(24, 48)  # genes that stand anywhere in a cell; all others by rate
PLANTED, WIDE = ANYWHERE[::2], np.arange(0, 24, 2)  # sets; as many genes are like those of each
SHOWN = 0.65  # chance that a cell shows a gene of ANYWHERE
SHORTEST, LONGEST = 24, 40
GENES = np.array([f"G{i:02d}" for i in range(N_GENES)])
FIRST = 2  # token of the first gene, after <pad> and <mask>
WELLS, CELLS = 6, 8  # wells of a replicate, half of them treated; cells of a well
B = 19
N_STEPS, LOOKED_AT = 4, 2  # integrated gradients: points, and cells of a well
MIN_EFFECT, N_DRAWS = 0.05, 999
HIDDEN, HEADS, MAX_LENGTH = 16, 2, 50
COURSE = {
    "epochs": 8,
    "batch_size": 24,
    "learning_rate": 1e-2,
    "weight_decay": 0.001,
    "max_grad_norm": 1.0,
}
TRACKS = (
    "integrated_gradients",
    "attention_gradient",
    "attention_received",
    "attention_total",
)
VERDICTS = ("integrated_gradients", "attention_gradient")  # tracks that get one


class World(NamedTuple):
    """How treated cells differ, and the set of genes that is asked about.

    Attributes
    ----------
    lengths : (int, int)
        Typical length of untreated and of treated cells.
    noise : (float, float)
        Of the order of their genes: less in deeper cells.
    planted : float
        By how much treated cells show a gene of `PLANTED` more often than `SHOWN`, and untreated
        ones less often.
    genes : int array
        The set. Short and noisy cells lack some of `WIDE`.
    """

    lengths: tuple = (32, 32)
    noise: tuple = (0.8, 0.8)
    planted: float = 0.0
    genes: np.ndarray = PLANTED


WORLDS = {
    "nothing": World(),
    "length": World(lengths=(28, 36), genes=WIDE),
    "depth": World(noise=(1.1, 0.5), genes=WIDE),
    "detection": World(genes=WIDE),
    "weak": World(planted=0.07),
    "medium": World(planted=0.14),
    "strong": World(planted=0.28),
}


def micro_cells(world, rng):
    """Return the obs of a world's cells, and their tokens: list of int arrays."""
    rates = np.linspace(1.2, -1.2, N_GENES)
    rows, cells = [], []
    for replicate in range(2):
        for well in range(WELLS):
            treated = well % 2
            offset = 0.2 * rng.standard_normal(N_GENES)
            typical, noise = world.lengths[treated], world.noise[treated]
            chance = np.full(len(ANYWHERE), SHOWN)
            chance[np.isin(ANYWHERE, PLANTED)] += world.planted if treated else -world.planted
            for _ in range(CELLS):
                order = np.argsort(-(rates + offset + noise * rng.standard_normal(N_GENES)))
                length = typical * np.exp(0.15 * rng.standard_normal())
                length = int(np.clip(length, SHORTEST, LONGEST))
                shown = ANYWHERE[rng.random(len(ANYWHERE)) < chance]
                others = order[~np.isin(order, ANYWHERE)][: length - len(shown)]
                length = len(shown) + len(others)
                at = np.sort(rng.choice(length, len(shown), replace=False))
                cell = np.empty(length, np.int64)
                cell[at] = rng.permutation(shown)
                cell[np.setdiff1d(np.arange(length), at)] = others
                cells.append(cell + FIRST)
                rows.append((f"W{replicate}{well}", f"R{replicate}", treated))
    index = [f"c{i:03d}" for i in range(len(rows))]
    return pd.DataFrame(rows, columns=["well", "replicate", "treated"], index=index), cells


def trained_classifier(cells, labels, seed, folder):
    """Return a classifier trained by the package's own loop for a fixed number of epochs."""
    config = small_config(
        vocabulary_size=FIRST + N_GENES, max_length=MAX_LENGTH, layers=1, heads=HEADS, hidden=HIDDEN
    )
    config.hidden_dropout_prob = 0.0
    config.classifier_pooling, config.pooling_leaves_out = "mean", []
    model, _ = pretrained_classifier(None, config, ["low", "high"], seed)
    targets, checkpoint = torch.tensor(labels), Path(folder) / "resume.pt"

    def batch_loss(batch, rng):
        logits = cell_logits(model, *padded([cells[i] for i in batch]))
        return torch.nn.functional.cross_entropy(logits, targets[batch])

    train(
        model,
        np.array([len(cell) for cell in cells]),
        batch_loss,
        None,
        Course(**COURSE, warmup=lambda total: total // 10, keep="last"),
        Training("micro world", seed, None, checkpoint),
        Hardware(torch.device("cpu"), "float32"),
    )
    checkpoint.unlink()  # or the next model would go on from it
    return model.eval()


@torch.no_grad()
def predicted(model, cells):
    """Return the class that a classifier names for every cell."""
    return cell_logits(model, *padded(cells)).argmax(1).numpy()


def sums_of(values, cells, wells):
    """Return sums per well and gene of a value per position, as table 'well_scores' has them."""
    lengths = [len(cell) for cell in cells]
    value = np.concatenate([row[:n] for row, n in zip(values, lengths, strict=True)])
    names, codes = np.unique(wells, return_inverse=True)
    at = np.repeat(codes, lengths) * N_GENES + np.concatenate(cells) - FIRST
    n = np.bincount(at, minlength=len(names) * N_GENES)
    there = np.flatnonzero(n)
    sums = {"sum": value, "sum_absolute": np.abs(value)}
    return pd.DataFrame(
        {
            "well": names[there // N_GENES],
            "ensembl_id": GENES[there % N_GENES],
            "n_cells": n[there],
            **{name: np.bincount(at, v, len(n))[there] for name, v in sums.items()},
        }
    )


def looked_at(model, cells, wells):
    """Return the sums per well and gene of a model on test cells: dict {track: DataFrame}."""
    ids, mask = padded(cells)
    received = sums_of(attention_received(model, ids, mask), cells, wells)
    gradient = sums_of(attention_gradient(model, ids, mask), cells, wells)
    few = np.flatnonzero(pd.Series(wells).groupby(wells).cumcount() < LOOKED_AT)
    some = [cells[i] for i in few]
    attributed, _ = integrated_gradients(
        model,
        *padded(some),
        mask_token=1,
        specials=[0, 1],
        n_steps=N_STEPS,
        batch_tokens=MAX_LENGTH * N_STEPS,
    )
    return {
        "integrated_gradients": sums_of(attributed, some, wells[few]),
        "attention_gradient": gradient,
        "attention_received": received,
        "attention_total": received,
    }


def learnt(right, wells):
    """Return whether test accuracy is above 1/2, with its whole interval over wells."""
    sums = pd.DataFrame({"right": right, "n": 1}).groupby(wells).sum()
    strata_of_wells = [int(well[-1]) % 2 for well in sums.index]
    design = jackknife.design_of(strata_of_wells)
    left_out = jackknife.left_out_sums(sums.to_numpy(float)[:, None, None], design)
    low, _ = jackknife.interval(left_out[:, 0] / left_out[:, 1], design, (0, 1))
    return bool(low > 0.5)


def metrics_of(score, sets):
    """Return the AUPRC of sets [n, k] of genes on a score."""
    places = (*positions(score), precision_positions(score, np.arange(len(score))))
    return set_metrics(sets, *places)["auprc"]


def strata_of(cells):
    """Return the stratum of every gene by detection and mean rank."""
    tokens, at = np.concatenate(cells) - FIRST, np.concatenate([np.arange(len(c)) for c in cells])
    detection = np.bincount(tokens, minlength=N_GENES)
    return strata(detection, np.bincount(tokens, at, N_GENES) / np.maximum(1, detection))


def answers(world, seed, folder):
    """Return what every test says of one world: dict {test: bool or number}."""
    rng = np.random.default_rng(seed)
    obs, cells = micro_cells(world, rng)
    treated, wells = obs["treated"].to_numpy(), obs["well"].to_numpy()
    replicate = obs["replicate"].to_numpy()
    units = units_of(treated, obs)
    dealt = [units.codes, *relabellings(units, B)]
    tables = {b: {track: [] for track in TRACKS} for b in range(1 + B)}
    right, fitted = np.zeros(len(cells), bool), []
    for fold in np.unique(replicate):
        test, own = np.flatnonzero(replicate == fold), np.flatnonzero(replicate != fold)
        for b, codes in enumerate(dealt):
            labels = codes[units.of_cell]
            model = trained_classifier([cells[i] for i in own], labels[own], seed[-1], folder)
            hits = predicted(model, [cells[i] for i in own]) == labels[own]
            fitted.append((b, hits.mean()))
            if b == 0:
                right[test] = predicted(model, [cells[i] for i in test]) == labels[test]
            for track, table in looked_at(model, [cells[i] for i in test], wells[test]).items():
                tables[b][track].append(table)
    members, stratum = np.isin(np.arange(N_GENES), world.genes), strata_of(cells)
    found, of_track, low_q = {"learnt": learnt(right, wells)}, {}, {}
    for track in TRACKS:
        scores = []
        for b in range(1 + B):
            matrices = well_matrices(tables[b][track], ["sum", "sum_absolute"])
            score = pd.Series(track_scores(track, matrices, HEADS), matrices["genes"])
            scores.append(score.reindex(GENES).to_numpy())
            if b == 0:
                p_of_genes, low_q[track] = gene_tests(track, matrices, obs, treated)
        scored = ~np.isnan(scores).any(0)  # under all labels, as in a study
        scores, positive = np.array(scores)[:, scored], members[scored]
        genes = np.flatnonzero(positive)[None]
        of_track[track] = np.array([metrics_of(score, genes)[0] for score in scores])
        test = primary.permuted_test(of_track[track][0], of_track[track][1:])
        sets = (
            draw(positive, stratum[scored], N_DRAWS, rng) for draw in (matched_draws, dealt_sets)
        )
        p = against_draws(of_track[track][0], *(metrics_of(scores[0], drawn) for drawn in sets))[2]
        found |= {
            f"permuted, {track}": test.p <= primary.ALPHA,
            f"matched, {track}": p <= primary.ALPHA,
            f"genes at p, {track}": p_of_genes,
            f"effect, {track}": test.effect,
        }
        outcomes = [
            primary.verdict(
                test,
                primary.Circumstances(genes.size, p, has_learnt, units.unit, n_relabellings(units)),
                MIN_EFFECT,
            )[0]
            for has_learnt in (found["learnt"], True)
        ]
        if track in VERDICTS:
            found |= {f"{o}, {track}": outcomes[0] == o for o in primary.OUTCOMES[:3]}
            found[f"{primary.SUPPORTED} if learnt, {track}"] = outcomes[1] == primary.SUPPORTED
    every = np.array(list(of_track.values()))
    adjusted, _ = primary.max_t(every[:, 0], every[:, 1:])
    fitted = pd.DataFrame(fitted, columns=["b", "accuracy"])
    of_labels = fitted.groupby(fitted["b"] == 0)["accuracy"].mean()
    return found | {
        "any gene, attention_received": low_q["attention_received"],
        "any track, max-T": bool((adjusted <= primary.ALPHA).any()),
        "test accuracy": float(right.mean()),
        "training accuracy, true labels": of_labels[True],
        "training accuracy, dealt labels": of_labels[False],
    }


def gene_tests(track, matrices, obs, treated):
    """Return the share of genes at p < 0.05, treated against untreated wells, and any q < 0.05."""
    labels = pd.Categorical.from_codes(treated, ["low", "high"])
    groups = well_groups(obs, labels, np.zeros(len(obs), bool))
    counts = matrices["n_cells"]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, matrices["sum"] / counts, np.nan)
        if track == "attention_total":
            means = matrices["sum"]
    tests = well_tests(means, matrices["wells"], groups)
    known = ~np.isnan(tests["p"])
    return (tests["p"][known] < 0.05).mean(), bool((tests["q"][known] < 0.05).any())


MEANS = ("genes at p", "effect", "test accuracy", "training accuracy")


@contextmanager
def quiet():
    """Keep the lines of every epoch of every model out of the log."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def plain(value):
    """Return a bool or a float that JSON can hold."""
    return bool(value) if isinstance(value, bool | np.bool_) else float(value)


def tables(n_worlds, kept, more=lambda: True, seed=0):
    """Return {setting: {test: entry}}: of worlds that are kept, or trained now.

    Parameters
    ----------
    n_worlds : int
        Of each setting. They are run by turns, so that a run that ends early is balanced.
    kept : Path
        A folder with a file per world.
    more : callable
        Whether to start on another world.
    """
    torch.set_num_threads(1)
    found = {name: [] for name in WORLDS}
    for number in range(n_worlds):
        for i, (name, world) in enumerate(WORLDS.items()):
            path = kept / f"{name}.{seed}.{number}.json"
            if not path.exists() and more():
                with tempfile.TemporaryDirectory() as folder, quiet():
                    answer = answers(world, [seed, 3, i, number], folder)
                write_json({test: plain(value) for test, value in answer.items()}, path)
                log.info("micro worlds: %s, %d of %d", name, number + 1, n_worlds)
            if path.exists():
                found[name].append(read_json(path))
    return {
        name: {
            test: (mean if test.startswith(MEANS) else share)([row[test] for row in rows])
            for test in rows[0]
        }
        for name, rows in found.items()
        if rows
    }
