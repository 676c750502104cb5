"""Price of every attribution of a cell, in seconds on one thread, and in forward passes.

    .venv/bin/python benchmarks/attribution.py

One process, a classifier of Geneformer V1's size (256 wide) and one of half that width, with
random weights (speed does not depend on them), one cell of each length, the study's settings:
integrated gradients with 50 steps, ATTATTR with 20, faithfulness of 16 orders with 5 shares and 5
random draws. What takes a pass per gene (occlusion, deletion) or per masked set (faithfulness) is
timed on some of these passes and scaled up. Seconds are of the processor, not of the clock, so that
whatever else runs there does not count. In front of each key is the width.
"""

import sys
import time
from pathlib import Path

import numpy as np
import timing
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

from keygenes.core.tracks import ONE_PASS  # noqa: E402
from keygenes.evidence import attribution  # noqa: E402
from keygenes.evidence.cell_scores import one_pass_scores  # noqa: E402
from keygenes.models.encoder import small_config  # noqa: E402
from keygenes.models.families.geneformer import CellClassifier  # noqa: E402

TOKENS, LONGEST, BATCH_TOKENS = 25_426, 2048, 4096
N_STEPS, ATTATTR_STEPS = 50, 20
N_ORDERS = 16  # of genes, that are masked from the first on
# orders x (itself and 5 matched draws) x shares x 2 metrics, and 5 draws of all genes
MASKED_SETS = N_ORDERS * 6 * 5 * 2 + 5 * 5 * 2
TIMED_PASSES = 24


def classifier(hidden):
    """Return a classifier of V1's shape and some width, as `attribute_genes` sets it up."""
    config = small_config(
        vocabulary_size=TOKENS, max_length=LONGEST, layers=6, heads=4, hidden=hidden
    )
    config.num_labels = 2
    torch.manual_seed(0)
    return CellClassifier(config).eval().requires_grad_(False)


def seconds(function, repeats):
    """Return the processor times of a function, called once before."""
    function()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return np.array(times)


def costs(model, length, repeats):
    """Return seconds per cell of every track: dict of float arrays [repeats]."""
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.permutation(np.arange(2, TOKENS))[None, :length].copy())
    mask = torch.ones_like(ids)
    cost = {"batch_tokens": BATCH_TOKENS}
    tokens = {"mask_token": 1, "specials": (0, 1)}
    variants = ids.repeat(TIMED_PASSES, 1)
    of = {name: (lambda name=name: one_pass_scores(model, ids, mask, [name])) for name in ONE_PASS}
    of["integrated_gradients"] = lambda: attribution.integrated_gradients(
        model, ids, mask, **tokens, n_steps=N_STEPS, **cost
    )
    of["attattr"] = lambda: attribution.attattr(model, ids, mask, n_steps=ATTATTR_STEPS, **cost)
    of["forward"] = lambda: attribution.contrasts(model, variants, BATCH_TOKENS)
    times = {name: seconds(function, repeats) for name, function in of.items()}
    times["forward"] /= TIMED_PASSES
    for name, passes in (
        ("occlusion", length),
        ("deletion", length),
        ("faithfulness", MASKED_SETS),
    ):
        times[name] = times["forward"] * passes
    return times


def main():
    """Time every track at two lengths and two widths."""
    options = timing.arguments(__doc__)
    torch.set_num_threads(options.threads)
    results = []
    for hidden in (256, 128):
        model = classifier(hidden)
        for length in (256,) if options.quick else (680, 1200):
            times = costs(model, length, options.repeats)
            for name, of_name in times.items():
                results.append(
                    timing.result(f"{hidden}_{name}_{length}", timing.spread(of_name), unit="s")
                )
            for name in ("integrated_gradients", "attattr"):
                ratio = timing.spread(times[name] / np.median(times["forward"]))
                results.append(timing.result(f"{hidden}_{name}_in_passes_{length}", ratio))
    notes = {"threads": options.threads, "batch_tokens": BATCH_TOKENS, "masked sets": MASKED_SETS}
    timing.emit("attribution", results, notes)


if __name__ == "__main__":
    main()
