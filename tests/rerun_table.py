"""Which rules run again after an edit of each config key: the table in docs/design.md.

Run in a checkout whose demo is finished (make reruns), it lets a task of genes run in a copy, asks
Snakemake for a dry run per key of the schema there, and writes the table.
"""

import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from pathlib import Path

import yaml
from gene_study import finished_gene_study, gene_config
from running import REPOSITORY, dry_run, edited_config, whole_config

SCHEMA = "workflow/schemas/config.schema.yaml"
PAGE = "docs/design.md"
MARKS = ("<!-- reruns -->\n", "<!-- end of reruns -->\n")
FEW_CELLS = {"registries.datasets": ["config/datasets.yaml", "tests/config/micro_cells.yaml"]}
NOT_EDITED = {"version"}  # a release reads one
# What an edit of a key is, where the study's value plus one, half of it, its opposite, or the list
# with its first entry twice will not do.
VALUES = {
    "study": "other",
    "readers": [],
    "mirror": "/some/mirror",
    "image": "keygenes.sif",
    "select.drug": "Dex",
    "select.doses_um": [0, 2.5, 12.5, 25],
    "select.vehicle.column": "replicate",
    "select.vehicle.value": 1.25,
    "select.max_percent_mito": 20,
    "select.highly_variable_genes": 200,
    "select.max_cells_per_dose": 50,
    "folds": [1, 2, 3],
    "seeds": [1, 2],
    "split.by": "random",
    "tokens.vocabulary": "geneformer_v1",
    "tokens.depth": 200,
    "tokens.order": "shuffled",
    "pretrain.heads": 2,
    "pretrain.hidden": 128,
    "finetune.pooling": "mean",
    "finetune.attention_dropout": 0.1,
    "finetune.cache.dtype": "float16",
    "gene_classification.train": ["classifier.*"],
    "gene_classification.attention_dropout": 0.1,
    "attention.pairs": [["full", "frozen"], ["full_equal_length", "frozen_equal_length"]],
    "attention.max_cells": 100,
    "attention.precision": "auto",
    "evidence.gene_sets": ["planted_demo_thesis"],
    "evidence.regime": "last_layer",
    "evidence.regimes": ["full"],
    "evidence.tracks": ["attention_total", "attention_received", "integrated_gradients"],
    "evidence.marker": "CDKN1A",
    "evidence.faithfulness.fractions": [0.05, 0.1],
    "evidence.claims": None,
    "evidence.primary.task": "dose",
    "evidence.primary.track": "attention_received",
    "evidence.primary.gene_set": "p53_textbook",
    "compute.device": "auto",
    "compute.precision": "auto",
    "compute.deterministic": True,
}
TOGETHER = {  # {key: what an edit of it must change}
    "finetune.keep_epoch": {"finetune.keep_epoch": "best", "regimes.2.keep_epoch": "last"},
    "evidence.primary.regime": {
        "evidence.primary": {
            **{"task": "level", "track": "attention_received", "gene_set": "planted_demo_thesis"},
            "regime": "last_layer",
        }
    },
    "dataset": {"dataset": "micro_sciplex", **FEW_CELLS},
    "pretrain.dataset": {"pretrain.dataset": "micro_atlas", **FEW_CELLS},
    "model": {"model": "geneformer_v1_10m", "tokens.vocabulary": "geneformer_v1"},
    "tokens.length.subsample": {"tokens.length": {"subsample": 150}},
}
# Keys of entries, by example. Of the lists: tasks 0 'dose', 1 'level', 2 'common' (of genes),
# regimes 0 'frozen', 2 'full', 3 'permuted_labels', 6 'full_random_split', 7 'linear_probe'.
HEAD = ["bert.pooler.*", "classifier.*"]
PERMUTED = {"name": "permuted_labels", "train": ["*"], "tasks": ["level"]}
BY_CELL = {"name": "full_random_split", "tasks": ["level"]}
BROUGHT = ["config/models.yaml", "tests/config/finetuned.yaml"]
EXAMPLES = {
    "tasks.dose.name": {"tasks.0.name": "concentration"},
    "tasks.level.column": {"tasks.1.column": "replicate"},
    "tasks.level.classes": {"tasks.1.classes": {"low": [0, 1.25], "high": [12.5, 25]}},
    "tasks.common.type": {
        "tasks.2": {"name": "common", "column": "replicate", "classes": {"a": [1], "b": [2]}}
    },
    "tasks.common.gene_classes": {"tasks.2.gene_classes": "ribosomal"},
    "tokens.variants.equal_length.length.subsample": {
        "tokens.variants.equal_length.length.subsample": 151
    },
    "tokens.variants.equal_length.depth": {"tokens.variants.equal_length.depth": 200},
    "tokens.variants.equal_length.order": {"tokens.variants.equal_length.order": "shuffled"},
    "regimes.full.epochs": {"regimes.2.epochs": 6},
    "regimes.full.batch_size": {"regimes.2.batch_size": 13},
    "regimes.full.learning_rate": {"regimes.2.learning_rate": 2.0e-3},
    "regimes.full.weight_decay": {"regimes.2.weight_decay": 0.002},
    "regimes.full.warmup_steps": {"regimes.2.warmup_steps": 20},
    "regimes.full.warmup_fraction": {"regimes.2.warmup_fraction": 0.2},
    "regimes.full.max_grad_norm": {"regimes.2.max_grad_norm": 2.0},
    "regimes.full.attention_dropout": {"regimes.2.attention_dropout": 0.1},
    "regimes.full.pooling": {"regimes.2.pooling": "mean"},
    "regimes.full.preset": {"regimes.2.preset": "upstream", "regimes.2.keep_epoch": "last"},
    "regimes.full_random_split.keep_epoch": {"regimes.6.keep_epoch": "best"},
    "regimes.frozen.converge": {"regimes.0": {"name": "frozen", "train": HEAD}},
    "regimes.full.train": {"regimes.2.train": ["bert.encoder.*", "bert.pooler.*", "classifier.*"]},
    "regimes.permuted_labels.labels": {"regimes.3": PERMUTED},
    "regimes.full_random_split.name": {"regimes.6.name": "full_by_cell"},
    "regimes.full_random_split.tasks": {"regimes.6.tasks": ["level", "dose"]},
    "regimes.full_random_split.tokens": {"regimes.6.tokens": "equal_length"},
    "regimes.full_random_split.encoder": {"regimes.6.encoder": "random"},
    "regimes.full_random_split.split": {"regimes.6": {**BY_CELL, "train": ["*"]}},
    "regimes.full_random_split.freeze_layers": {
        "regimes.6": {**BY_CELL, "split": "random", "freeze_layers": 2}
    },
    "regimes.full_random_split.method": {
        "regimes.6": {**BY_CELL, "split": "random", "method": "logistic", "features": "expression"}
    },
    "regimes.full_random_split.finetuned": {
        "regimes.6": {**BY_CELL, "finetuned": "brought"},
        "registries.models": BROUGHT,
    },
    "regimes.linear_probe.features": {"regimes.7.features": "expression"},
}


def schema_keys(schema, prefix=""):
    """Return the dotted keys of a config that a schema knows; * is any name, or entry of a list."""
    inner = dict(schema.get("properties", {}))
    for each in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(each, dict) and "properties" in each:
            inner["*"] = each
    if not inner:
        return {prefix[:-1]}
    return set().union(*(schema_keys(part, f"{prefix}{key}.") for key, part in inner.items()))


def editable_keys():
    """Return the keys of the config's schema, as `schema_keys`, that a user may edit."""
    schema = yaml.safe_load((REPOSITORY / SCHEMA).read_text(encoding="utf-8"))
    return schema_keys(schema) - NOT_EDITED


def another(value):
    """Return a value of the same type that is not the same; a list repeats its first entry."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [value[0], *value]
    return value / 2


def edit(key, config):
    """Return {key: new value} that is an edit of one key of a config, which is none of an entry."""
    if key in TOGETHER:
        return TOGETHER[key]
    if key in VALUES:
        return {key: VALUES[key]}
    value = reduce(dict.get, key.split("."), config)
    if value in (None, []):  # nothing to change: an example of the schema says what else may stand
        examples = schema_part(key).get("examples")
        if not examples:
            raise ValueError(f"{key}: give it 'examples' in the schema, or a value in VALUES")
        return {key: examples[0]}
    return {key: another(value)}


def schema_part(key):
    """Return what the schema says of a key, by its path."""
    part = yaml.safe_load((REPOSITORY / SCHEMA).read_text(encoding="utf-8"))
    for name in key.split("."):
        part = part["properties"][name]
    return part


def edits(config_path):
    """Return {key: {key: new value}} for every key of the schema; of entries, by example."""
    config = whole_config(config_path)
    plain = sorted(key for key in editable_keys() if "*" not in key)
    return {key: edit(key, config) for key in plain} | EXAMPLES


def rules_after(folder, config_path, changes):
    """Return the set of rules that a dry run lists after an edit of a finished study's config."""
    with tempfile.TemporaryDirectory() as temporary:
        config = edited_config(Path(temporary) / "edited.yaml", changes, config_path)
        return {rule for rule, _ in dry_run(folder, "--configfile", config)}


def listed(rules):
    """Return rules as a list in text."""
    return ", ".join(f"`{rule}`" for rule in sorted(rules))


def described(rules, everything):
    """Return a set of rules as text; a large one by what it lacks of everything."""
    lacking, further = everything - rules, rules - everything
    if len(lacking) > len(rules) / 2:
        return listed(rules)
    text = f"all but {listed(lacking)}" if lacking else "all"
    return f"{text}, and {listed(further)}" if further else text


def table(found, everything):
    """Return the lines of the table: keys with the same rules share a row, fewest rules first."""
    rows = {}
    for key, rules in found.items():
        rows.setdefault(frozenset(rules), []).append(key)
    lines = ["| edited key | rules that run again |\n", "|---|---|\n"]
    for rules, keys in sorted(rows.items(), key=lambda row: (len(row[0]), row[1])):
        names = ", ".join(f"`{key}`" for key in sorted(keys))
        lines.append(f"| {names} | {described(rules, everything)} |\n")
    return lines


def documented(text):
    """Return {key: the text of its rules} of the table in a page."""
    start, end = (text.index(mark) for mark in MARKS)
    rows = re.findall(r"(?m)^\| (`.+?) \| (.+) \|$", text[start:end])
    return {key: rules for keys, rules in rows for key in re.findall("`(.+?)`", keys)}


def written(text, lines):
    """Return a page with the table put between its marks."""
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    return f"{text[:start]}\n{''.join(lines)}\n{text[end:]}"


def current_table(study):
    """Return the lines of the table of a `finished_gene_study`."""
    config = gene_config(study.folder)
    changes = edits(config)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda c: rules_after(study.checkout, config, c), changes.values())
        found = dict(zip(changes, found, strict=True))
    return table(found, found["study"])  # a study of another name runs every rule


def main():
    """Write the table."""
    page = REPOSITORY / PAGE
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as temporary:
        lines = current_table(finished_gene_study(REPOSITORY, Path(temporary)))
    page.write_text(written(text, lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
