"""What is run, for every config and target; and that every rule is complete."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from running import (
    REPOSITORY,
    dry_run,
    edited_config,
    inputs_of,
    run_snakemake,
    slurm_jobs,
)

RULE_FILES = sorted((REPOSITORY / "workflow/rules").glob("*.smk"))
SCRIPTS = REPOSITORY / "workflow/scripts"

# Once per study or per task, whatever the regimes and runs.
PER_STUDY = [
    "select_cells",
    "label_cells",
    "collect_splits",
    "embed_cells",
    "rank_genes",
    "rank_genes_by_half",
    "rank_genes_by_well",
    "build_vocabulary",
    "tokenize_cells",
    "plot_umap",
    "judge_claims",
    "plot_claims",
    "record_provenance",
    "write_report",
    "write_scored_cells",
    "write_model_cards",
]
PER_TASK = [
    "evaluate",
    "collect_comparisons",
    "score_genes",
    "plot_training",
    "plot_predictions",
    "plot_attention",
    "plot_genes",
    "collect_attribution",
    "plot_faithfulness",
    "score_tracks",
    "remove_genes",
    "plot_scorecard",
    "plot_roar",
    "profile_genes",
    "write_gene_table",
]
DOSES = {"screen_doses": 1, "plot_dose_screen": 1}
CONTROLS = {"compare_inputs": 1, "plot_inputs": 1}  # of the task 'level' alone
PRIMARY = {"score_relabelled": 1, "test_primary": 1, "plot_primary": 1}


def whole_study(*, tasks=2, **others):
    """Return jobs per rule of a whole study; rules that depend on the config are given."""
    return {**dict.fromkeys(PER_STUDY, 1), **dict.fromkeys(PER_TASK, tasks), **others}


# finetune = (tuned regimes of all tasks x tasks + those of one task) x folds x seeds, and
# relabellings x folds; cache_trunk = choices of frozen layers and tokens; extract_attention looks
# at the pretrained model of each fold too, not at splits by cell; fit_probe has the two logistic
# regimes x folds; fit_baselines is per task, fold and way of splitting; compare_attention is per
# run, task and tokens of a pair; attribute_genes is per regime of evidence.regimes, its tasks, and
# run; what is relabelled: those of the primary test, and those of regimes with permuted labels.
DEMO = whole_study(
    **DOSES,
    simulate_dataset=2,
    read_dataset=2,
    tokenize_corpus=1,
    pretrain=1,
    cache_trunk=3,
    finetune=20,
    attribute_genes=6,
    extract_attention=22,
    fit_baselines=8,
    fit_probe=8,
    split_cells=2,
    compare_attention=6,
    **CONTROLS,
    **PRIMARY,
    relabel_cells=2,
    tokenize_variant=1,
)
DE_ONLY = {  # genes that the dataset does not name have the vocabulary's names
    "simulate_dataset": 2,
    "read_dataset": 2,
    "build_vocabulary": 1,
    "select_cells": 1,
    "label_cells": 1,
    "embed_cells": 1,
    "rank_genes": 1,
    "plot_umap": 1,
    **DOSES,
}
TRAIN_ONLY = {
    "simulate_dataset": 2,
    "read_dataset": 2,
    "build_vocabulary": 1,
    "select_cells": 1,
    "label_cells": 1,
    "split_cells": 2,
    "collect_splits": 1,
    "tokenize_cells": 1,
    "tokenize_corpus": 1,
    "pretrain": 1,
    "tokenize_variant": 1,
    "relabel_cells": 2,
    "cache_trunk": 3,
    "finetune": 20,
    "fit_baselines": 8,
    "fit_probe": 8,
    "evaluate": 2,
}
STUDY = whole_study(
    **DOSES,
    download_dataset=1,
    download_model=5,
    download_gene_set=1,
    read_dataset=1,
    cache_trunk=3,
    finetune=249,
    attribute_genes=36,
    attribute_relabelled=60,
    extract_attention=177,
    extract_relabelled=60,
    fit_baselines=12,
    fit_probe=12,
    split_cells=3,
    compare_attention=27,
    **CONTROLS,
    **PRIMARY,
    relabel_cells=60,
    tokenize_variant=3,
)
LAPTOP = whole_study(
    **DOSES,
    download_dataset=1,
    download_model=5,
    download_gene_set=1,
    read_dataset=1,
    cache_trunk=2,
    finetune=8,
    attribute_genes=3,
    extract_attention=9,
    fit_baselines=4,
    fit_probe=4,
    split_cells=1,
    compare_attention=2,
    **PRIMARY,
    relabel_cells=1,
)
NGP = whole_study(
    tasks=1,
    download_model=3,
    read_dataset=1,
    cache_trunk=1,
    finetune=3,
    attribute_genes=2,
    extract_attention=4,
    fit_baselines=2,
    fit_probe=1,
    split_cells=1,
    compare_attention=1,
    **PRIMARY,
    relabel_cells=1,
)
GENE_TASK = {  # per task of genes; classify_genes: the encoder and three controls x seeds
    "label_genes": 1,
    "classify_genes": 12,
    "score_gene_classes": 1,
    "plot_gene_classes": 1,
}
DOSAGE = whole_study(
    tasks=1,
    download_model=3,
    read_dataset=2,
    combine_datasets=1,
    cache_trunk=1,
    finetune=18,
    attribute_genes=9,
    extract_attention=21,
    fit_baselines=6,
    fit_probe=3,
    split_cells=3,
    compare_attention=9,
    **GENE_TASK,
)
SEMISYNTHETIC = whole_study(
    **DOSES,
    download_model=3,
    read_dataset=1,
    cache_trunk=3,
    finetune=42,
    attribute_genes=9,
    extract_attention=45,
    fit_baselines=12,
    fit_probe=12,
    split_cells=3,
    compare_attention=9,
    **CONTROLS,
    **PRIMARY,
    relabel_cells=3,
    tokenize_variant=3,
)
SEMISYNTHETIC_PRIMARY = whole_study(
    **DOSES,
    tasks=1,
    download_model=3,
    read_dataset=1,
    cache_trunk=1,
    finetune=63,
    attribute_genes=3,
    attribute_relabelled=57,
    extract_attention=9,
    extract_relabelled=57,
    fit_baselines=6,
    fit_probe=3,
    split_cells=3,
    compare_attention=3,
    **PRIMARY,
    relabel_cells=57,
)
for rule in ("judge_claims", "plot_claims"):
    del SEMISYNTHETIC_PRIMARY[rule]


@pytest.mark.parametrize(
    ("target", "config", "expected"),
    [
        ("all", None, STUDY),
        ("all", "config/laptop.yaml", LAPTOP),
        ("all", "config/demo.yaml", DEMO),
        ("de_only", "config/demo.yaml", DE_ONLY),
        ("train_only", "config/demo.yaml", TRAIN_ONLY),
    ],
)
def test_jobs_of_every_config_and_target(checkout, target, config, expected):
    jobs = dry_run(checkout, target, *(["--configfile", config] if config else []))
    assert Counter(rule for rule, _ in jobs) == expected
    runs = [tuple(w[k] for k in ("task", "regime", "run")) for r, w in jobs if r == "finetune"]
    assert len(set(runs)) == len(runs), "each combination of task, regime and run once"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("tests/config/ngp.yaml", NGP),
        ("tests/config/semisynthetic.yaml", SEMISYNTHETIC),
        (
            "tests/config/semisynthetic.yaml tests/config/semisynthetic_primary.yaml",
            SEMISYNTHETIC_PRIMARY,
        ),
        ("tests/config/dosage.yaml", DOSAGE),
    ],
)
def test_jobs_on_the_test_data(checkout, data_root, config, expected):
    jobs = dry_run(checkout, "--configfile", *config.split())
    assert Counter(rule for rule, _ in jobs) == expected


def test_the_gene_task_alone_needs_no_task_of_cells(checkout, data_root):
    jobs = dry_run(checkout, "gene_classes_only", "--configfile", "tests/config/dosage.yaml")
    prepared = {"download_model": 3, "read_dataset": 2}
    once = ("combine_datasets", "select_cells", "build_vocabulary", "tokenize_cells")
    assert Counter(rule for rule, _ in jobs) == {**GENE_TASK, **prepared, **dict.fromkeys(once, 1)}
    runs = {(w["encoder"], w["seed"]) for rule, w in jobs if rule == "classify_genes"}
    names = ("pretrained", "random_encoder", "shuffled_labels", "logistic")
    assert runs == {(name, seed) for name in names for seed in "123"}


def test_the_target_of_gene_tasks_is_refused_where_there_is_none(checkout):
    run = run_snakemake(checkout, "-n", "gene_classes_only", "--configfile", "config/demo.yaml")
    assert run.returncode != 0
    assert "config key 'tasks': found no task of type 'gene', expected one" in run.text


def test_shards_of_the_cells_are_encoded_side_by_side(checkout, tmp_path):
    config = edited_config(tmp_path / "sharded.yaml", {"tokens.shards": 3})
    jobs = dry_run(checkout, "--configfile", config)
    assert Counter(rule for rule, _ in jobs) == {**DEMO, "tokenize_shard": 3}
    shards = [wildcards["shard"] for rule, wildcards in jobs if rule == "tokenize_shard"]
    assert sorted(shards) == ["0", "1", "2"]


def test_a_control_reads_what_it_is_named_after(checkout):
    jobs = dry_run(checkout, "--configfile", "config/demo.yaml")
    tuned = {(w["regime"], w["task"]) for rule, w in jobs if rule == "finetune"}
    controls = {regime for regime, task in tuned if (regime, "dose") not in tuned}
    assert controls == {
        *("permuted_labels", "full_equal_length", "frozen_equal_length", "full_random_split")
    }
    attended = {w["regime"] for rule, w in jobs if rule == "extract_attention"}
    assert attended == {regime for regime, _ in tuned} - {"full_random_split"} | {"pretrained"}
    compared = {(w["task"], w["encoding"]) for rule, w in jobs if rule == "compare_attention"}
    assert compared == {("dose", "main"), ("level", "main"), ("level", "equal_length")}
    inputs = inputs_of(checkout, "--configfile", "config/demo.yaml")

    def changed(regime, rule="finetune", counterpart="full"):
        """Return what a regime's model reads in place of what its counterpart does."""
        of = [
            {
                path.replace(f"/{name}/", "/*/")
                for path in inputs[rule, "level", name, "fold1.seed1"]
            }
            for name in (regime, counterpart)
        ]
        return of[0] - of[1]

    cells = "results/demo/cells"
    assert changed("permuted_labels") == {
        *(f"{cells}/relabelled/level/1.fold1.{kind}.parquet" for kind in ("labels", "splits"))
    }
    assert changed("full_random_split") == {f"{cells}/splits_random/fold1.parquet"}
    assert changed("full_equal_length") == {"results/demo/tokens/equal_length.parquet"}
    # Cells are looked at by their own classes, whatever a model was told.
    assert changed("permuted_labels", "extract_attention") == set()
    assert changed("full_equal_length", "extract_attention") == {
        "results/demo/tokens/equal_length.parquet"
    }
    variant, states = sorted(changed("frozen_equal_length", counterpart="frozen"))[::-1]
    assert variant == "results/demo/tokens/equal_length.parquet"
    assert states.startswith("results/demo/models/cache/"), "and states of its own"


def test_random_weights_are_no_input(checkout, tmp_path):
    regime = {"name": "random_encoder", "train": ["*"], "encoder": "random"}
    config = edited_config(tmp_path / "random.yaml", {"regimes.3": regime})
    text = yaml.safe_load(config.read_text(encoding="utf-8"))
    text["evidence"]["regimes"] = ["full"]
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    inputs = inputs_of(checkout, "--configfile", config)
    weights = "results/demo/models/pretrained/model.safetensors"
    assert weights in inputs["finetune", "level", "full", "fold1.seed1"]
    assert weights not in inputs["finetune", "level", "random_encoder", "fold1.seed1"]
    assert (
        weights.replace("model.safetensors", "config.json")
        in inputs[*("finetune", "level", "random_encoder", "fold1.seed1"),]
    )


def test_figures_and_targets_have_captions():
    captions = {path.stem for path in (REPOSITORY / "workflow/report").glob("*.rst")}
    text = "".join(path.read_text(encoding="utf-8") for path in RULE_FILES)
    named = set(re.findall(r'figure\("(?:\{task\}/)?(\w+)"', text))
    named |= set(re.findall(r'table="(\w+)"', text))
    named |= set(re.findall(r'carried\(\s*out\([^)]+\), "(\w+)"', text))
    assert "figure4_cosine" in named
    assert "metrics" in named
    assert named <= captions
    unused = captions - named - {"workflow", "token_report", "wilcoxon"}  # shown on the page only
    assert not unused


def rule_blocks():
    """Return {rule: (text of its block, rule it is copied from or None)}."""
    blocks = {}
    for path in RULE_FILES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(
            r"^(?:rule (\w+)|use rule (\w+) as (\w+) with):\n((?:    .*\n|\n)+)", text, re.MULTILINE
        ):
            own, base, copy, block = match.groups()
            blocks[own or copy] = (block, base)
    return blocks


RULES = rule_blocks()


def directives(rule):
    """Return {directive: text} of a rule, with what it inherits."""
    block, base = RULES[rule]
    found = directives(base) if base else {}
    for part in re.split(r"^    (?=[a-z_]+:)", block, flags=re.MULTILINE)[1:]:
        name, text = part.split(":", 1)
        found[name] = text
    return found


def script_of(rule):
    return re.search(r"scripts/(\w+)\.py", directives(rule)["script"]).group(1)


def environment_of(rule):
    name = re.search(r'"\.\./\.\./(envs/\w+\.yaml)"', directives(rule)["conda"]).group(1)
    return REPOSITORY / name


def test_every_rule_is_found():
    names = re.findall(r"^(?:use )?rule .*$", "".join(p.read_text() for p in RULE_FILES), re.M)
    assert len(names) == len(RULES) >= 25


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_complete(rule):
    block, base = RULES[rule]
    assert base or re.match(r'    """[A-Z].+\."""\n', block), "a sentence says what the rule does"
    found = directives(rule)
    for name in ("output", "params", "log", "threads", "resources", "conda", "script"):
        assert name in found, f"rule {rule} has no {name}"
    for name in ("mem_mb=", "runtime="):
        assert name in found["resources"]
    assert environment_of(rule).is_file()
    assert (SCRIPTS / f"{script_of(rule)}.py").is_file()
    assert f'code=code_digest("{script_of(rule)}")' in found["params"]
    assert "retries" not in found, "downloads retry and resume by themselves"
    if "gpu=" in found["resources"]:
        assert "benchmark" in found, "what may need a GPU is heavy"
    for name in re.findall(
        r"\{(task|regime|run|relabelling|fold|seed|shard|encoding|dataset|path)\}", found["output"]
    ):
        assert f"{{{name}}}" in found["log"], "two jobs must not share a log"
    if "benchmark" in found:  # times are added up by the rule that a file is named for
        assert found["benchmark"].strip().startswith(f'out("benchmarks/{rule}.')


GPU_RULES = {rule for rule in RULES if "gpu=" in directives(rule)["resources"]}
SLURM = yaml.safe_load((REPOSITORY / "profiles/slurm/profile.yaml").read_text(encoding="utf-8"))


def test_slurm_profile_knows_every_rule():
    assert {"pretrain", "finetune", "attribute_genes"} <= GPU_RULES
    assert set(SLURM["set-resources"]) == GPU_RULES
    values = list(SLURM["set-resources"].values())
    assert all(value is values[0] for value in values), "said in one place"
    grouped = set(SLURM["groups"])
    assert not grouped & GPU_RULES
    assert grouped <= set(RULES)
    assert set(SLURM["group-components"]) <= set(SLURM["groups"].values())
    downloads = {"download_dataset", "download_model", "download_gene_set"}  # not on a node
    assert set(RULES) - grouped - GPU_RULES - downloads == {"tokenize_shard"}
    inputs = (REPOSITORY / "workflow/rules/inputs.smk").read_text(encoding="utf-8")
    (local,) = re.findall(r"^localrules:\n((?:    \w+,\n)+)", inputs, re.MULTILINE)
    assert set(re.findall(r"\w+", local)) == downloads


# One job each of what is done once per study, two per task, and those of groups of six.
SLURM_GROUPS = {
    **dict.fromkeys(("cells", "tokens", "expression", "accuracy", "report"), 1),
    **dict.fromkeys(("baselines", "probes", "evidence"), 2),
}


@pytest.mark.parametrize(
    ("config", "jobs"), [("config/demo.yaml", DEMO), (None, STUDY)], ids=["demo", "study"]
)
def test_slurm_jobs_of_a_study(checkout, config, jobs):
    alone = {rule: n for rule, n in jobs.items() if rule in GPU_RULES}
    found = slurm_jobs(checkout, *(["--configfile", config] if config else []))
    assert found == {**SLURM_GROUPS, **alone}
    assert sum(found.values()) == {"config/demo.yaml": 69, None: 623}[config]


def test_every_rule_of_a_model_asks_slurm_for_one_gpu_of_any_kind(checkout, tmp_path):
    config = edited_config(tmp_path / "gpu.yaml", {"compute.device": "auto"})
    run = run_snakemake(
        checkout, "-n", "--workflow-profile", "profiles/slurm", "--configfile", config
    )
    assert run.returncode == 0, run.text
    blocks = re.findall(r"^ *rule (\w+):\n((?:    .+\n)+)", run.text, re.MULTILINE)
    asked = {rule: re.search(r"resources: (.+)", block)[1].split(", ") for rule, block in blocks}
    with_gpu = {rule for rule, resources in asked.items() if "gpu=1" in resources}
    assert with_gpu == GPU_RULES & set(asked)
    assert len(with_gpu) >= 6 and set(asked) - with_gpu
    assert not [rule for rule, found in asked.items() if any("gpu_model" in r for r in found)]


@pytest.mark.parametrize("keys", [{"tokens.shards": 3, "attention.shards": 3}])
def test_shards_are_slurm_jobs_of_their_own(checkout, tmp_path, keys):
    config = edited_config(tmp_path / "sharded.yaml", keys)
    found = slurm_jobs(checkout, "--configfile", config)
    attended = DEMO["extract_attention"]
    assert found["tokenize_shard"] == 3
    assert found["extract_shard"] == 3 * attended
    assert found["merged"] == -(-attended // SLURM["group-components"]["merged"])


@pytest.mark.parametrize(("attempt", "mem_mb"), [(2, 16000), (5, 32000)])
def test_memory_grows_with_the_attempts_up_to_four_times(checkout, attempt, mem_mb):
    args = ["results/demo/cells/counts.h5ad", "--attempt", attempt]
    run = run_snakemake(checkout, "-n", *args, "--configfile", "config/demo.yaml")
    assert run.returncode == 0, run.text
    (block,) = re.findall(r"^rule select_cells:\n(?:    .+\n)+", run.text, re.MULTILINE)
    assert f"mem_mb={mem_mb}," in block
    assert SLURM["resources"]["mem_mb"] >= 32000, "or the profile would cap it"


def test_rule_names_are_verb_noun():
    verbs = [
        "adopt",
        "profile",
        "attribute",
        "cache",
        "download",
        "simulate",
        "read",
        "remove",
        "select",
        "label",
        "split",
        "embed",
        "rank",
        "screen",
        "build",
        "tokenize",
        "fit",
        "extract",
        "compare",
        "merge",
        "collect",
        "relabel",
        "test",
        "combine",
        "classify",
        "score",
        "judge",
        "plot",
        "record",
        "write",
    ]
    alone = {"pretrain", "finetune", "evaluate"}
    for rule in RULES:
        assert rule in alone or rule.split("_", 1)[0] in verbs and "_" in rule


def test_every_script_has_a_rule_and_the_name_of_one():
    used = {rule: script_of(rule) for rule in RULES}
    assert set(used.values()) == {path.stem for path in SCRIPTS.glob("*.py")}
    # download_dataset, download_model, download_gene_set; collect_comparisons, collect_splits
    shared = {"download_file", "collect_tables"}
    assert set(used.values()) - shared <= set(RULES)


def test_lint_is_clean(checkout):
    run = run_snakemake(checkout, "--lint")
    assert run.returncode == 0, run.text
    assert "Congratulations" in run.text


def test_format_is_clean():
    files = ["--check", "Snakefile", "workflow/rules"]
    run = subprocess.run(
        [Path(sys.executable).with_name("snakefmt"), *files],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
