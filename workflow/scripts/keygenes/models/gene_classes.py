"""Classifying genes: labels on tokens, folds over genes, and the controls beside the encoder.

Geneformer's gene classification (Theodoris et al. 2023): the tokens of listed genes carry their
class, every other token is ignored; the head is a dropout and a linear layer on each token's last
hidden state. A gene is scored by the model of the fold that held it out, in the very cells that
trained this model: it knows the cells, but never saw the gene's label.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from keygenes.core.errors import input_error
from keygenes.core.files import checksum, digest_of, written
from keygenes.core.progress import with_progress
from keygenes.core.tables import read_table, write_table
from keygenes.models.batches import budget_batches, padded
from keygenes.models.device import Hardware, autocast, set_up_torch, token_budget
from keygenes.models.encoder import check_fit, load_trunk, read_config
from keygenes.models.families import family_of
from keygenes.models.gene_baselines import detection_and_rank, logistic_out_of_fold
from keygenes.models.gene_lists import cells_with
from keygenes.models.train import Training, course_of, load_checkpoint, train
from keygenes.models.trained import train_only
from keygenes.tokens.store import read_tokens
from keygenes.tokens.vocabulary import is_special

log = logging.getLogger("keygenes")

IGNORED = -100  # the label of a token that is not to be learned, as torch has it


class HeldOut(NamedTuple):
    """Genes with their classes, and the fold that holds each out.

    Attributes
    ----------
    tokens, labels, fold : int arrays [n_genes]
    n_tokens : int
        Size of the vocabulary.
    """

    tokens: np.ndarray
    labels: np.ndarray
    fold: np.ndarray
    n_tokens: int


class Scorer(NamedTuple):
    """What scores the genes of a task.

    Attributes
    ----------
    task : str
    encoder : {'pretrained', 'random_encoder', 'shuffled_labels', 'logistic'}
        What classifies: the pretrained encoder; one of the same shape with random weights; the
        pretrained one with the labels permuted among the genes; a logistic regression on detection
        and mean rank. All see the same cells, and all but the permuted the same folds.
    seed : int
        Draws the cells, the folds and the permutation; seeds the head and the training.
    """

    task: str
    encoder: str
    seed: int


def draw_cells(ids, offsets, listed, max_cells, seed):
    """Return which cells are looked at: a draw among those that express a listed gene.

    Parameters
    ----------
    ids, offsets : int arrays
        As from `read_tokens`.
    listed : int array
        Tokens of the listed genes.
    max_cells : int or None
        None: all.

    Returns
    -------
    int array, sorted
    """
    cell_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    cells = np.unique(cell_of[np.isin(ids, listed)])
    drawn = np.random.default_rng([seed, 12]).permutation(cells)[:max_cells]
    return np.sort(drawn)


def gene_folds(labels, folds, seed):
    """Return the fold (from 0) that holds each gene out: int array [n_genes].

    Parameters
    ----------
    labels : int array [n_genes]
        Every class has at least `folds` genes.
    """
    fold = np.empty(len(labels), int)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for k, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels)):
        fold[held_out] = k
    return fold


def token_values(n_tokens, tokens, values):
    """Return `values` by token: int array [n_tokens], `IGNORED` where a token has none."""
    table = np.full(n_tokens, IGNORED, np.int64)
    table[tokens] = values
    return table


def token_classifier(weights_path, config_path, class_names, *, attention_dropout, seed, random):
    """Return a token classifier on a pretrained encoder; `seed` decides what is new in it.

    Parameters
    ----------
    attention_dropout : float or None
        None: the model's own.
    random : bool
        Keep the encoder's random weights too, in place of the pretrained ones.
    """
    config = read_config(config_path)
    config.num_labels = len(class_names)
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: i for i, name in enumerate(class_names)}
    if attention_dropout is not None:
        config.attention_probs_dropout_prob = attention_dropout
    torch.manual_seed(seed)
    model = family_of(config).GeneClassifier(config)
    if not random:
        trunk = load_trunk(weights_path, config_path).state_dict()
        own = set(model.trunk.state_dict())  # the trunk has a pooler, which no token needs
        model.trunk.load_state_dict({k: v for k, v in trunk.items() if k in own})
    return model


@torch.inference_mode()
def summed_probabilities(model, cells, rows, n_rows, hardware):
    """Return class probabilities of some genes, summed over the cells that express them.

    Parameters
    ----------
    model : GeneClassifier
        In eval mode.
    cells : list of int arrays
    rows : int array [n_tokens]
        Row of the result that a token counts towards, `IGNORED` for none.
    n_rows : int

    Returns
    -------
    sums : float64 array [n_rows, n_classes]
    counts : int array [n_rows]
    """
    sums = np.zeros((n_rows, model.config.num_labels))
    counts = np.zeros(n_rows, int)
    for batch in budget_batches(np.array([len(cell) for cell in cells]), hardware.batch_tokens):
        ids, mask = padded([cells[i] for i in batch])
        row = torch.from_numpy(rows)[ids]
        at = row >= 0
        if not at.any():
            continue
        with autocast(hardware.device, hardware.precision):
            logits = model(ids.to(hardware.device), mask.to(hardware.device))
        np.add.at(sums, row[at].numpy(), logits.float().cpu()[at].double().softmax(1).numpy())
        np.add.at(counts, row[at].numpy(), 1)
    return sums, counts


def train_fold(model, cells, labels, options, training, hardware):
    """Train a token classifier on the labelled tokens of the cells that have any.

    Parameters
    ----------
    cells : list of int arrays
    labels : int array [n_tokens]
        Class of each token; `IGNORED` for genes that are held out or not listed.
    options : dict
        Section 'gene_classification' of the config.
    """
    cells = [cell for cell in cells if (labels[cell] >= 0).any()]
    table, device = torch.from_numpy(labels), hardware.device

    def batch_loss(batch, rng):
        ids, mask = padded([cells[i] for i in batch])
        targets = table[ids].to(device)
        logits = model(ids.to(device), mask.to(device))
        at = targets >= 0
        return torch.nn.functional.cross_entropy(logits[at], targets[at])

    train(
        model,
        np.array([len(cell) for cell in cells]),
        batch_loss,
        None,  # the last epoch stays: choosing one on the held-out genes would leak their labels
        course_of(options),
        training,
        hardware._replace(batch_tokens=None),
    )


def out_of_fold(cells, genes, new_model, options, training, hardware):
    """Return the probabilities of every gene under the model that never saw its label.

    Parameters
    ----------
    cells : list of int arrays
    genes : HeldOut
    new_model : callable
        Returns a fresh model, the same each time.
    options : dict
        Section 'gene_classification' of the config.
    training : Training
        Of all folds. Beside its checkpoint lies the state of an unfinished run; both are removed
        at the end.
    hardware : Hardware

    Returns
    -------
    float64 array [n_genes, n_classes], mean over the cells that express the gene
    """
    tokens, labels, fold, n_tokens = genes
    done = training.checkpoint.with_name("resume.folds.pt")
    about = training.run, options, training.seed
    digest = digest_of([*about, tokens.tolist(), labels.tolist(), fold.tolist()])
    state = load_checkpoint(done, digest) or {"digest": digest, "folds": {}}
    probabilities = np.empty((len(tokens), labels.max() + 1))
    for k in with_progress(range(fold.max() + 1), "all folds", "folds"):
        held_out = np.flatnonzero(fold == k)
        if k not in state["folds"]:
            rest = np.flatnonzero(fold != k)
            model = new_model().to(hardware.device)
            train_only(model, options["train"], "config key 'gene_classification.train'")
            train_fold(
                model,
                cells,
                token_values(n_tokens, tokens[rest], labels[rest]),
                options,
                training._replace(label=f"{training.label}, fold {k + 1}", run=[digest, k]),
                hardware,
            )
            sums, counts = summed_probabilities(
                model,
                cells,
                token_values(n_tokens, tokens[held_out], np.arange(len(held_out))),
                len(held_out),
                hardware,
            )
            state["folds"][k] = torch.from_numpy(sums / counts[:, None])
            with written(done) as part:
                torch.save(state, part)
            training.checkpoint.unlink(missing_ok=True)
        probabilities[held_out] = state["folds"][k].numpy()
    done.unlink(missing_ok=True)
    return probabilities


def expressed_genes(genes, cells, folds):
    """Return the rows of table 'gene_classes' that the drawn cells express, with `n_cells` there.

    Raises
    ------
    InputError
        If a class has fewer of them than there are folds.
    """
    n_tokens = 1 + max((int(cell.max()) for cell in cells), default=0)
    seen = cells_with(cells, n_tokens)
    frame = genes[genes["token"].notna()].astype({"token": int})
    frame = frame[frame["token"] < len(seen)]
    frame = frame.assign(n_cells=seen[frame["token"]])
    frame = frame[frame["n_cells"] > 0].reset_index(drop=True)
    for name, n in frame["class"].value_counts(sort=False).items():
        if n < folds:
            raise input_error(
                "config key 'gene_classification.folds'",
                found=f"{folds} folds, but {n} genes of class '{name}' in the {len(cells)} cells "
                "drawn",
                expected="at least as many genes in every class as folds",
                remedy="lower it, raise gene_classification.max_cells or list more genes",
            )
    return frame


def classify_genes(tokens, genes, files, out_predictions, *, scorer, options, compute):
    """Score every listed gene out of fold; write table 'gene_predictions'.

    Parameters
    ----------
    tokens, genes : path-like
        Tables tokens and gene_classes.
    files : ModelFiles
        Of the pretrained model.
    out_predictions : path-like
    scorer : Scorer
    options : dict
        Section 'gene_classification' of the config, without n_bootstrap.
    """
    device = set_up_torch(compute)
    task, encoder, seed = scorer
    weights, config, vocabulary, max_length = files
    genes, vocabulary = read_table(genes), read_table(vocabulary)
    _, ids, offsets = read_tokens(tokens)
    listed = genes["token"].dropna().to_numpy(int)
    drawn = draw_cells(ids, offsets, listed, options["max_cells"], seed)
    cells = [ids[offsets[i] : offsets[i + 1]] for i in drawn]
    frame = expressed_genes(genes, cells, options["folds"])
    classes = list(frame["class"].cat.categories)
    labels = frame["class"].cat.codes.to_numpy(np.int64)
    if encoder == "shuffled_labels":
        labels = np.random.default_rng([seed, 13]).permutation(labels)
    fold = gene_folds(labels, options["folds"], seed)
    log.info(
        "%s: %d genes expressed in %d cells (%s), %d folds",
        *(encoder, len(frame), len(cells)),
        ", ".join(f"{name} {n}" for name, n in zip(classes, np.bincount(labels), strict=True)),
        options["folds"],
    )
    token = frame["token"].to_numpy()
    if encoder == "logistic":
        special = is_special(vocabulary["ensembl_id"])
        features = detection_and_rank(cells, token, special, len(vocabulary))
        with threadpool_limits(compute.threads):
            probabilities = logistic_out_of_fold(features, labels, fold)
    else:
        shape = read_config(config)
        check_fit(
            shape,
            vocabulary_size=len(vocabulary),
            max_length=max_length,
            where=str(config),
        )
        probabilities = out_of_fold(
            cells,
            HeldOut(token, labels, fold, len(vocabulary)),
            lambda: token_classifier(
                weights,
                config,
                classes,
                attention_dropout=options["attention_dropout"],
                seed=seed,
                random=encoder == "random_encoder",
            ),
            options,
            Training(
                f"{task}, {encoder}, seed {seed}",
                seed,
                [encoder, checksum(weights), checksum(config), [cell.tolist() for cell in cells]],
                Path(out_predictions).with_name("resume.pt"),
            ),
            Hardware(device, compute.precision, token_budget(compute, shape)),
        )
    predictions = pd.DataFrame(
        {
            "ensembl_id": frame["ensembl_id"],
            "symbol": frame["symbol"],
            "fold": fold + 1,
            "true": pd.Categorical.from_codes(labels, classes),
            "probabilities": list(probabilities),
            "n_cells": frame["n_cells"],
            "n_drawn": len(cells),
        }
    )
    write_table(predictions, out_predictions, "gene_predictions")
