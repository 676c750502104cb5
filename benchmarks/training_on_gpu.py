"""Cells per second of fine-tuning on a card: ways of attention, replayed passes, sizes, many jobs.

    python benchmarks/training_on_gpu.py             # a minute and a half on a data-centre GPU

Models with random weights (speed does not depend on them) train whole, 12 cells per step, through
the loop that the rules run. A rate is that of the last of some epochs; nothing is validated.

- v1: Geneformer V1's size, cells as long as those of sci-Plex 2. In bf16 with PyTorch's
  memory-efficient attention, as in a study, with passes replayed (`v1`) and made as they come
  (`v1_as_they_come`), the latter with other attention too; in float32.
- v2_104m, v2_316m: sizes of Geneformer V2, cells of 2,048 tokens.
- jobs_n: V1 in n processes on one card at once, all together.
"""

import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sciplex_like import BATCH, cells_like_sciplex, classifier, fit
from timing import arguments, device_name, emit, result

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.core.jobs import Compute  # noqa: E402
from keygenes.models.device import Hardware, set_up_torch  # noqa: E402
from keygenes.models.finetune import CellLoss  # noqa: E402

LENGTH = 683
SIZES = {  # beside V1's
    "v2_104m": {"layers": 12, "heads": 12, "hidden": 768, "max_length": 4096},
    "v2_316m": {"layers": 18, "heads": 18, "hidden": 1152, "max_length": 4096},
}
ATTENTION = ("mem_efficient", "cudnn", "math")
JOBS = (1, 2, 4)


def cells_per_second(model, cells, epochs, *, replayed=True, precision="auto"):
    """Train a model on cells; return the rate of its last epoch."""
    device, ends = model.trunk.device, []

    def mark():
        if device.type == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        return 0.0, 0.0

    loss = CellLoss(model, cells, None, np.arange(len(cells)) % 5, device)
    hardware = Hardware(device, precision, 1 << 16, replayed=replayed)
    fit(model, cells, loss, mark, hardware, epochs=epochs)
    return len(cells) / (ends[-1] - ends[-2])


def attend_by(name):
    """Let PyTorch compute attention in one way alone, beside flash, which takes no padding."""
    for other in ATTENTION:
        getattr(torch.backends.cuda, f"enable_{other}_sdp")(other == name)


def rates(options, device):
    """Return {key: cells per second} of one process, and {key: GB}."""
    cells, found, peak = cells_like_sciplex(options.cells, options.length), {}, {}
    epochs = options.epochs
    for name in ATTENTION:
        attend_by(name)
        key = "as_they_come" if name == ATTENTION[0] else name
        found[f"v1_{key}"] = cells_per_second(classifier(device), cells, epochs, replayed=False)
    attend_by(ATTENTION[0])
    for key, precision in (("v1_float32", "float32"), ("v1", "auto")):
        model = classifier(device)
        found[key] = cells_per_second(model, cells, epochs, precision=precision)
    for size in SIZES:
        if not options.quick:
            cells = [np.arange(2, 2050)] * 4 * BATCH
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            found[size] = cells_per_second(classifier(device, **SIZES[size]), cells, 3)
            if device.type == "cuda":
                peak[size] = torch.cuda.max_memory_allocated() / 1e9
    return found, peak


def work(barrier, seconds, options):
    """Train in a process of many; all start their last epochs together."""
    device = set_up_torch(Compute(threads=options.threads, device=options.device))
    model, cells = classifier(device), cells_like_sciplex(options.cells, options.length)
    cells_per_second(model, cells, 2)
    barrier.wait()
    started = time.perf_counter()
    cells_per_second(model, cells, options.epochs)
    seconds.put(time.perf_counter() - started)


def side_by_side(n, options):
    """Return the cells per second of n processes on one card, all together, recording included."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(n), context.Queue()
    jobs = [context.Process(target=work, args=(barrier, seconds, options)) for _ in range(n)]
    for job in jobs:
        job.start()
    longest = max(seconds.get() for _ in jobs)
    for job in jobs:
        job.join()
    return n * options.epochs * options.cells / longest


def main():
    """Print the rates."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    numbers = {"cells": None, "length": None, "epochs": None}
    more = [(f"--{name}", {"type": int, "default": n}) for name, n in numbers.items()]
    options = arguments(__doc__, [("--device", {"default": device}), *more], threads=2)
    usual = {"cells": 480, "length": LENGTH, "epochs": 4}
    for name, value in (
        {"cells": 24, "length": 64, "epochs": 2} if options.quick else usual
    ).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    found, peak = rates(
        options, set_up_torch(Compute(threads=options.threads, device=options.device))
    )
    found |= {f"jobs_{n}": side_by_side(n, options) for n in JOBS[: 2 if options.quick else None]}
    targets = {} if options.quick or options.device == "cpu" else {"v1": ">= 600"}
    results = [result(key, rate, targets.get(key), unit="/s") for key, rate in found.items()]
    results += [result(f"{key}_peak_memory", gb, unit="GB") for key, gb in peak.items()]
    notes = {"device": device_name(options.device), "cells per step": BATCH}
    notes |= {"cells of v1": options.cells, "their median tokens": options.length}
    emit("training_on_gpu", results, notes)


if __name__ == "__main__":
    main()
