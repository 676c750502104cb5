"""One edit, and exactly what it concerns is computed again."""

import os
from contextlib import contextmanager
from fnmatch import fnmatchcase

import pytest
from gene_study import RULES as OF_GENES
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

DEMO = "config/demo_thesis.yaml"
PAGE_ONLY = {"write_report"}
REPORT = PAGE_ONLY | {"record_provenance", "write_scored_cells"}
# Who reads what a rule makes; the record and the page read nearly everything: they always follow,
# and the exported cells, which hold the record.
READERS = {
    # the planted truth
    "simulate_dataset": "read_dataset score_genes score_tracks write_gene_table",
    "read_dataset": "build_vocabulary select_cells tokenize_corpus",
    "build_vocabulary": "classify_genes label_genes pretrain rank_genes rank_genes_by_half "
    "rank_genes_by_well tokenize_cells tokenize_corpus tokenize_variant write_model_cards",
    "select_cells": "embed_cells label_cells screen_doses tokenize_cells tokenize_variant",
    "label_cells": "relabel_cells plot_umap rank_genes rank_genes_by_half rank_genes_by_well "
    "split_cells",
    "embed_cells": "plot_umap",
    "screen_doses": "plot_dose_screen",
    "split_cells": "collect_splits finetune fit_baselines fit_probe relabel_cells",
    "relabel_cells": "finetune",
    "collect_splits": "compare_inputs evaluate remove_genes write_model_cards",
    "tokenize_corpus": "pretrain",
    "tokenize_cells": "cache_trunk classify_genes finetune fit_baselines fit_probe label_genes "
    "score_tracks",
    "tokenize_variant": "cache_trunk finetune",
    "pretrain": "cache_trunk classify_genes finetune fit_probe",
    "label_genes": "classify_genes",
    "classify_genes": "score_gene_classes",
    "score_gene_classes": "plot_gene_classes",
    "cache_trunk": "finetune",
    "finetune": "attribute_genes compare_attention evaluate extract_attention plot_training "
    "test_primary write_model_cards",
    "fit_probe": "evaluate",
    "fit_baselines": "evaluate score_genes",
    "evaluate": "judge_claims plot_predictions score_tracks test_primary write_model_cards",
    "extract_attention": "attribute_genes compare_attention compare_inputs profile_genes "
    "score_genes score_relabelled",
    "compare_attention": "collect_comparisons",
    "collect_comparisons": "judge_claims plot_attention plot_inputs compare_inputs",
    "compare_inputs": "judge_claims plot_inputs",
    "attribute_genes": "collect_attribution score_genes score_relabelled",
    "collect_attribution": "plot_faithfulness score_tracks",
    "rank_genes": "attribute_genes score_genes write_gene_table",
    "rank_genes_by_well": "score_genes",
    "rank_genes_by_half": "score_tracks",
    "score_genes": "judge_claims plot_attention plot_genes remove_genes score_tracks "
    "test_primary write_gene_table",
    "score_relabelled": "score_genes test_primary",
    "test_primary": "plot_primary score_tracks",
    "score_tracks": "judge_claims plot_scorecard",
    "remove_genes": "plot_roar",
    "judge_claims": "plot_claims",
}
# The table is of the thesis with a task of genes; the thesis has none, so it lacks OF_GENES.


def after(*rules):
    """Return rules and all that follows from them."""
    found, new = set(REPORT), set(rules)
    while new:
        found |= new
        new = {reader for rule in new for reader in READERS.get(rule, "").split()} - found
    return found


# What is made of the regimes 'full' and 'permuted_labels' alone, which have no frozen layers and
# read the encoding of the cells as they are.
OF_FULL = {"attribute_genes", "collect_attribution", "plot_faithfulness", "profile_genes"}
AFTER_VARIANTS = after("tokenize_variant") - OF_FULL
AFTER_TOKENS = after("tokenize_cells", "tokenize_variant")
PLOTS = {
    *("plot_umap", "plot_dose_screen", "plot_training", "plot_predictions"),
    *("plot_attention", "plot_genes", "plot_inputs", "plot_faithfulness", "plot_scorecard"),
    *("plot_roar", "plot_claims", "plot_gene_classes", "plot_primary"),
}


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


KEYS = {
    "mirror": REPORT,  # both show the config; nothing is computed
    "expression.umap.min_dist": after("embed_cells"),
    "expression.pseudocount": after("rank_genes", "rank_genes_by_half", "screen_doses"),
    "expression.fdr": after("screen_doses", "plot_genes"),
    "evidence.marker": {"plot_attention"} | REPORT,
    "evidence.n_key_genes": after("score_genes", "compare_inputs"),
    "evidence.n_bootstrap": after("score_tracks"),
    "evidence.n_null_draws": after("score_tracks", "test_primary"),
    "evidence.min_effect": after("test_primary"),
    "evidence.permutations": after("score_relabelled")
    | {"finetune", "extract_relabelled", "attribute_relabelled"},
    "evidence.attribution.costly_cells": after("attribute_genes"),
    "evidence.faithfulness.n_random": after("attribute_genes"),
    "tokens.variants.equal_length.length.subsample": AFTER_VARIANTS,
    "tokens.seed": AFTER_VARIANTS | after("fit_baselines"),  # nothing else is drawn
    "tokens.depth": AFTER_TOKENS,
    "attention.max_cells": after("extract_attention"),
    "finetune.learning_rate": after("finetune"),
    "finetune.cache.dtype": after("cache_trunk") - OF_FULL,
    "compute.processes": after("finetune"),
    "pretrain.seed": after("pretrain"),
    "tokens.max_length": AFTER_TOKENS | after("tokenize_corpus"),
    "tokens.upstream": AFTER_TOKENS | after("tokenize_corpus"),
    "select.min_counts": after("select_cells"),
    # The labels are one table: a class of one task concerns every task.
    "tasks.level.classes": after("label_cells"),
    "image": REPORT,  # where rules run, not what they do
    "gene_classification.epochs": after("classify_genes"),
    "gene_classification.n_bootstrap": after("score_gene_classes"),
    "tasks.common.gene_classes": after("label_genes"),
    "regimes.full.epochs": after("finetune"),
    "regimes.full.preset": after("finetune"),
    "tokens.variants.equal_length.order": AFTER_VARIANTS,
}


@pytest.fixture(scope="module")
def page():
    return (REPOSITORY / PAGE).read_text(encoding="utf-8")


def often(cases, names):
    """Return parameters of a test; a dry run takes seconds, so most are left to make test-slow."""
    slow = [[] if name in names else [pytest.mark.slow] for name in cases]
    return [
        pytest.param(name, cases[name], id=name, marks=marks)
        for name, marks in zip(cases, slow, strict=True)
    ]


OFTEN = {
    *("mirror", "expression.umap.min_dist", "evidence.n_key_genes", "tokens.seed"),
    *("attention.max_cells", "finetune.cache.dtype", "select.min_counts", "tasks.level.classes"),
}


OF_COMMON = "tasks.common."  # the task of genes, which the thesis does not have
IN_DEMO = {key: rules for key, rules in KEYS.items() if not key.startswith(OF_COMMON)}


@pytest.mark.parametrize(("key", "expected"), often(IN_DEMO, OFTEN))
def test_edited_key(thesis, key, expected):
    config = thesis / DEMO
    assert rules_after(thesis, config, edits(config)[key]) == expected - OF_GENES


@pytest.mark.parametrize(("key", "expected"), KEYS.items(), ids=list(KEYS))
def test_edited_key_in_the_table(page, key, expected):
    assert documented(page)[key] == described(expected, EVERYTHING)


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


@pytest.mark.slow
def test_the_table_of_reruns_is_what_dry_runs_say(gene_study, page):
    told = page.split(MARKS[0])[1].split(MARKS[1])[0]
    assert "".join(current_table(gene_study)).strip() == told.strip()


def test_edited_regime_reruns_that_regime_only(thesis, tmp_path):
    full = {"name": "full", "train": ["*"], "learning_rate": 2.0e-3}
    config = edited_config(tmp_path / "edited.yaml", {"regimes.2": full}, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    assert rules_of(jobs) == after("finetune")
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


def test_another_choice_of_layers_has_states_of_its_own(thesis, tmp_path):
    last = ["bert.encoder.layer.4.*", "bert.encoder.layer.{last}.*", "classifier.*"]
    regime = {"name": "last_layer", "train": last}
    config = edited_config(tmp_path / "edited.yaml", {"regimes.1": regime}, thesis / DEMO)
    jobs = dry_run(thesis, "--configfile", config)
    assert rules_of(jobs) == after("cache_trunk") - OF_FULL
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


EVERYTHING = after("simulate_dataset")
FILES = {
    "workflow/scripts/keygenes/core/errors.py": EVERYTHING,
    "workflow/scripts/keygenes/inputs/genes.py": EVERYTHING,
    "workflow/scripts/keygenes/cells/split.py": after("split_cells"),
    "workflow/scripts/keygenes/expression/umap.py": after("embed_cells"),
    "workflow/scripts/keygenes/expression/pseudobulk.py": after("rank_genes_by_well"),
    "workflow/scripts/keygenes/tokens/encode.py": AFTER_TOKENS | after("tokenize_corpus"),
    "workflow/scripts/keygenes/models/train.py": after("pretrain"),
    "workflow/scripts/keygenes/models/trunk.py": after("cache_trunk"),
    "workflow/scripts/keygenes/models/probe.py": after("fit_probe"),
    "workflow/scripts/keygenes/evidence/input_length.py": after("compare_inputs"),
    "workflow/scripts/keygenes/evidence/randomisation.py": after("attribute_genes"),
    "workflow/scripts/keygenes/evidence/claim_tests.py": after("judge_claims"),
    "workflow/scripts/keygenes/report/figures_inputs.py": {"plot_inputs"} | REPORT,
    "workflow/scripts/keygenes/attention/stream.py": after("extract_attention"),
    "workflow/scripts/keygenes/evidence/score.py": after("score_genes", "score_relabelled"),
    "workflow/scripts/keygenes/report/figures_rank_shift.py": {"plot_attention"} | REPORT,
    "workflow/scripts/keygenes/report/style.py": PLOTS | REPORT,
    "workflow/scripts/keygenes/report/page.py": REPORT,
    "workflow/scripts/evaluate.py": after("evaluate"),  # a script: Snakemake's own watch
    "workflow/report/forest.rst": PAGE_ONLY,
    "workflow/scripts/keygenes/report/model_card.md": {"write_model_cards"},
    "config/claims.yaml": after("judge_claims"),
    "resources/gene_sets/p53_textbook.tsv": after("score_genes"),
}


EDITED_OFTEN = {
    *("workflow/scripts/keygenes/core/errors.py", "workflow/scripts/keygenes/cells/split.py"),
    *("workflow/scripts/keygenes/report/style.py", "workflow/scripts/evaluate.py"),
    *("workflow/report/forest.rst", "resources/gene_sets/p53_textbook.tsv"),
}


@pytest.mark.parametrize(("path", "expected"), often(FILES, EDITED_OFTEN))
def test_edited_file(thesis, path, expected):
    with appended(thesis / path, b"\n# edited\n"):
        assert rules_of(dry_run(thesis, "--configfile", DEMO)) == expected - OF_GENES
