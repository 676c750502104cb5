"""What fine-tuning costs when no work is done twice, against what it would cost otherwise.

    .venv/bin/python benchmarks/finetune.py

One process, a V1-sized encoder with random weights (speed does not depend on them), cells of
lengths as in sci-Plex 2.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import timing
import torch
from sciplex_like import BATCH, REGIMES, cells_like_sciplex, classifier, fit

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.core.jobs import Compute  # noqa: E402
from keygenes.models.batches import (  # noqa: E402
    length_grouped_batches,
    padding_waste,
    parts_of,
)
from keygenes.models.device import Hardware, set_up_torch  # noqa: E402
from keygenes.models.finetune import CellLoss, class_logits, loss_and_accuracy  # noqa: E402
from keygenes.models.trained import train_only  # noqa: E402
from keygenes.models.trunk import of_cells, open_states, wanted_states, write_states  # noqa: E402

VALID = 4  # every fourth cell validates; the others train


def epochs_of(cells, regime, n_epochs, states, hardware, folder):
    """Return a function that trains a regime for some epochs, validation included."""
    at = np.arange(len(cells))
    rows, valid = at[at % VALID != 0], at[at % VALID == 0]
    targets = at % 5

    model = classifier(hardware.device)
    train_only(model, REGIMES[regime])

    def run(states=states):
        threads = torch.get_num_threads()
        if states is not None and states.pooled:
            torch.set_num_threads(1)  # as `finetune` does
        valid_states = of_cells(states, valid)
        valid_cells = [cells[i] for i in valid]
        own = [cells[i] for i in rows], of_cells(states, rows), targets[rows]

        fit(
            model,
            own[0],
            CellLoss(model, *own, hardware.device),
            lambda: loss_and_accuracy(
                class_logits(model, valid_cells, hardware, valid_states),
                torch.from_numpy(targets[valid]),
            ),
            hardware,
            epochs=n_epochs,
            checkpoint=folder / f"{regime}.pt",
            run=[time.perf_counter()],
        )
        (folder / f"{regime}.pt").unlink()
        torch.set_num_threads(threads)

    return run


def states_of(cells, regime, hardware, folder):
    """Return a function that computes and returns the states that a regime starts from."""
    model = classifier(hardware.device)
    train_only(model, REGIMES[regime])
    name, n_layers = wanted_states(model)
    lengths = np.array([len(cell) for cell in cells])

    def run():
        write_states(model, cells, folder, {"max_gb": 50, "dtype": "float32"}, hardware)
        return open_states(folder, name, n_layers, lengths, hidden=256, dtype="float32")

    return run


def main():
    """Print the times and the ratios."""
    options = timing.arguments(
        __doc__,
        [
            ("--cells", {"type": int, "default": 96}),
            ("--length", {"type": int, "default": 683, "help": "median tokens per cell"}),
            ("--batch-tokens", {"type": int, "default": 4096}),
            ("--device", {"default": "cpu", "choices": ["auto", "cpu", "cuda"]}),
        ],
        threads=2,
    )
    if options.quick:
        options.cells, options.length = 36, 128
    logging.getLogger("keygenes").setLevel(logging.ERROR)
    device = set_up_torch(Compute(threads=options.threads, device=options.device))
    look = Hardware(device, "auto", options.batch_tokens, replayed=True)
    cells = cells_like_sciplex(options.cells, options.length)
    model = classifier(device).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = states_of(cells, "frozen", look, folder)
        keep = states_of(cells, "last_layer", look, folder)
        frozen = epochs_of(cells, "frozen", 5, None, look, folder)
        last = epochs_of(cells, "last_layer", 1, None, look, folder)
        inputs = keep()
        measured = {
            "forward pass": lambda: class_logits(model, cells, look),
            "frozen, 5 epochs, states included": lambda: frozen(pool()),
            "frozen, 5 epochs, nothing kept": frozen,
            "full, 1 epoch": epochs_of(cells, "full", 1, None, look, folder),
            "last_layer, 1 epoch": lambda: last(inputs),
            "last_layer, 1 epoch, nothing kept": last,
            "states of last_layer": keep,
        }
        frozen(pool())  # warm-up
        times = timing.rounds(measured, options.repeats, warm_up=False)
    print(
        f"V1-sized encoder, {options.cells} cells of {options.length} tokens in the median, "
        f"{options.threads} threads on {device}, torch {torch.__version__}, seconds:"
    )
    for what, values in times.items():
        print(f"  {what:<36} {np.median(values):8.2f}  {min(values):.2f}-{max(values):.2f}")

    lengths = np.array([len(cell) for cell in cells_like_sciplex(3800, 683)])
    batches = length_grouped_batches(lengths, BATCH, np.random.default_rng(1))
    parts = [part for batch in batches for part in parts_of(batch, lengths, options.batch_tokens)]
    waste = {"steps": padding_waste(lengths, batches), "parts": padding_waste(lengths, parts)}
    print(f"padding of 3,800 cells in batches of {BATCH}: {100 * waste['steps']:.1f} %")
    print(f"  in parts of {options.batch_tokens} tokens: {100 * waste['parts']:.1f} %")
    results = [
        timing.result(key, timing.spread(times[one] / times[other]), target)
        for key, one, other, target in (
            (
                "frozen_5_epochs_over_forward",
                *("frozen, 5 epochs, states included", "forward pass", "<= 1.3"),
            ),
            (
                "frozen_uncached_over_cached",
                *("frozen, 5 epochs, nothing kept", "frozen, 5 epochs, states included", None),
            ),
            (
                "last_layer_over_full_epoch",
                *("last_layer, 1 epoch", "full, 1 epoch", "<= 0.333"),
            ),
            (
                "last_layer_uncached_over_full_epoch",
                *("last_layer, 1 epoch, nothing kept", "full, 1 epoch", None),
            ),
            (
                "last_layer_states_over_forward",
                *("states of last_layer", "forward pass", None),
            ),
        )
    ]
    results.append(timing.result("padding_waste", 100 * waste["parts"], "<= 5", unit="%"))
    notes = {"cells": options.cells, "median tokens per cell": options.length}
    notes |= {"threads": options.threads, "device": str(device)}
    timing.emit("finetune", results, notes)


if __name__ == "__main__":
    main()
