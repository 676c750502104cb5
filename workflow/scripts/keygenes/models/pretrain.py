"""Masked-token pretraining of a small encoder, for the demo and for users without weights.

Devlin et al. 2019, as Geneformer does it (Theodoris et al. 2023): 15 % of a cell's tokens are
predicted; of these 80 % are shown as <mask>, 10 % as a random gene and 10 % unchanged.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from keygenes.core.files import digest_of
from keygenes.core.tables import read_table, write_table
from keygenes.models.batches import budget_batches, padded
from keygenes.models.device import Hardware, set_up_torch, token_budget
from keygenes.models.encoder import new_masked_model, save_model, small_config
from keygenes.models.train import Course, Training, train, warmup_steps
from keygenes.tokens.store import read_tokens

log = logging.getLogger("keygenes")

COURSE = ("epochs", "batch_size", "learning_rate", "weight_decay")


def masked(ids, mask, rng, *, fraction, first_gene, n_tokens, mask_token=1):
    """Return corrupted input ids and the targets (-100 where nothing is predicted).

    Parameters
    ----------
    ids, mask : int64 arrays [n_cells, length]
    rng : numpy.random.Generator
    fraction : float
        Share of each cell's genes that are predicted.
    first_gene : int
        Smallest token of a gene; special tokens below it are never masked.
    """
    genes = (mask == 1) & (ids >= first_gene)
    chosen = genes & (rng.random(ids.shape) < fraction)
    targets = np.where(chosen, ids, -100)
    how = rng.random(ids.shape)
    corrupted = np.where(chosen & (how < 0.8), mask_token, ids)
    random_gene = rng.integers(first_gene, n_tokens, ids.shape)
    corrupted = np.where(chosen & (how >= 0.8) & (how < 0.9), random_gene, corrupted)
    return corrupted, targets


def masked_loss(model, cells, rng, *, fraction, first_gene, device):
    """Return the mean cross-entropy at the masked positions, their number and the hits.

    Only these positions go through the output layer: it is as wide as the vocabulary.
    """
    ids, mask = padded(cells)
    corrupted, targets = masked(
        ids.numpy(),
        mask.numpy(),
        rng,
        fraction=fraction,
        first_gene=first_gene,
        n_tokens=model.config.vocab_size,
    )
    hidden = model.trunk(torch.from_numpy(corrupted).to(device), mask.to(device))
    targets = torch.from_numpy(targets).to(device)
    at = targets >= 0
    logits = model.gene_logits(hidden[at])
    loss = torch.nn.functional.cross_entropy(logits, targets[at], reduction="sum")
    hits = (logits.argmax(1) == targets[at]).sum().item()
    n = int(at.sum())
    return loss / max(1, n), n, hits


def pretrain(tokens, vocabulary, out, *, options, max_length, compute):
    """Pretrain an encoder on a table of tokens; write weights, config and history (`out`).

    The history's losses are per masked token, in nats; its accuracy is the share of masked
    tokens that are recovered. A uniform guess has loss ln(number of genes).
    """
    device = set_up_torch(compute)
    table = read_table(vocabulary)
    first_gene = int((~table["ensembl_id"].str.startswith("<")).to_numpy().argmax())
    _, ids, offsets = read_tokens(tokens)
    rng = np.random.default_rng([options["seed"], 7])
    order = rng.permutation(len(offsets) - 1)[: options["max_cells"]]
    cells = [ids[offsets[i] : offsets[i + 1]] for i in order]
    n_valid = max(1, round(options["valid_fraction"] * len(cells)))
    valid, cells = cells[:n_valid], cells[n_valid:]
    config = small_config(
        vocabulary_size=len(table),
        max_length=max_length,
        layers=options["layers"],
        heads=options["heads"],
        hidden=options["hidden"],
    )
    batch_tokens = token_budget(compute, config)
    model = new_masked_model(config, options["seed"]).to(device)
    log.info(
        "pretraining %d parameters on %d cells, validating on %d; a uniform guess has loss %.3f",
        *(sum(p.numel() for p in model.parameters()), len(cells), len(valid)),
        np.log(len(table) - first_gene),
    )
    look = {"fraction": options["mask_fraction"], "first_gene": first_gene, "device": device}
    valid_lengths = np.array([len(cell) for cell in valid])

    @torch.inference_mode()
    def validate():
        rng = np.random.default_rng([options["seed"], 8])  # the same masks each epoch
        loss_sum = n_sum = hit_sum = 0
        for batch in budget_batches(valid_lengths, batch_tokens):
            loss, n, hits = masked_loss(model, [valid[i] for i in batch], rng, **look)
            loss_sum, n_sum, hit_sum = loss_sum + loss.item() * n, n_sum + n, hit_sum + hits
        return loss_sum / n_sum, hit_sum / n_sum

    about = [options, max_length, len(table), digest_of(pd.Series(ids).astype(int).tolist())]
    resume = Path(out["weights"]).with_name("resume.pt")
    history = train(
        model,
        np.array([len(cell) for cell in cells]),
        lambda batch, rng: masked_loss(model, [cells[i] for i in batch], rng, **look)[0],
        validate,
        Course(
            **{name: options[name] for name in COURSE},
            max_grad_norm=1.0,
            warmup=lambda n: warmup_steps(n, n, 0.1),
        ),
        Training("pretrain", options["seed"], about, resume),
        Hardware(device, compute.precision),
    )
    write_table(history, out["history"], "history")
    save_model(model, out["weights"], out["config"])
    resume.unlink(missing_ok=True)
