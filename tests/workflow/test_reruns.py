"""One edit, and exactly what it concerns is computed again."""

import os
from contextlib import contextmanager

import pytest
from running import dry_run, edited_config

DEMO = "config/demo.yaml"
REPORT = {"write_report"}
# What follows from a rule's outputs, the rule itself included.
AFTER_SCORES = {"score_genes", "plot_attention", "plot_genes"} | REPORT
AFTER_INPUTS = {"compare_inputs", "plot_inputs"} | REPORT  # equally long cells beside the others
AFTER_COMPARISONS = {"compare_attention", "collect_comparisons", "plot_attention"} | AFTER_INPUTS
AFTER_ATTENTION = {"extract_attention"} | AFTER_COMPARISONS | AFTER_SCORES
AFTER_EVALUATION = {"evaluate", "plot_predictions"} | REPORT
AFTER_PREDICTIONS = AFTER_EVALUATION | AFTER_INPUTS
# What frozen layers make of the cells: made of what fine-tuning is made of, seeds and tasks apart.
CACHE = {"cache_trunk"}
AFTER_FINETUNE = {"finetune", "plot_training"} | AFTER_PREDICTIONS | AFTER_ATTENTION
AFTER_PROBE = {"fit_probe"} | AFTER_EVALUATION  # regressions read no variant of the tokens
AFTER_VARIANTS = {"tokenize_variant"} | CACHE | AFTER_FINETUNE
AFTER_TOKENS = {"tokenize_cells", "fit_probe"} | AFTER_VARIANTS
AFTER_PRETRAIN = {"pretrain", "fit_probe"} | CACHE | AFTER_FINETUNE
AFTER_CORPUS = {"tokenize_corpus"} | AFTER_PRETRAIN
AFTER_SPLITS = {"split_cells", "collect_splits", "permute_labels", "fit_probe"} | AFTER_FINETUNE
AFTER_RANKS = {"rank_genes"} | AFTER_SCORES
AFTER_SCREEN = {"screen_doses", "plot_dose_screen"} | REPORT
AFTER_LABELS = {"label_cells", "plot_umap"} | AFTER_SPLITS | AFTER_RANKS
AFTER_EMBEDDING = {"embed_cells", "plot_umap"} | REPORT
AFTER_SELECTION = {"select_cells"} | AFTER_LABELS | AFTER_EMBEDDING | AFTER_SCREEN | AFTER_TOKENS
EVERYTHING = (
    {"simulate_dataset", "read_dataset", "build_vocabulary"} | AFTER_CORPUS | AFTER_SELECTION
)
PLOTS = {  # of the demo, which has no task of genes
    *("plot_umap", "plot_dose_screen", "plot_training", "plot_predictions"),
    *("plot_attention", "plot_genes", "plot_inputs"),
}


def rules_of(jobs):
    return {rule for rule, _ in jobs}


def test_nothing_is_left_to_do(demo):
    assert dry_run(demo, "--configfile", DEMO) == []


KEYS = [
    ({"mirror": "/some/mirror"}, REPORT),  # the page shows the config; nothing is computed
    ({"expression.umap.min_dist": 0.4}, AFTER_EMBEDDING),
    ({"expression.pseudocount": 0.5}, AFTER_RANKS | AFTER_SCREEN),
    ({"expression.fdr": 0.01}, AFTER_SCREEN | {"plot_genes"}),
    ({"evidence.marker": "CDKN1A"}, {"plot_attention"} | REPORT),
    ({"evidence.n_key_genes": 20}, AFTER_SCORES | AFTER_INPUTS),
    ({"evidence.n_bootstrap": 500}, AFTER_PREDICTIONS),
    ({"tokens.variants.equal_length.length": {"subsample": 120}}, AFTER_VARIANTS),
    ({"tokens.seed": 2}, AFTER_VARIANTS),  # nothing else is drawn
    ({"tokens.depth": 200}, AFTER_TOKENS),
    ({"attention.max_cells": 100}, AFTER_ATTENTION),
    ({"finetune.learning_rate": 2.0e-4}, AFTER_FINETUNE),
    ({"finetune.cache": {"max_gb": 1, "dtype": "float16"}}, CACHE | AFTER_FINETUNE),
    ({"compute.processes": 2}, AFTER_FINETUNE),
    ({"pretrain.seed": 2}, AFTER_PRETRAIN),
    ({"tokens.max_length": 256}, AFTER_TOKENS | AFTER_CORPUS),
    ({"tokens.upstream": True}, AFTER_TOKENS | AFTER_CORPUS),
    ({"select.min_counts": 400}, AFTER_SELECTION),
    # The labels are one table: a class of one task concerns every task.
    ({"tasks.1.classes": {"low": [0, 1.25], "high": [12.5, 25]}}, AFTER_LABELS),
]


@pytest.mark.parametrize(("changes", "expected"), KEYS, ids=[next(iter(key)) for key, _ in KEYS])
def test_edited_key(demo, tmp_path, changes, expected):
    config = edited_config(tmp_path / "edited.yaml", changes, demo / DEMO)
    assert rules_of(dry_run(demo, "--configfile", config)) == expected


def test_edited_regime_reruns_that_regime_only(demo, tmp_path):
    full = {"name": "full", "train": ["*"], "learning_rate": 2.0e-3}
    config = edited_config(tmp_path / "edited.yaml", {"regimes.2": full}, demo / DEMO)
    jobs = dry_run(demo, "--configfile", config)
    assert rules_of(jobs) == AFTER_FINETUNE
    runs = {(task, seed) for task in ("dose", "level") for seed in ("1", "2")}
    for rule in ("finetune", "extract_attention"):
        of_rule = [wildcards for name, wildcards in jobs if name == rule]
        assert {(w["regime"], w["task"], w["seed"]) for w in of_rule} == {
            ("full", *r) for r in runs
        }
        assert len(of_rule) == len(runs)


def test_another_seed_reruns_nothing_of_the_first(demo, tmp_path):
    config = edited_config(tmp_path / "edited.yaml", {"seeds": [1, 2, 3]}, demo / DEMO)
    jobs = dry_run(demo, "--configfile", config)
    assert rules_of(jobs) == AFTER_SPLITS
    assert {w["seed"] for _, w in jobs if "seed" in w} == {"3"}


def test_a_variant_concerns_the_regimes_that_read_it(demo, tmp_path):
    change = {"tokens.variants.equal_length.length": {"subsample": 120}}
    config = edited_config(tmp_path / "edited.yaml", change, demo / DEMO)
    jobs = dry_run(demo, "--configfile", config)
    for rule in ("finetune", "extract_attention"):
        assert {w["regime"] for name, w in jobs if name == rule} == {
            *("full_equal_length", "frozen_equal_length")
        }
    assert {w["encoding"] for rule, w in jobs if rule == "compare_attention"} == {"equal_length"}


def test_another_choice_of_layers_has_states_of_its_own(demo, tmp_path):
    last = ["bert.encoder.layer.4.*", "bert.encoder.layer.{last}.*", "classifier.*"]
    regime = {"name": "last_layer", "train": last}
    config = edited_config(tmp_path / "edited.yaml", {"regimes.1": regime}, demo / DEMO)
    jobs = dry_run(demo, "--configfile", config)
    assert rules_of(jobs) == CACHE | AFTER_FINETUNE
    for rule, n in (("cache_trunk", 1), ("finetune", 4)):
        assert sum(name == rule for name, _ in jobs) == n
    assert {w["regime"] for rule, w in jobs if rule == "finetune"} == {"last_layer"}


@contextmanager
def appended(path, line):
    """Append a line to a file for a while; bytes and times are as before at the end."""
    before, times = path.read_bytes(), path.stat()
    try:
        path.write_bytes(before + line)
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


FILES = [
    ("workflow/scripts/keygenes/core/errors.py", EVERYTHING),
    ("workflow/scripts/keygenes/inputs/genes.py", EVERYTHING),
    ("workflow/scripts/keygenes/cells/split.py", AFTER_SPLITS),
    ("workflow/scripts/keygenes/expression/umap.py", AFTER_EMBEDDING),
    ("workflow/scripts/keygenes/tokens/encode.py", AFTER_TOKENS | AFTER_CORPUS),
    ("workflow/scripts/keygenes/models/train.py", AFTER_PRETRAIN),
    ("workflow/scripts/keygenes/models/trunk.py", CACHE | AFTER_FINETUNE | {"fit_probe"}),
    ("workflow/scripts/keygenes/tokens/draws.py", AFTER_TOKENS | AFTER_CORPUS),
    ("workflow/scripts/keygenes/models/probe.py", AFTER_PROBE),
    ("workflow/scripts/keygenes/evidence/input_length.py", AFTER_INPUTS),
    ("workflow/scripts/keygenes/report/figures_inputs.py", {"plot_inputs"} | REPORT),
    ("workflow/scripts/keygenes/attention/stream.py", AFTER_ATTENTION),
    ("workflow/scripts/keygenes/evidence/score.py", AFTER_SCORES),
    ("workflow/scripts/keygenes/report/figures_attention.py", {"plot_attention"} | REPORT),
    ("workflow/scripts/keygenes/report/style.py", PLOTS | REPORT),
    ("workflow/scripts/keygenes/report/page.py", REPORT),
    ("workflow/scripts/evaluate.py", AFTER_EVALUATION),  # a script: Snakemake's own watch
    ("workflow/report/accuracy.rst", REPORT),
    ("resources/gene_sets/p53_textbook.tsv", AFTER_SCORES),
]


@pytest.mark.parametrize(("path", "expected"), FILES, ids=[path for path, _ in FILES])
def test_edited_file(demo, path, expected):
    with appended(demo / path, b"\n# edited\n"):
        assert rules_of(dry_run(demo, "--configfile", DEMO)) == expected
