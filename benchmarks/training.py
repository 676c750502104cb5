"""Time per cell of training and attention with a V1-sized encoder, and the hours of a study.

    .venv/bin/python benchmarks/training.py --length 683

One process, random weights (speed does not depend on them), cells of one length. Prints a table
of seconds per cell, and the hours that the configs in config/ take with it.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from timing import arguments, emit, result
from transformers import BertConfig, BertForSequenceClassification

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.attention.sums import attention_sums  # noqa: E402
from keygenes.core.regimes import trained_patterns  # noqa: E402
from keygenes.models.batches import padded  # noqa: E402
from keygenes.models.head import cell_logits, head_logits  # noqa: E402
from keygenes.models.trained import frozen_layers, train_mode, train_only  # noqa: E402

SHARES = {"train": 0.5, "valid": 1 / 6, "test": 1 / 3}  # 3, 1 and 2 of the 6 wells per dose
VEHICLE_SHARE = 0.2  # vehicle cells among five doses


def v1(dropout):
    """Return an encoder of Geneformer V1's size with a 5-class head."""
    config = BertConfig(
        vocab_size=25426,
        max_position_embeddings=2048,
        num_hidden_layers=6,
        num_attention_heads=4,
        hidden_size=256,
        intermediate_size=512,
        hidden_act="relu",
        hidden_dropout_prob=0.02,
        attention_probs_dropout_prob=dropout,
        num_labels=5,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def best_of(n, run):
    """Return the shortest of `n` timings, in seconds, after one warm-up."""
    run()
    times = []
    for _ in range(n):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def seconds_per_cell(length, batch_size, repeats):
    """Return {what: seconds per cell}."""
    rng = np.random.default_rng(0)
    cells = [rng.permutation(np.arange(2, 25426))[:length] for _ in range(batch_size)]
    ids, mask = padded(cells)
    labels = torch.zeros(batch_size, dtype=torch.long)
    config = yaml.safe_load((REPO / "config/config.yaml").read_text())
    regimes = {r["name"]: trained_patterns(r) for r in config["regimes"] if "method" not in r}
    seconds = {}
    for dropout in (0.02, 0.0):
        model = v1(dropout)
        for name in ("frozen", "last_layer", "full", "upstream_freeze6"):
            train_only(model, regimes[name])
            train_mode(model)
            first = frozen_layers(model)  # what lies below them is computed once, and kept
            kept = torch.randn(batch_size, length, 256) if first else None

            def step(model=model, first=first, kept=kept):
                if first == model.config.num_hidden_layers:
                    logits = head_logits(model, kept[:, 0])
                else:
                    logits = cell_logits(model, ids, mask, kept, first)
                torch.nn.functional.cross_entropy(logits, labels).backward()

            key = (f"train {name}", dropout)
            seconds[key] = best_of(repeats, step) / batch_size
    model.eval()
    with torch.inference_mode():
        plain = best_of(repeats, lambda: model(input_ids=ids, attention_mask=mask)) / batch_size
    seconds["forward", None] = plain
    nothing = np.zeros(batch_size, np.int64)
    sizes = {"n_classes": 5, "n_wells": 1, "max_length": 2048, "batch_tokens": 4096}
    seconds["attention statistics", None] = (
        best_of(1, lambda: attention_sums(model.bert, cells, nothing, nothing, **sizes))
        / batch_size
    )
    return seconds


def hours(seconds, n_cells, regimes, n_tasks, n_seeds, dropout, epochs=5):
    """Return the hours that a study takes, one job after the other."""
    train, test = SHARES["train"] * n_cells, SHARES["test"] * n_cells
    total = 0.0
    for name in regimes:
        # freeze5 trains the embeddings as freeze6 does: the gradient runs through every layer
        known = name if ("train " + name, dropout) in seconds else "upstream_freeze6"
        step = seconds["train " + known, dropout]
        total += epochs * train * step
        # cells that are only looked at: a step without its backward pass is about a third of it
        look = step / 3 if known in ("frozen", "last_layer") else seconds["forward", None]
        total += (epochs * SHARES["valid"] + 1) * n_cells * look
    looked_at = test + VEHICLE_SHARE * train
    n_models = len(regimes) + 1  # the pretrained one as well
    total += n_models * (looked_at + test) * seconds["attention statistics", None]
    # one pass per choice of frozen layers serves all tasks and seeds
    once = len({"frozen", "last_layer"} & set(regimes)) * n_cells * seconds["forward", None]
    return (total * n_tasks * n_seeds + once) / 3600


def main():
    """Print the tables."""
    options = arguments(
        __doc__,
        [
            ("--length", {"type": int, "help": "tokens per cell (default 683)"}),
            ("--batch-size", {"type": int, "help": "cells per batch (default 12)"}),
            ("--cells", {"type": int, "default": 3800, "help": "cells of the whole study"}),
        ],
        threads=2,
    )
    options.length = options.length or (128 if options.quick else 683)
    options.batch_size = options.batch_size or (4 if options.quick else 12)
    torch.set_num_threads(options.threads)
    seconds = seconds_per_cell(options.length, options.batch_size, options.repeats)
    print(f"V1-sized encoder, {options.length} tokens, {options.threads} threads, seconds per cell")
    for (what, dropout), value in seconds.items():
        note = "" if dropout is None else f"attention dropout {dropout}"
        print(f"  {what:<24} {value:7.3f}  {note}")
    three = ["frozen", "last_layer", "full"]
    five = [*three, "upstream_freeze6", "upstream_freeze5"]
    rows = [
        ("one full run, 1 task, 1 seed", (options.cells, ["full"], 1, 1, 0.0)),
        ("config/laptop.yaml (750 cells)", (750, three, 2, 1, 0.0)),
        ("config/config.yaml", (options.cells, five, 2, 3, 0.02)),
        ("config/config.yaml, attention_dropout 0.0", (options.cells, five, 2, 3, 0.0)),
    ]
    print(f"hours on this machine, the study having {options.cells} cells")
    for name, study in rows:
        print(f"  {name:<44} {hours(seconds, *study):6.1f}")
    forward = seconds["forward", None]
    results = [
        result(f"{what.replace(' ', '_')}_over_forward", seconds[what, dropout] / forward)
        for what, dropout in seconds
        if not dropout and what != "forward"
    ]
    notes = {"tokens per cell": options.length, "cells per batch": options.batch_size}
    notes |= {"threads": options.threads, "seconds per cell, forward": f"{forward:.3g}"}
    emit("training", results, notes)


if __name__ == "__main__":
    main()
