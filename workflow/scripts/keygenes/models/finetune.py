"""Fine-tuning one regime: which parts train, and the classifier it gives."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from keygenes.core.files import checksum, digest_of, write_json
from keygenes.core.tables import read_table, write_table
from keygenes.models.batches import budget_batches, padded
from keygenes.models.cells import of_split, task_cells
from keygenes.models.device import autocast, set_up_torch
from keygenes.models.encoder import (
    cell_logits,
    check_fit,
    count_trainable,
    pretrained_classifier,
    read_config,
    save_model,
    set_pooling,
    train_only,
)
from keygenes.models.train import train, warmup_steps

log = logging.getLogger("keygenes")


@torch.inference_mode()
def class_logits(model, cells, *, batch_tokens, device, precision):
    """Return the logits of a classifier on cells.

    Parameters
    ----------
    model : BertForSequenceClassification
        In eval mode.
    cells : list of int arrays

    Returns
    -------
    float32 tensor [n_cells, n_classes], on the CPU, in the order of `cells`
    """
    logits = torch.empty(len(cells), model.config.num_labels)
    lengths = np.array([len(cell) for cell in cells])
    for batch in budget_batches(lengths, batch_tokens):
        ids, mask = padded([cells[i] for i in batch], device)
        with autocast(device, precision):
            logits[batch] = cell_logits(model, ids, mask).float().cpu()
    return logits


def loss_and_accuracy(logits, labels):
    """Return mean cross-entropy and accuracy of logits [n, k] against labels [n]."""
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(1) == labels).float().mean().item()


def predictions_table(frame, probabilities, classes):
    """Return table 'predictions' from cells with their probabilities [n_cells, n_classes]."""
    names = np.array(classes)
    return pd.DataFrame(
        {
            "cell": frame["cell"],
            "split": frame["split"],
            "true": pd.Categorical(names[frame["label"]], classes),
            "predicted": pd.Categorical(names[probabilities.argmax(1)], classes),
            "probabilities": list(np.asarray(probabilities, np.float64)),
        }
    )


def finetune(
    *,
    tokens,
    labels,
    splits,
    vocabulary,
    weights,
    config,
    out_weights,
    out_config,
    out_history,
    out_predictions,
    out_loading,
    task,
    seed,
    patterns,
    options,
    max_length,
    batch_tokens,
    threads,
    device,
    precision,
):
    """Fine-tune the parameters that match `patterns`; write model, history and predictions.

    Parameters
    ----------
    tokens, labels, splits, vocabulary, weights, config : path-like
        Inputs: tables, and the pretrained model.
    out_weights, out_config, out_history, out_predictions, out_loading : path-like
        `out_loading` tells which parameters came from the file and which train.
    task : str
    seed : int
        Chooses the split; also seeds the new head, the order of the cells and dropout.
    patterns : list of str
        The regime: shell patterns on parameter names (`train_only`).
    options : dict
        Section 'finetune' of the config, with the regime's own values over it.
    """
    device = set_up_torch(threads=threads, device=device)
    frame, cells, classes = task_cells(tokens, labels, splits, task, seed)
    table = read_table(vocabulary)
    bert = read_config(config)
    check_fit(bert, vocabulary_size=len(table), max_length=max_length, where=str(config))
    set_pooling(bert, options["pooling"], table)
    if options["attention_dropout"] is not None:
        bert.attention_probs_dropout_prob = options["attention_dropout"]
    model, loading = pretrained_classifier(weights, bert, classes, seed)
    trained = train_only(model, patterns)
    n_trained, total = count_trainable(model), sum(p.numel() for p in model.parameters())
    log.info("%s: %d of %d parameters train", ", ".join(patterns), n_trained, total)
    model.to(device)

    ids = [cell.tolist() for cell in cells]
    train_frame, train_cells = of_split(frame, cells, "train")
    valid_frame, valid_cells = of_split(frame, cells, "valid")
    train_labels = torch.tensor(train_frame["label"].to_numpy())
    valid_labels = torch.tensor(valid_frame["label"].to_numpy())
    look = {"batch_tokens": batch_tokens, "device": device, "precision": precision}

    def batch_loss(batch, rng):
        ids, mask = padded([train_cells[i] for i in batch], device)
        logits = cell_logits(model, ids, mask)
        return torch.nn.functional.cross_entropy(logits, train_labels[batch].to(device))

    history = train(
        model,
        np.array([len(cell) for cell in train_cells]),
        batch_loss,
        lambda: loss_and_accuracy(class_logits(model, valid_cells, **look), valid_labels),
        epochs=options["epochs"],
        batch_size=options["batch_size"],
        learning_rate=options["learning_rate"],
        weight_decay=options["weight_decay"],
        max_grad_norm=options["max_grad_norm"],
        warmup=lambda n: warmup_steps(n, options["warmup_steps"], options["warmup_fraction"]),
        seed=seed,
        device=device,
        precision=precision,
        checkpoint=Path(out_weights).with_name("resume.pt"),
        run=[patterns, options, checksum(weights), classes, frame.to_csv(), digest_of(ids)],
        label=f"{task}, seed {seed}",
    )
    probabilities = class_logits(model, cells, **look).double().softmax(1).numpy()
    write_table(predictions_table(frame, probabilities, classes), out_predictions, "predictions")
    write_table(history, out_history, "history")
    counts = {"trained": n_trained, "all": total}
    write_json(
        {"weights_sha256": checksum(weights), "parameters": counts, **loading, "trained": trained},
        out_loading,
    )
    save_model(model, out_weights, out_config)
    Path(out_weights).with_name("resume.pt").unlink(missing_ok=True)
