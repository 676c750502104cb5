"""Which rules run again after an edit of each config key: the table in docs/design.md.

Run in a checkout whose demo is finished (make reruns), it asks Snakemake for a dry run per key,
and writes the table.
"""

import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from running import REPOSITORY, dry_run, edited_config

DEMO = "config/demo.yaml"
PAGE = "docs/design.md"
MARKS = ("<!-- reruns -->\n", "<!-- end of reruns -->\n")
FEW_CELLS = {"registries.datasets": ["config/datasets.yaml", "tests/config/micro_cells.yaml"]}
# What an edit of a key is, where adding one, halving or negating the demo's value will not do.
# A dict says what has to be edited with it.
VALUES = {
    "study": "other",
    "registries.datasets": ["config/datasets.yaml", "config/datasets.yaml"],
    "registries.models": ["config/models.yaml", "config/models.yaml"],
    "registries.gene_sets": ["config/gene_sets.yaml", "config/gene_sets.yaml"],
    "mirror": "/some/mirror",
    "select.drug": "Dex",
    "select.doses_um": [0, 2.5, 12.5, 25],
    "select.vehicle.column": "replicate",
    "select.vehicle.value": 1.25,
    "select.max_percent_mito": 20,
    "select.highly_variable_genes": 200,
    "select.max_cells_per_dose": 50,
    "seeds": [1, 2, 3],
    "split.by": "random",
    "tokens.vocabulary": "geneformer_v1",
    "tokens.length": {"subsample": 150},
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
    "evidence.gene_sets": ["p53_textbook"],
    "evidence.regime": "last_layer",
    "evidence.regimes": ["full"],
    "evidence.tracks": ["attention_total", "attention_received", "rollout"],
    "evidence.marker": "CDKN1A",
    "evidence.faithfulness.fractions": [0.05, 0.1],
    "evidence.claims": None,
    "compute.device": "auto",
    "compute.precision": "auto",
}
TOGETHER = {  # {key: what an edit of it must change}
    "dataset": {"dataset": "micro_sciplex", **FEW_CELLS},
    "pretrain.dataset": {"pretrain.dataset": "micro_atlas", **FEW_CELLS},
    "model": {"model": "geneformer_v1_10m", "tokens.vocabulary": "geneformer_v1"},
    # Entries of lists, by example: of the demo's second task and third regime.
    "tasks.level.classes": {"tasks.1.classes": {"low": [0, 1.25], "high": [12.5, 25]}},
    "regimes.full.learning_rate": {"regimes.2.learning_rate": 2.0e-3},
    "regimes.full.train": {"regimes.2.train": ["bert.encoder.*", "bert.pooler.*", "classifier.*"]},
    "regimes.full_random_split.tokens": {"regimes.6.tokens": "equal_length"},
    "regimes.linear_probe.features": {"regimes.7.features": "expression"},
}
NOT_KEYS = {"version", "tasks", "regimes"}  # a release has one; entries are edited, by example


def leaves(config, prefix=""):
    """Return {dotted key: value} of a config; a list is a value."""
    found = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def another(value):
    """Return a value of the same type that is not the same."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value / 2


def edits():
    """Return {key: {key: new value}} for every key of the demo's config."""
    demo = yaml.safe_load((REPOSITORY / DEMO).read_text(encoding="utf-8"))
    found = {}
    for key, value in leaves(demo).items():
        if key not in NOT_KEYS | set(TOGETHER):
            found[key] = {key: VALUES[key] if key in VALUES else another(value)}
    return found | TOGETHER


def rules_after(folder, changes):
    """Return the set of rules that a dry run lists after an edit of the finished demo's config."""
    with tempfile.TemporaryDirectory() as temporary:
        config = edited_config(Path(temporary) / "edited.yaml", changes, folder / DEMO)
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


def current_table(folder):
    """Return the lines of the table of a checkout whose demo is finished."""
    changes = edits()
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda change: rules_after(folder, change), changes.values())
        found = dict(zip(changes, found, strict=True))
    return table(found, found["study"])  # a study of another name runs every rule


def main():
    """Write the table."""
    page = REPOSITORY / PAGE
    text = page.read_text(encoding="utf-8")
    page.write_text(written(text, current_table(REPOSITORY)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
