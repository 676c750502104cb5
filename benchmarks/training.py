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
from attribution import ATTATTR_STEPS, N_ORDERS, N_STEPS, classifier, costs
from timing import arguments, emit, result

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.attention.expected import Sizes  # noqa: E402
from keygenes.attention.sums import Subset, add_attention, sums_of_model  # noqa: E402
from keygenes.core.regimes import tasks_of, trained_patterns  # noqa: E402
from keygenes.core.tracks import MANY_PASSES, ONE_PASS  # noqa: E402
from keygenes.evidence.attribute import RANDOMISED_STEPS  # noqa: E402
from keygenes.models.batches import padded  # noqa: E402
from keygenes.models.encoder import small_config  # noqa: E402
from keygenes.models.families.geneformer import CellClassifier  # noqa: E402
from keygenes.models.head import cell_logits  # noqa: E402
from keygenes.models.trained import frozen_layers, train_mode, train_only  # noqa: E402

SHARES = {"train": 0.5, "valid": 1 / 6, "test": 1 / 3}  # 3, 1 and 2 of the 6 wells per dose
MODELS_OWN_DROPOUT = 0.02
TIMED = ("frozen", "last_layer", "full", "upstream_freeze6")
CONVERGED = 100  # epochs, about, that a head takes until it converges
VEHICLE_SHARE = 0.2  # vehicle cells among five doses


def v1(dropout):
    """Return an encoder of Geneformer V1's size with a 5-class head."""
    config = small_config(vocabulary_size=25426, max_length=2048, layers=6, heads=4, hidden=256)
    config.attention_probs_dropout_prob, config.num_labels = dropout, 5
    torch.manual_seed(0)
    return CellClassifier(config)


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
    for dropout in (MODELS_OWN_DROPOUT, 0.0):
        model = v1(dropout)
        for name in TIMED:
            train_only(model, regimes[name])
            train_mode(model)
            first = frozen_layers(model)  # what lies below them is computed once, and kept
            kept = torch.randn(batch_size, length, 256) if first else None

            def step(model=model, first=first, kept=kept):
                if first == model.config.num_hidden_layers:
                    logits = model.head(kept[:, 0])
                else:
                    logits = cell_logits(model, ids, mask, kept, first)
                torch.nn.functional.cross_entropy(logits, labels).backward()

            key = (f"train {name}", dropout)
            seconds[key] = best_of(repeats, step) / batch_size
    model.eval()
    with torch.inference_mode():
        plain = best_of(repeats, lambda: cell_logits(model, ids, mask)) / batch_size
    seconds["forward", None] = plain
    nothing = np.zeros(batch_size, np.int64)
    sizes = Sizes(np.array([len(cell) for cell in cells]), np.ones(batch_size))
    subset = Subset("test", cells, sizes, nothing, nothing)
    sums = sums_of_model(model.trunk, 5, 1, max_length=2048)
    look = {"batch_tokens": 4096}
    seconds["attention statistics", None] = (
        best_of(1, lambda: add_attention(sums, model.trunk, subset, **look)) / batch_size
    )
    return seconds


def study(*names):
    """Return config/config.yaml with others laid over it, as Snakemake lays them."""
    merged, *others = (
        yaml.safe_load((REPO / "config" / name).read_text()) for name in ("config.yaml", *names)
    )
    for other in others:
        from snakemake.utils import update_config  # not where jobs run

        update_config(merged, other)
    return merged


def jobs(config):
    """Return what trains, task by task.

    Returns
    -------
    list of (name of the regime that trains alike, regime, n_models, n_dealt)
        Models of the labels as they are, and of labels dealt anew for the primary test.
    """
    regimes = {regime["name"]: regime for regime in study()["regimes"]}
    names = {tuple(trained_patterns(regimes[name])): name for name in TIMED}
    # freeze5 trains the embeddings as freeze6 does: the gradient runs through every layer
    names[tuple(trained_patterns(regimes["upstream_freeze5"]))] = "upstream_freeze6"
    primary, folds = config["evidence"]["primary"] or {}, len(config["folds"])

    def n_dealt(regime, task):
        own = (primary.get("regime"), primary.get("task")) == (regime["name"], task)
        return config["evidence"]["permutations"] * folds if own else 0

    return [
        (
            *(names[tuple(trained_patterns(regime))], regime),
            *(folds * len(config["seeds"]), n_dealt(regime, task)),
        )
        for regime in config["regimes"]
        if "method" not in regime
        for task in tasks_of(regime, config)
    ]


def n_models(config):
    """Return how many models a study trains."""
    return sum(own + dealt for *_, own, dealt in jobs(config))


def training_seconds(seconds, config, n_cells):
    """Return the seconds of all fine-tunings and their attention, one job after the other."""
    train, test = SHARES["train"] * n_cells, SHARES["test"] * n_cells
    dropout = config["finetune"]["attention_dropout"]
    dropout = MODELS_OWN_DROPOUT if dropout is None else dropout
    total, trunks = 0.0, set()
    for known, regime, own, dealt in jobs(config):
        epochs = CONVERGED if "converge" in regime else config["finetune"]["epochs"]
        step = seconds["train " + known, dropout]
        # cells that are only looked at: a step without its backward pass is about a third of it
        kept = known in ("frozen", "last_layer")
        look = step / 3 if kept else seconds["forward", None]
        looks = (epochs * SHARES["valid"] + 1) * n_cells
        total += (own + dealt) * (epochs * train * step + looks * look)
        if kept:
            trunks.add((known, regime.get("tokens"), regime.get("encoder")))
    looked_at = 2 * test + VEHICLE_SHARE * train
    pretrained = len(config["folds"]) * len(tasks_of({}, config))
    total += (n_models(config) + pretrained) * looked_at * seconds["attention statistics", None]
    # one pass per choice of frozen layers serves all tasks, folds and seeds
    return total + len(trunks) * n_cells * seconds["forward", None]


def attribution_seconds(costs, config, n_cells, layers=6):
    """Return the processor seconds of all attributions and tests of faithfulness."""
    options, faith = config["evidence"]["attribution"], config["evidence"]["faithfulness"]
    n_test = int(SHARES["test"] * n_cells)
    tracks = set(config["evidence"]["tracks"])
    once = sum(costs[name] for name in ONE_PASS if name in tracks)
    scale = {
        "integrated_gradients": options["n_steps"] / N_STEPS,
        "attattr": options["attattr_steps"] / ATTATTR_STEPS,
    }
    many = sum(costs[name] * scale.get(name, 1) for name in MANY_PASSES if name in tracks)
    draws = faith["n_random"]
    sets = 2 * len(faith["fractions"]) * (N_ORDERS * (1 + draws) + draws)
    random = (layers + 3) * (once + costs["integrated_gradients"] * RANDOMISED_STEPS / N_STEPS)
    costly = min(n_test, options["costly_cells"])
    tracks = min(n_test, options["max_cells"] or n_test) * (once + costs["forward"]) + costly * many
    tests = costly * sets * costs["forward"] + min(n_test, faith["randomised_cells"]) * random
    attributed = [
        (own, dealt)
        for _, regime, own, dealt in jobs(config)
        if regime["name"] in config["evidence"]["regimes"]
    ]  # of labels dealt anew, no faithfulness
    return sum(own * (tracks + tests) + dealt * tracks for own, dealt in attributed)


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
    of_tracks = costs(classifier(256), options.length, 1)
    of_tracks = {name: float(times[0]) for name, times in of_tracks.items()}
    whole, laptop = study(), study("laptop.yaml")
    n_laptop = 5 * laptop["select"]["max_cells_per_dose"]  # five doses
    undropped = whole | {"finetune": whole["finetune"] | {"attention_dropout": 0.0}}
    rows = [
        ("config/laptop.yaml", laptop, n_laptop),
        ("config/config.yaml", whole, options.cells),
        ("config/config.yaml, attention_dropout 0.0", undropped, options.cells),
    ]
    print("hours on this machine: models and their attention; attributions and faithfulness")
    for name, config, n_cells in rows:
        trained = training_seconds(seconds, config, n_cells) / 3600
        attributed = attribution_seconds(of_tracks, config, n_cells) / options.threads / 3600
        label = f"{name} ({n_cells} cells, {n_models(config)} models)"
        print(f"  {label:<66} {trained:6.1f} {attributed:6.1f}")
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
