"""Seconds of a study's long steps on a card: fine-tuning, attention, attribution of one task.

    python benchmarks/study_on_gpu.py                # four minutes on a data-centre GPU
    python benchmarks/study_on_gpu.py --device cpu --quick

The functions that the rules call are called on files, as the rules do, with the settings of
config/config.yaml: an encoder of Geneformer V1's size with random weights, simulated cells as many
and as long as those of sci-Plex 2 (five doses, six wells each; lengths lognormal around 683
tokens). Each step is timed once, from its inputs on disk to its tables. Nothing here says how good
a model is.

The hours are those of all fine-tunings, attention and attributions of config/config.yaml, one job
after the other; they are sums of what was measured, by the numbers of models and cells. Peak memory
is that of the card, as PyTorch allocates it.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sciplex_like import N_TOKENS, REGIMES, cells_like_sciplex
from timing import arguments, device_name, emit, result
from training import jobs, study

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.attention.extract import extract_attention  # noqa: E402
from keygenes.core.jobs import Compute  # noqa: E402
from keygenes.core.runs import Run  # noqa: E402
from keygenes.core.tables import read_table, write_table  # noqa: E402
from keygenes.core.tracks import MANY_PASSES  # noqa: E402
from keygenes.evidence.attribute import attribute_genes  # noqa: E402
from keygenes.models.encoder import new_masked_model, save_model, small_config  # noqa: E402
from keygenes.models.finetune import finetune  # noqa: E402

WELLS_PER_DOSE = 6
TRAINING_CELLS, EPOCHS = 1883, 5  # of sci-Plex 2 at three wells of six, as the design measured them
TABLES = ("by_rank", "by_gene", "by_well", "norms", "heads", "expected")
FINETUNED = {"weights": "model.safetensors", "config": "config.json", "loading": "loading.json"}
FINETUNED |= {name: f"{name}.parquet" for name in ("history", "predictions")}


def write_study(folder, n_cells, length):
    """Write tokens, labels, splits and vocabulary of simulated cells; return paths and obs."""
    names = [f"c{i}" for i in range(n_cells)]
    cells = cells_like_sciplex(n_cells, length)
    dose, well = np.arange(n_cells) % 5, np.arange(n_cells) // 5 % WELLS_PER_DOSE
    split = np.array(["train", "train", "train", "valid", "test", "test"])[well]
    ids = ["<pad>", "<mask>", *(f"ENSG{i:011d}" for i in range(N_TOKENS - 2))]
    level = pd.Categorical.from_codes(dose, [f"dose{i}" for i in range(5)], ordered=True)
    tables = {
        "tokens": pd.DataFrame(
            {"cell": names, "input_ids": cells, "length": [len(cell) for cell in cells]}
        ),
        "splits": pd.DataFrame({"cell": names, "fold": 1, "split": split, "unit": "well"}),
        "vocabulary": pd.DataFrame(
            {"token": np.arange(N_TOKENS), "ensembl_id": ids, "symbol": ids, "median": 1.0}
        ),
    }
    paths = {name: folder / f"{name}.parquet" for name in (*tables, "labels")}
    for name, table in tables.items():
        write_table(table, paths[name], name)
    write_table(pd.DataFrame({"cell": names, "level": level}), paths["labels"])
    obs = pd.DataFrame(
        {"well": [f"{d}.{w}" for d, w in zip(dose, well, strict=True)], "n_counts": 5000.0}, names
    )
    return paths, obs, dose == 0


def write_encoder(folder, hidden, layers, heads):
    """Write a masked-token model with random weights; return its paths."""
    config = small_config(
        vocabulary_size=N_TOKENS, max_length=2048, layers=layers, heads=heads, hidden=hidden
    )
    paths = {"weights": folder / "model.safetensors", "config": folder / "config.json"}
    save_model(new_masked_model(config, 0), *paths.values())
    return paths


def of_device(device):
    """Return functions that wait for a card and that forget its peak memory."""
    if device == "cpu":
        return lambda: None, lambda: None
    return torch.cuda.synchronize, torch.cuda.reset_peak_memory_stats


class Clock:
    """Seconds and peak memory of steps, by name."""

    def __init__(self, device):
        self.device, self.seconds, self.peak = device, {}, {}
        self.wait, self.forget = of_device(device)

    def time(self, name, step, *args, **settings):
        """Run a step and keep what it took."""
        self.forget()
        started = time.perf_counter()
        step(*args, **settings)
        self.wait()
        self.seconds[name] = time.perf_counter() - started
        if self.device != "cpu":
            self.peak[name] = torch.cuda.max_memory_allocated() / 1e9
        print(f"{name}: {self.seconds[name]:.1f} s", flush=True)


def run_study(folder, options, clock):
    """Time every step of a study of one task."""
    config = study()
    paths, obs, vehicle = write_study(folder, options.cells, options.length)
    encoder = write_encoder(folder, options.hidden, options.layers, options.heads)
    compute = Compute(
        options.batch_tokens or "auto",
        options.threads,
        options.device,
        config["compute"]["precision"],
    )
    common = {"compute": compute, "task": "level", "max_length": 2048}
    trained = {name: paths[name] for name in ("tokens", "labels", "splits", "vocabulary")}
    keys = ("batch_size", "learning_rate", "weight_decay", "warmup_steps", "warmup_fraction")
    keys += ("max_grad_norm", "attention_dropout", "pooling", "keep_epoch")
    chosen = {key: config["finetune"][key] for key in keys}
    chosen |= {"epochs": options.epochs, "converge": None, "warmup_fraction": 0.1}
    for name, patterns in REGIMES.items():
        files = {key: folder / name / file for key, file in FINETUNED.items()}
        clock.time(
            f"finetune_{name}",
            finetune,
            **{**trained, **encoder, **common},
            **{f"out_{key}": path for key, path in files.items()},
            run=Run(1, 1),
            patterns=patterns,
            options=chosen,
            cache=config["finetune"]["cache"],
            regime=name,
        )
    model = {"weights": folder / "full" / "model.safetensors"}
    model |= {"config": folder / "full" / "config.json"}
    tables = {name: folder / f"{name}.parquet" for name in TABLES}
    looked = {**trained, **model, **common, "counts_obs": obs, "fold": 1}
    for precision in ("float32", "auto") if options.device != "cpu" else ("float32",):
        clock.time(
            f"attention_{precision}",
            extract_attention,
            tables,
            **{**looked, "compute": compute._replace(precision=precision)},
            vehicle=vehicle,
            max_cells=None,
            pair_norms=False,
        )
    attribution = {**config["evidence"]["attribution"], "costly_cells": options.costly_cells}
    for track in MANY_PASSES:
        clock.time(
            track,
            attribute_genes,
            **looked,
            tracks=[track],
            attribution_options={**attribution, "max_cells": options.costly_cells},
            out_well_scores=folder / f"{track}.parquet",
            out_cells=folder / f"{track}_cells.parquet",
        )
    history = read_table(folder / "full" / "history.parquet")
    return len(history) * int((read_table(paths["splits"])["split"] == "train").sum())


def hours(seconds, options):
    """Return the hours of config/config.yaml: its models times what one of a kind took."""
    config = study()
    total = 0.0
    for known, regime, own, dealt in jobs(config):
        n_models = own + dealt
        total += n_models * seconds[f"finetune_{known if known in REGIMES else 'full'}"]
        total += n_models * seconds["attention_float32"]
        if regime["name"] in config["evidence"]["regimes"]:
            per_cell = sum(seconds[name] for name in MANY_PASSES) / options.costly_cells
            total += n_models * config["evidence"]["attribution"]["costly_cells"] * per_cell
    return total / 3600


def main():
    """Time the steps and print what they come to."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    numbers = {"cells": None, "length": None, "epochs": None, "costly-cells": None}
    numbers |= {"batch-tokens": None, "hidden": 256, "layers": 6, "heads": 4}
    more = [(f"--{name}", {"type": int, "default": n}) for name, n in numbers.items()]
    options = arguments(__doc__, [("--device", {"default": device}), *more], threads=4)
    usual = {"cells": 2 * TRAINING_CELLS, "length": 683, "epochs": EPOCHS, "costly_cells": 24}
    small = {"cells": 60, "length": 64, "epochs": 1, "costly_cells": 2}
    for name, value in (small if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    clock = Clock(options.device)
    with tempfile.TemporaryDirectory() as folder:
        passes = run_study(Path(folder), options, clock)
    seconds = clock.seconds
    whole = not options.quick and (options.hidden, options.cells) == (256, 2 * TRAINING_CELLS)
    results = [
        result(
            f"{name}_seconds",
            value,
            "<= 20" if whole and name == "finetune_full" else None,
            unit="s",
        )
        for name, value in seconds.items()
    ]
    rate = passes / seconds["finetune_full"]
    results.append(result("full_cells_per_second", rate, ">= 600" if whole else None, unit="/s"))
    for name in MANY_PASSES:
        rate = options.costly_cells / seconds[name]
        results.append(result(f"{name}_cells_per_second", rate, unit="/s"))
    results.append(result("hours_of_config_yaml", hours(seconds, options), unit="h"))
    results += [result(f"{name}_peak_memory", gb, unit="GB") for name, gb in clock.peak.items()]
    notes = {"device": device_name(options.device), "cells": options.cells}
    notes |= {
        "median tokens per cell": options.length,
        "batch_tokens": options.batch_tokens or "auto",
    }
    notes |= {"encoder": f"{options.layers} layers, {options.heads} heads, {options.hidden} wide"}
    emit("study_on_gpu", results, notes)


if __name__ == "__main__":
    main()
