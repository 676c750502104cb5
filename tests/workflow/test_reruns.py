"""One edit, and exactly what it concerns is computed again."""

import os
import re
from contextlib import contextmanager
from fnmatch import fnmatchcase

import pytest
from gene_study import RULES as OF_GENES
from gene_study import gene_config
from rerun_table import (
    MARKS,
    PAGE,
    current_table,
    described,
    documented,
    editable_keys,
    edits,
    rules_after,
    schema_keys,
)
from running import REPOSITORY, dry_run, edited_config, run_snakemake

from keygenes.core.figures import SHEETS

DEMO = "config/demo_thesis.yaml"
PAGE_ONLY = {"write_report"}
REPORT = PAGE_ONLY | {"record_provenance", "write_scored_cells"}
# What is made of the regimes 'full' and 'permuted_labels' alone, which have no frozen layers and
# read the encoding of the cells as they are.
OF_FULL = {"attribute_genes", "collect_attribution", "plot_faithfulness", "profile_genes"}
OF_FULL |= {"score_relabelled"}  # of the primary regime
DEALT = {"finetune_relabelled", "extract_relabelled", "attribute_relabelled"}
VARIANTS, TOKENS = ("tokenize_variant",), ("tokenize_cells", "tokenize_variant")


@pytest.fixture(scope="module")
def readers(thesis, tmp_path_factory):
    """Return {rule: rules that read what it makes}, as Snakemake draws it, with a task of genes."""
    config = gene_config(tmp_path_factory.mktemp("graph"))
    run = run_snakemake(thesis, "--rulegraph", "dot", "--forceall", "--configfile", config)
    assert run.returncode == 0, run.text
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', run.text, re.MULTILINE))
    found = {}
    for rule, reader in re.findall(r"^\s*(\d+) -> (\d+)", run.text, re.MULTILINE):
        found.setdefault(names[rule], set()).add(names[reader])
    return found


def after(readers, rules, besides=(), without=()):
    """Return rules, all that follows from them, and `besides`, less `without`.

    The record and the page read nearly everything: they always follow, and the exported cells,
    which hold the record.
    """
    found, new = set(REPORT), set(rules)
    while new:
        found |= new
        new = {reader for rule in new for reader in readers.get(rule, ())} - found - {"all"}
    return found - set(without) | set(besides)


PLOTS = {sheet.name for sheet in SHEETS}


def rules_of(jobs):
    return {rule for rule, _ in jobs}


def test_nothing_is_left_to_do(thesis):
    assert dry_run(thesis, "--configfile", DEMO) == []


SINCE = "report: results/demo_thesis/report/index.html. Changed since, of config and code:"


def test_a_finished_study_says_where_its_report_is(thesis):
    run = run_snakemake(thesis, "-n", "--quiet", "rules", "--configfile", DEMO)
    assert SINCE + " nothing." in run.text


def test_a_dry_run_names_the_edited_key_and_code(thesis, tmp_path):
    config = edited_config(tmp_path / "edited.yaml", {"evidence.n_key_genes": 31}, thesis / DEMO)
    with appended(thesis / "workflow/scripts/keygenes/expression/umap.py", b"\n# edited\n"):
        run = run_snakemake(thesis, "-n", "--configfile", config)
    _, said = run.text.split(SINCE)
    assert said.splitlines()[1:3] == [
        "    config key evidence.n_key_genes: 30 -> 31",
        "    code of embed_cells",
    ]
    assert "Params have changed" in said and "'code of embed_cells: " in said
    # of what stands for all of the config its digest is shown
    assert max(len(line) for line in said.splitlines() if " reason: Params" in line) < 500


# The rules that an edit of a key concerns first (see `after`).
KEYS = {
    "mirror": {"rules": ()},  # page and record show the config; nothing is computed
    "expression.umap.min_dist": {"rules": ("embed_cells",)},
    "expression.pseudocount": {"rules": ("rank_genes", "rank_genes_by_half", "screen_doses")},
    "expression.fdr": {"rules": ("screen_doses", "plot_genes")},
    "evidence.marker": {"rules": ("plot_attention",)},
    "evidence.n_key_genes": {"rules": ("score_genes", "compare_inputs")},
    "evidence.n_bootstrap": {"rules": ("score_tracks",)},
    "evidence.n_null_draws": {"rules": ("score_tracks", "test_primary")},
    "evidence.min_effect": {"rules": ("test_primary",)},
    "evidence.permutations": {"rules": ("score_relabelled", "check_study"), "besides": DEALT},
    "evidence.attribution.costly_cells": {"rules": ("attribute_genes",)},
    "evidence.faithfulness.n_random": {"rules": ("attribute_genes",)},
    "tokens.variants.equal_length.length.subsample": {"rules": VARIANTS, "without": OF_FULL},
    "tokens.seed": {"rules": (*VARIANTS, "fit_baselines"), "without": OF_FULL},
    "tokens.depth": {"rules": TOKENS},
    "attention.max_cells": {"rules": ("extract_attention",)},
    "finetune.learning_rate": {"rules": ("finetune",)},
    "finetune.cache.dtype": {"rules": ("cache_trunk",), "without": OF_FULL},
    "compute.processes": {"rules": ("finetune",)},
    "pretrain.seed": {"rules": ("pretrain",)},
    "tokens.max_length": {"rules": (*TOKENS, "tokenize_corpus")},
    "tokens.upstream": {"rules": (*TOKENS, "tokenize_corpus")},
    "select.min_counts": {"rules": ("select_cells",)},
    # The labels are one table: a class of one task concerns every task.
    "tasks.level.classes": {"rules": ("label_cells",)},
    "image": {"rules": ()},  # where rules run, not what they do
    "gene_classification.epochs": {"rules": ("classify_genes",)},
    "gene_classification.n_bootstrap": {"rules": ("score_gene_classes",)},
    "tasks.common.gene_classes": {"rules": ("label_genes",)},
    "regimes.full.epochs": {"rules": ("finetune",)},
    "regimes.full.preset": {"rules": ("finetune",)},
    "tokens.variants.equal_length.order": {"rules": VARIANTS, "without": OF_FULL},
}


@pytest.fixture(scope="module")
def page():
    return (REPOSITORY / PAGE).read_text(encoding="utf-8")


OF_COMMON = "tasks.common."  # the task of genes, which the thesis does not have
IN_DEMO = {key: rules for key, rules in KEYS.items() if not key.startswith(OF_COMMON)}


@pytest.mark.parametrize(("key", "concerned"), IN_DEMO.items(), ids=list(IN_DEMO))
def test_edited_key(thesis, readers, key, concerned):
    config = thesis / DEMO
    expected = after(readers, **concerned) - OF_GENES
    assert rules_after(thesis, config, edits(config)[key]) == expected


@pytest.mark.parametrize(("key", "concerned"), KEYS.items(), ids=list(KEYS))
def test_edited_key_in_the_table(page, readers, key, concerned):
    everything = after(readers, ["simulate_dataset"])
    assert documented(page)[key] == described(after(readers, **concerned), everything)


def test_the_keys_of_a_schema():
    named = {"additionalProperties": {"properties": {"c": {}, "d": {"items": {"type": "string"}}}}}
    listed = {"items": {"properties": {"e": {"additionalProperties": {"type": "array"}}}}}
    schema = {"properties": {"a": {"type": "integer"}, "b": named, "f": listed}}
    assert schema_keys(schema) == {"a", "b.*.c", "b.*.d", "f.*.e"}


def test_the_table_of_reruns_has_every_key_of_the_schema(page):
    found, keys = documented(page), editable_keys()
    assert {key for key in keys if not any(fnmatchcase(name, key) for name in found)} == set()
    assert {name for name in found if not any(fnmatchcase(name, key) for key in keys)} == set()
    assert set(edits(REPOSITORY / DEMO)) == set(found), "make reruns writes it"


def test_the_table_of_reruns_is_what_dry_runs_say(gene_study, page):
    told = page.split(MARKS[0])[1].split(MARKS[1])[0]
    assert "".join(current_table(gene_study)).strip() == told.strip()


def test_edited_regime_reruns_that_regime_only(thesis, readers, tmp_path):
    full = {"name": "full", "train": ["*"], "learning_rate": 2.0e-3}
    config = edited_config(tmp_path / "edited.yaml", {"regimes.2": full}, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    assert rules_of(jobs) == after(readers, ["finetune"]) - OF_GENES
    runs = {(task, run) for task in ("dose", "level") for run in ("fold1.seed1", "fold2.seed1")}
    for rule in ("finetune", "extract_attention"):
        of_rule = [wildcards for name, wildcards in jobs if name == rule]
        assert {(w["regime"], w["task"], w["run"]) for w in of_rule} == {("full", *r) for r in runs}
        assert len(of_rule) == len(runs)


def test_another_fold_reruns_nothing_of_the_first(thesis, tmp_path):
    config = edited_config(tmp_path / "edited.yaml", {"folds": [1, 2, 3]}, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    assert {w["fold"] for _, w in jobs if "fold" in w} == {"3"}
    of_runs = {w["run"] for rule, w in jobs if rule in ("attribute_genes", "extract_attention")}
    assert of_runs == {"fold3.seed1"}


def test_another_training_seed_reruns_nothing_of_the_first(thesis, tmp_path):
    config = edited_config(tmp_path / "edited.yaml", {"seeds": [1, 2]}, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    assert not {"split_cells", "fit_baselines", "fit_probe"} & rules_of(jobs)
    # Of two models the other seed is now the control, where it was the other fold.
    of_runs = {w["run"] for rule, w in jobs if "run" in w and rule != "compare_attention"}
    assert of_runs == {"fold1.seed2", "fold2.seed2"}


def test_a_variant_concerns_the_regimes_that_read_it(thesis, tmp_path):
    change = {"tokens.variants.equal_length.length": {"subsample": 120}}
    config = edited_config(tmp_path / "edited.yaml", change, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    for rule in ("finetune", "extract_attention"):
        assert {w["regime"] for name, w in jobs if name == rule} == {
            *("full_equal_length", "frozen_equal_length")
        }
    assert {w["encoding"] for rule, w in jobs if rule == "compare_attention"} == {"equal_length"}


def test_another_choice_of_layers_has_states_of_its_own(thesis, readers, tmp_path):
    last = ["bert.encoder.layer.4.*", "bert.encoder.layer.{last}.*", "classifier.*"]
    regime = {"name": "last_layer", "train": last}
    config = edited_config(tmp_path / "edited.yaml", {"regimes.1": regime}, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    assert rules_of(jobs) == after(readers, ["cache_trunk"], without=OF_FULL) - OF_GENES
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


# The rules that an edit of a file concerns first; a set: those alone.
FILES = {
    "workflow/scripts/keygenes/core/errors.py": ["simulate_dataset"],
    "workflow/scripts/keygenes/inputs/genes.py": ["simulate_dataset"],
    "workflow/scripts/keygenes/cells/split.py": ["split_cells"],
    "workflow/scripts/keygenes/expression/umap.py": ["embed_cells"],
    "workflow/scripts/keygenes/expression/pseudobulk.py": ["rank_genes_by_well"],
    "workflow/scripts/keygenes/tokens/encode.py": [*TOKENS, "tokenize_corpus"],
    "workflow/scripts/keygenes/models/train.py": ["pretrain"],
    "workflow/scripts/keygenes/models/trunk.py": ["cache_trunk"],
    "workflow/scripts/keygenes/models/probe.py": ["fit_probe"],
    "workflow/scripts/keygenes/evidence/input_length.py": ["compare_inputs"],
    "workflow/scripts/keygenes/evidence/randomisation.py": ["attribute_genes"],
    "workflow/scripts/keygenes/evidence/claim_tests.py": ["judge_claims"],
    "workflow/scripts/keygenes/report/figures_inputs.py": ["plot_inputs"],
    "workflow/scripts/keygenes/report/figures_models.py": ["plot_training", "plot_predictions"],
    "workflow/scripts/keygenes/attention/stream.py": ["extract_attention"],
    "workflow/scripts/keygenes/evidence/score.py": ["score_genes", "score_relabelled"],
    "workflow/scripts/keygenes/report/figures_rank_shift.py": ["plot_attention"],
    "workflow/scripts/keygenes/report/style.py": [*PLOTS],
    "workflow/scripts/keygenes/report/page.py": [],
    "workflow/scripts/keygenes/core/figures.py": [],  # what the page says of them, at most
    "workflow/scripts/draw_figures.py": [*PLOTS],
    "workflow/scripts/evaluate.py": ["evaluate"],  # a script: Snakemake's own watch
    "workflow/report/forest.rst": PAGE_ONLY,
    "workflow/scripts/keygenes/report/model_card.md": {"write_model_cards"},
    "config/claims.yaml": ["judge_claims"],
    "resources/gene_sets/p53_textbook.tsv": ["match_gene_set"],
}


@pytest.mark.parametrize(("path", "concerned"), FILES.items(), ids=list(FILES))
def test_edited_file(thesis, readers, path, concerned):
    alone = isinstance(concerned, set)
    expected = concerned if alone else after(readers, concerned) - OF_GENES
    with appended(thesis / path, b"\n# edited\n"):
        assert rules_of(dry_run(thesis, "--configfile", DEMO)) == expected
