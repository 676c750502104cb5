"""What is run, for every config and target; and that every rule is complete."""

import re
import textwrap
from collections import Counter

import pytest
import yaml
from running import (
    REPOSITORY,
    copy_checkout,
    dry_run,
    edited_config,
    inputs_of,
    run_snakemake,
    slurm_jobs,
    whole_config,
)

from keygenes.core.figures import FIGURES, SHEETS, STUDY

SHEET_RULES = {sheet.name: sheet for sheet in SHEETS}
RULE_FILES = sorted((REPOSITORY / "workflow/rules").glob("*.smk"))
SCRIPTS = REPOSITORY / "workflow/scripts"

PRESETS = {"study": None, "laptop": "config/laptop.yaml", "demo": "config/demo.yaml"}
THESIS = "config/demo_thesis.yaml"


def trainings(config):
    """Return every (task, regime, run) that a config trains on the labels as they are."""
    tuned = [r for r in config["regimes"] if not {"method", "finetuned"} & set(r)]
    runs = [f"fold{fold}.seed{seed}" for fold in config["folds"] for seed in config["seeds"]]
    every = [task["name"] for task in config["tasks"] if task.get("type") != "gene"]
    of_tasks = {r["name"]: r.get("tasks", every) for r in tuned}
    return {(t, r, run) for r, tasks in of_tasks.items() for t in tasks for run in runs}


@pytest.mark.parametrize("path", PRESETS.values(), ids=PRESETS)
def test_a_config_trains_each_model_once_and_nothing_else(checkout, path):
    config = whole_config(*([path] if path else []))
    jobs = dry_run(checkout, *(["--configfile", path] if path else []))
    of_rule = Counter(rule for rule, _ in jobs)
    trained = [tuple(w[k] for k in ("task", "regime", "run")) for r, w in jobs if r == "finetune"]
    assert len(trained) == len(set(trained)) and set(trained) == trainings(config)
    batches = config["evidence"]["permutations"] // config["evidence"]["relabellings_per_job"]
    for rule in ("finetune_relabelled", "extract_relabelled", "attribute_relabelled"):
        assert of_rule[rule] == len(config["folds"]) * batches, rule
    attributed = {one for one in trainings(config) if one[1] in config["evidence"]["regimes"]}
    assert of_rule["attribute_genes"] == len(attributed)
    assert of_rule["split_cells"] == len(config["folds"])


@pytest.mark.slow
def test_a_config_that_lacks_keys_has_their_defaults(checkout, tmp_path):
    lacking = copy_checkout(tmp_path / "main")
    (lacking / "config/config.yaml").write_text(
        "study: mine\ndataset: sciplex2_scperturb\nselect: {hash_filter: null}\n"
    )
    args = ("--forceall", "--configfile", "config/demo.yaml")
    found, expected = (sorted(map(str, dry_run(one, *args))) for one in (lacking, checkout))
    assert found == expected and len(found) > 50
    (lacking / "config/config.yaml").write_text("select: {min_genes: 3}\n")
    run = run_snakemake(lacking, "-n")
    assert run.returncode != 0 and "config key 'dataset': found nothing" in run.text


@pytest.mark.parametrize(
    ("target", "wanted", "unwanted"),
    [
        ("check_only", {"select_cells", "check_study"}, {"finetune", "pretrain", "rank_genes"}),
        ("de_only", {"rank_genes", "plot_umap"}, {"finetune", "pretrain", "score_genes"}),
        ("train_only", {"finetune", "evaluate"}, {"extract_attention", "rank_genes"}),
    ],
)
def test_a_smaller_target_runs_what_it_says(checkout, target, wanted, unwanted):
    rules = {rule for rule, _ in dry_run(checkout, target, "--configfile", "config/demo.yaml")}
    assert wanted <= rules and not unwanted & rules


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ngp", "semisynthetic", "dosage"])
def test_studies_on_the_test_data_are_complete(checkout, data_root, name):
    path = f"tests/config/{name}.yaml"
    jobs = dry_run(checkout, "--configfile", path)
    trained = {tuple(w[k] for k in ("task", "regime", "run")) for r, w in jobs if r == "finetune"}
    assert trained == trainings(whole_config(path))
    assert "write_report" in {rule for rule, _ in jobs}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ngp", "dosage"])
def test_cells_without_wells_are_split_one_by_one_once(checkout, data_root, name):
    jobs = dry_run(checkout, "--configfile", f"tests/config/{name}.yaml")
    assert {w["design"] for rule, w in jobs if rule == "fit_baselines"} == {"grouped"}


def test_baselines_see_both_designs_where_there_are_wells(checkout):
    jobs = dry_run(checkout, "--configfile", "config/demo.yaml")
    assert {w["design"] for rule, w in jobs if rule == "fit_baselines"} == {"grouped", "random"}


@pytest.mark.slow
def test_the_gene_task_alone_needs_no_task_of_cells(checkout, data_root):
    jobs = dry_run(checkout, "gene_classes_only", "--configfile", "tests/config/dosage.yaml")
    rules = {rule for rule, _ in jobs}
    assert {"label_genes", "classify_genes", "score_gene_classes", "plot_gene_classes"} <= rules
    assert not {"finetune", "label_cells", "split_cells", "rank_genes"} & rules
    runs = {(w["encoder"], w["seed"]) for rule, w in jobs if rule == "classify_genes"}
    names = ("pretrained", "random_encoder", "shuffled_labels", "logistic")
    assert runs == {(name, seed) for name in names for seed in "123"}


def test_the_target_of_gene_tasks_is_refused_where_there_is_none(checkout):
    run = run_snakemake(checkout, "-n", "gene_classes_only", "--configfile", "config/demo.yaml")
    assert run.returncode != 0
    assert "config key 'tasks': found " in run.text and "'gene'" in run.text


@pytest.mark.slow
def test_shards_of_the_cells_are_encoded_side_by_side(checkout, tmp_path):
    config = edited_config(tmp_path / "sharded.yaml", {"tokens.shards": 3})
    jobs = dry_run(checkout, "--configfile", config)
    shards = [wildcards["shard"] for rule, wildcards in jobs if rule == "tokenize_shard"]
    assert sorted(shards) == ["0", "1", "2"]


@pytest.mark.slow
def test_a_control_reads_what_it_is_named_after(checkout):
    jobs = dry_run(checkout, "--configfile", THESIS)
    tuned = {(w["regime"], w["task"]) for rule, w in jobs if rule == "finetune"}
    controls = {regime for regime, task in tuned if (regime, "dose") not in tuned}
    assert controls == {
        *("permuted_labels", "full_equal_length", "frozen_equal_length", "full_random_split")
    }
    attended = {w["regime"] for rule, w in jobs if rule == "extract_attention"}
    assert attended == {regime for regime, _ in tuned} - {"full_random_split"} | {"pretrained"}
    compared = {(w["task"], w["encoding"]) for rule, w in jobs if rule == "compare_attention"}
    assert compared == {("dose", "main"), ("level", "main"), ("level", "equal_length")}
    inputs = inputs_of(checkout, "--configfile", THESIS)

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

    cells = "results/demo_thesis/cells"
    assert changed("permuted_labels") == {
        *(f"{cells}/relabelled/level/1.fold1/1/{kind}.parquet" for kind in ("labels", "splits"))
    }
    assert changed("full_random_split") == {f"{cells}/splits_random/fold1.parquet"}
    assert changed("full_equal_length") == {"results/demo_thesis/tokens/equal_length.parquet"}
    # Cells are looked at by their own classes, whatever a model was told.
    assert changed("permuted_labels", "extract_attention") == set()
    assert changed("full_equal_length", "extract_attention") == {
        "results/demo_thesis/tokens/equal_length.parquet"
    }
    variant, states = sorted(changed("frozen_equal_length", counterpart="frozen"))[::-1]
    assert variant == "results/demo_thesis/tokens/equal_length.parquet"
    assert states.startswith("results/demo_thesis/models/cache/"), "and states of its own"


@pytest.mark.slow
def test_random_weights_are_no_input(checkout, tmp_path):
    regime = {"name": "random_encoder", "train": ["*"], "encoder": "random"}
    config = edited_config(tmp_path / "random.yaml", {"regimes.3": regime})
    text = yaml.safe_load(config.read_text(encoding="utf-8"))
    text["evidence"]["regimes"] = ["full"]
    config.write_text(yaml.safe_dump(text), encoding="utf-8")
    inputs = inputs_of(checkout, "--configfile", config)
    weights = "results/demo_thesis/models/pretrained/model.safetensors"
    assert weights in inputs["finetune", "level", "full", "fold1.seed1"]
    assert weights not in inputs["finetune", "level", "random_encoder", "fold1.seed1"]
    assert (
        weights.replace("model.safetensors", "config.json")
        in inputs[*("finetune", "level", "random_encoder", "fold1.seed1"),]
    )


def test_figures_and_targets_have_captions():
    captions = {path.stem for path in (REPOSITORY / "workflow/report").glob("*.rst")}
    text = "".join(path.read_text(encoding="utf-8") for path in RULE_FILES)
    named = {*FIGURES, *(figure.table for figure in FIGURES.values() if figure.table)}
    named |= set(re.findall(r'carried\(\s*out\([^)]+\), "(\w+)"', text))
    assert "figure4_cosine" in named
    assert "metrics" in named
    assert named <= captions
    unused = captions - named - {"workflow", "token_report", "wilcoxon", "gene_sets"}  # on the page
    assert not unused


def rule_blocks():
    """Return {rule: (text of its block, rule it is copied from or None)}."""
    blocks = dict.fromkeys(SHEET_RULES, (sheet_block(), None))
    for path in RULE_FILES:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(
            r"^(?:rule (\w+)|use rule (\w+) as (\w+) with):\n((?:    .*\n|\n)+)", text, re.MULTILINE
        ):
            own, base, copy, block = match.groups()
            blocks[own or copy] = (block, base)
    return blocks


def sheet_block():
    """Return the block that is the rule of every sheet of figures."""
    text = (REPOSITORY / "workflow/rules/figures.smk").read_text(encoding="utf-8")
    (block,) = re.findall(r"^    rule:\n((?:        .*\n|\n)+)", text, re.MULTILINE)
    return textwrap.indent(textwrap.dedent(block), "    ")


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
    assert len(names) + len(SHEETS) == len(RULES) >= 25


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_complete(rule):
    block, base = RULES[rule]
    said = base or rule in SHEET_RULES or re.match(r'    """[A-Z].+\."""\n', block)
    assert said, "a sentence says what the rule does"
    found = directives(rule)
    for name in ("output", "params", "log", "threads", "resources", "conda", "script"):
        assert name in found, f"rule {rule} has no {name}"
    for name in ("mem_mb=", "runtime="):
        assert name in found["resources"]
    assert environment_of(rule).is_file()
    assert (SCRIPTS / f"{script_of(rule)}.py").is_file()
    assert f'code=code_digest("{script_of(rule)}"' in found["params"]
    assert "retries" not in found, "downloads retry and resume by themselves"
    if "gpu=" in found["resources"]:
        assert "benchmark" in found, "what may need a GPU is heavy"
    for name in re.findall(
        r"\{(task|regime|run|batch|fold|seed|shard|encoding|dataset|path)\}", found["output"]
    ):
        assert f"{{{name}}}" in found["log"], "two jobs must not share a log"
    # Times are added up by the rule that a file is named for.
    if "benchmark" in found and rule not in SHEET_RULES:
        assert found["benchmark"].strip().startswith(f'out("benchmarks/{rule}.')


@pytest.mark.slow
def test_a_rule_of_a_sheet_writes_its_figures_and_a_log_and_times_of_its_own(checkout):
    run = run_snakemake(checkout, "-n", "--forceall", "--configfile", THESIS)
    assert run.returncode == 0, run.text
    blocks = re.findall(r"^rule (\w+):\n((?:    .+\n)+)", run.text, re.MULTILINE)
    of_sheets = [(SHEET_RULES[rule], block) for rule, block in blocks if rule in SHEET_RULES]
    assert {sheet.name for sheet, _ in of_sheets} == set(SHEET_RULES) - {"plot_gene_classes"}
    for sheet, block in of_sheets:
        task = re.search(r"wildcards: task=(\w+)", block)
        assert bool(task) == (sheet.per != STUDY)
        job = f"{sheet.name}.{task[1]}" if task else sheet.name
        assert f"/logs/{job}.log\n" in block and f"/benchmarks/{job}.tsv\n" in block
        folder = f"/figures/{task[1]}" if task else "/figures"
        named = {f"{folder}/{figure.name}.svg" for figure in sheet.figures}
        assert all(name in block for name in named) and block.count(".svg") == len(named)


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
    alone = set(RULES) - grouped - GPU_RULES - downloads - set(SHEET_RULES)
    assert alone == {"tokenize_shard"}, "figures may share jobs or have their own"
    assert {rule for rule, (block, _) in RULES.items() if "localrule: True\n" in block} == downloads


@pytest.mark.slow
@pytest.mark.parametrize("path", [None, THESIS], ids=["study", "thesis"])
def test_small_rules_share_slurm_jobs_and_models_have_their_own(checkout, path):
    args = ["--configfile", path] if path else []
    jobs = Counter(rule for rule, _ in dry_run(checkout, *args))
    found = slurm_jobs(checkout, *args)
    assert {r: n for r, n in found.items() if r in GPU_RULES} == {
        rule: n for rule, n in jobs.items() if rule in GPU_RULES
    }
    groups = Counter()
    for rule, n in jobs.items():
        groups[SLURM["groups"].get(rule)] += n
    shared = {group: n for group, n in found.items() if group in set(SLURM["groups"].values())}
    assert set(shared) == set(groups) - {None}
    assert sum(shared.values()) < sum(groups[group] for group in shared) / 3


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{"tokens.shards": 3, "attention.shards": 3}])
def test_shards_are_slurm_jobs_of_their_own(checkout, tmp_path, keys):
    config = edited_config(tmp_path / "sharded.yaml", keys)
    found = slurm_jobs(checkout, "--configfile", config)
    attended = Counter(rule for rule, _ in dry_run(checkout, "--configfile", THESIS))[
        "extract_attention"
    ]
    assert found["tokenize_shard"] == 3
    assert found["extract_shard"] == 3 * attended
    assert found["merged"] == -(-attended // SLURM["group-components"]["merged"])


@pytest.mark.slow
@pytest.mark.parametrize(("attempt", "mem_mb"), [(2, 4000), (5, 8000)])
def test_memory_grows_with_the_attempts_up_to_four_times(checkout, attempt, mem_mb):
    args = ["results/demo_thesis/cells/counts.h5ad", "--attempt", attempt]
    run = run_snakemake(checkout, "-n", *args, "--configfile", THESIS)
    assert run.returncode == 0, run.text
    (block,) = re.findall(r"^rule select_cells:\n(?:    .+\n)+", run.text, re.MULTILINE)
    assert f"mem_mb={mem_mb}," in block
    assert SLURM["resources"]["mem_mb"] >= mem_mb, "or the profile would cap it"


def test_every_script_has_a_rule_and_the_name_of_one():
    used = {rule: script_of(rule) for rule in RULES}
    assert set(used.values()) == {path.stem for path in SCRIPTS.glob("*.py")}
    # download_dataset, _model and _gene_set; collect_comparisons and _splits; plot_*
    shared = {"download_file", "collect_tables", "draw_figures"}
    assert set(used.values()) - shared <= set(RULES)
