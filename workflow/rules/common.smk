# What all rules share (the checked config, the registries, paths).
# Comes in: config. Goes out: STUDY, TASKS, REGIMES, ... and the functions below.
import logging
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

WORKFLOW = Path(workflow.basedir) / "workflow"
sys.path.insert(0, str(WORKFLOW / "scripts"))

from keygenes.core import config as settings
from keygenes.core.claims_file import read_claims
from keygenes.core.code import code_digest
from keygenes.core.errors import InputError
from keygenes.core.files import check_room, digest_of
from keygenes.core.regimes import (
    counterpart,
    embeddings_train,
    finetune_options,
    tasks_of,
    trained_patterns,
)
from keygenes.core.resolve import read_registry, resolve
from keygenes.core.runs import RUN_PATTERN, Run, run_named
from keygenes.core.tasks import cell_tasks, gene_tasks
from keygenes.core.version import check_version


def schema(name):
    """Return one of the schemas beside the rules."""
    return settings.read_yaml(WORKFLOW / f"schemas/{name}.schema.yaml")


def registry(name):
    """Return the merged registry `name` that the config points to."""
    return read_registry(config["registries"][name], schema(name))


try:
    for path in workflow.overwrite_configfiles:  # Snakemake has read them, and takes more
        settings.read_yaml(path)
    settings.check(config, schema("config"), "config key")
    settings.check_relations(config)
    DATASETS = registry("datasets")["datasets"]
    MODELS = {"vocabularies": {}, "models": {}, **registry("models")}
    GENE_LISTS = {"gene_sets": {}, "gene_classes": {}, **registry("gene_sets")}
    GENE_SETS, GENE_CLASSES = GENE_LISTS["gene_sets"], GENE_LISTS["gene_classes"]
    RESOLVED = resolve(config, DATASETS, MODELS, GENE_SETS, GENE_CLASSES)
    CLAIMS = read_claims(config["evidence"]["claims"], schema("claims"))
    check_version(f"results/{config['study']}")
    check_room(".")  # Snakemake keeps its records here
except InputError as error:
    logging.raiseExceptions = False  # a full disk takes no log: the sentence stays the last word
    raise WorkflowError(str(error)) from None

validate(config, str(WORKFLOW / "schemas" / "config.schema.yaml"))

# Where files come from never changes what they are (they are verified), so the mirror is no
# param: moving it must not rerun a study.
# Sums in another order give other last digits, so threads are fixed here for every library.
THREADS = str(config["compute"]["torch_threads"])
os.environ.update(
    KEYGENES_MIRROR=config["mirror"] or "",
    OMP_NUM_THREADS=THREADS,
    OPENBLAS_NUM_THREADS=THREADS,
    MKL_NUM_THREADS=THREADS,
    NUMBA_NUM_THREADS="1",
    PYTHONHASHSEED="0",
)

STUDY = config["study"]
CELL_TASKS = cell_tasks(config)
TASKS = [task["name"] for task in CELL_TASKS]  # of cells; those of genes are kept apart
GENE_TASKS = {task["name"]: task["gene_classes"] for task in gene_tasks(config)}
GENE_MODELS = ["pretrained", "random_encoder", "shuffled_labels", "logistic"]  # and its controls
FOLDS, SEEDS = config["folds"], config["seeds"]
REGIMES = {regime["name"]: regime for regime in config["regimes"]}
LOGISTIC = [name for name, regime in REGIMES.items() if regime.get("method") == "logistic"]
BROUGHT = RESOLVED["finetuned"]  # classifiers fine-tuned elsewhere
FINETUNED = [name for name in REGIMES if name not in [*LOGISTIC, *BROUGHT]]
CACHE = config["finetune"]["cache"]
TRAINED = {name: trained_patterns(REGIMES[name]) for name in FINETUNED}
# Regimes whose frozen layers need computing only once, and of these the ones that share the result:
# random weights are another model's with every seed. What frozen layers depend on besides the
# pretrained weights; the digest names their file.
STILL = [name for name in FINETUNED if CACHE and not embeddings_train(TRAINED[name])]
TRUNKS = {
    name: {
        "patterns": TRAINED[name],
        "pooling": finetune_options(config["finetune"], REGIMES[name])["pooling"],
        "tokens": REGIMES[name].get("tokens", "main"),
    }
    for name in STILL
    if "encoder" not in REGIMES[name]
}
TRUNK_OF = {name: digest_of(trunk)[:12] for name, trunk in TRUNKS.items()}
TRUNK_BY_DIGEST = {TRUNK_OF[name]: trunk for name, trunk in TRUNKS.items()}
VARIANTS = config["tokens"]["variants"]  # further encodings of the cells; the first is 'main'
PAIRS = [tuple(pair) for pair in config["attention"]["pairs"]]
# Whose attention is looked at. A split by cell leaves other test cells, which no one is compared on.
ATTENDED = [name for name in [*FINETUNED, *BROUGHT] if "split" not in REGIMES[name]]
ATTENDED += ["pretrained"] if any("pretrained" in pair for pair in PAIRS) else []
# Whose predictions are attributed to genes.
ATTRIBUTED = [name for name in [*FINETUNED, *BROUGHT] if name in config["evidence"]["regimes"]]
# The confirmatory test, and which of its regime's models learn from classes dealt anew.
PRIMARY = config["evidence"]["primary"]
PRIMARY = PRIMARY if PRIMARY and PRIMARY["gene_set"] else None  # no gene set, no verdict on genes
PRIMARY_TASK = PRIMARY["task"] if PRIMARY else "none"
RELABELLINGS = (
    range(1, config["evidence"]["permutations"] + 1)
    if PRIMARY and PRIMARY["regime"] in FINETUNED
    else range(0)
)
# What the models depend on; fine-tuning alone has processes and compile.
COMPUTE = {k: v for k, v in config["compute"].items() if k not in ("processes", "compile")}
GPUS = 0 if config["compute"]["device"] == "cpu" else 1
COMBINED = RESOLVED["combined"]
MEMBERS = COMBINED.get(config["dataset"], [config["dataset"]])
SIMULATED = next(  # what is simulated, if anything
    (DATASETS[name]["simulated"] for name in MEMBERS if DATASETS[name].get("simulated")), False
)
DOWNLOADS = RESOLVED["downloads"]
# Of runs on dealt labels, less is kept.
LABELS_AS_THEY_ARE, DEALT_LABELS = rf"(?!relabelled){RUN_PATTERN}", rf"(?=relabelled){RUN_PATTERN}"


wildcard_constraints:
    task="|".join(TASKS),
    regime="|".join([*REGIMES, "pretrained"]),
    encoder="|".join(GENE_MODELS),
    run=RUN_PATTERN,
    relabelling=r"\d+",
    fold=r"\d+",
    seed=r"\d+",
    shard=r"\d+",
    encoding="|".join(["main", *VARIANTS]),
    dataset="|".join(map(re.escape, DATASETS)),


def out(path):
    """Return a path in the study's results folder; {wildcards} stay."""
    return f"results/{STUDY}/{path}"


def logfile(rule_and_wildcards):
    """Return a path for a log."""
    return f"results/{STUDY}/logs/{rule_and_wildcards}.log"


def regimes_of(task):
    """Return the names of a task's regimes."""
    return [name for name, regime in REGIMES.items() if task in tasks_of(regime, config)]


def of_task(regimes, task):
    """Return those of some regimes that a task has; every task has 'pretrained'."""
    if task in GENE_TASKS:  # these have models of their own
        return list(regimes)
    return [name for name in regimes if name in [*regimes_of(task), "pretrained"]]


def runs_of(regime):
    """Return the runs of a regime: every fold with every seed, or with one where nothing trains."""
    seeds = SEEDS if regime in FINETUNED else SEEDS[:1]
    return [Run(fold, seed) for fold in FOLDS for seed in seeds]


def run_for(regime, run):
    """Return a regime's own run beside that of another one: its fold, and a seed that it has."""
    run = run_named(run) if isinstance(run, str) else run
    return run if run in runs_of(regime) else run._replace(seed=SEEDS[0])


def run_file(kind, task, regime, run, name):
    """Return the path of one file of a run."""
    run = run if isinstance(run, str) else run.name
    return out(f"{kind}/{task}/{regime}/{run}/{name}")


def run_files(kind, name, regimes):
    """Return the paths of one file for every regime and run of the job's task."""
    return lambda wildcards: [
        run_file(kind, wildcards.task, regime, run, name)
        for regime in of_task(regimes, wildcards.task)
        for run in runs_of(regime)
    ]


def runs(regimes, task):
    """Return [regime, fold, seed] in the order of `run_files`."""
    return [
        [regime, run.fold, run.seed] for regime in of_task(regimes, task) for run in runs_of(regime)
    ]


def primary_runs():
    """Return every run of the primary regime: on the labels as they are, then on dealt ones."""
    dealt = [Run(fold, SEEDS[0], b) for b in RELABELLINGS for fold in FOLDS]
    return [*runs_of(PRIMARY["regime"]), *dealt] if PRIMARY else []


def primary_files(kind, name, regimes=None):
    """Return the paths of one file of every run of the primary regime.

    With `regimes`, only where it is one of them.
    """
    if regimes is not None and PRIMARY and PRIMARY["regime"] not in regimes:
        return []
    return [run_file(kind, PRIMARY_TASK, PRIMARY["regime"], run, name) for run in primary_runs()]


def encoded(encoding):
    """Return the path of the cells' tokens in the 'main' encoding or a variant."""
    return out("tokens.parquet" if encoding == "main" else f"tokens/{encoding}.parquet")


def tokens_of(regime):
    """Return the path of the tokens that a regime (or 'pretrained') reads."""
    return encoded(REGIMES.get(regime, {}).get("tokens", "main"))


def relabelling_of(regime, run):
    """Return the relabelling that a run learns from, or 0: the labels as they are."""
    run = run_named(run)
    dealt = "labels" in REGIMES.get(regime, {})
    return run.relabelling or (SEEDS.index(run.seed) + 1 if dealt else 0)


def splits_of(task, regime, run):
    """Return the path of a run's splits: the fold's, those by cell, or those of a relabelling."""
    if relabelling := relabelling_of(regime, run):
        fold = run_named(run).fold
        return out(f"cells/relabelled/{task}/{relabelling}.fold{fold}.splits.parquet")
    folder = "splits_random" if "split" in REGIMES.get(regime, {}) else "splits"
    return out(f"cells/{folder}/fold{run_named(run).fold}.parquet")


def labels_of(task, regime, run):
    """Return the path of what a run is told of the cells: their labels, or dealt ones."""
    if relabelling := relabelling_of(regime, run):
        fold = run_named(run).fold
        return out(f"cells/relabelled/{task}/{relabelling}.fold{fold}.labels.parquet")
    return out("cells/labels.parquet")


def fold_splits(wildcards):
    """Return the path of the splits of a run's fold, whatever its labels."""
    return out(f"cells/splits/fold{run_named(wildcards.run).fold}.parquet")


def pairs_of(task, encoding):
    """Return the pairs of models of a task that read an encoding."""
    return [
        pair
        for pair in PAIRS
        if of_task(pair, task) == list(pair)
        and all(tokens_of(name) == encoded(encoding) for name in pair)
    ]


def compared(task, encoding):
    """Return the models that some pair of a task and encoding names, each once."""
    return list(dict.fromkeys(name for pair in pairs_of(task, encoding) for name in pair))


def corrected_pairs(task):
    """Return the pairs of a task shown before and after correction for length.

    They are the first on the study's tokens, and the first on each variant of equally long cells.
    """
    encodings = ["main", *(name for name, variant in VARIANTS.items() if variant.get("length"))]
    return [pair for encoding in encodings for pair in pairs_of(task, encoding)[:1]]


def run_before(run):
    """Return the run that another one is held against, or None: nothing but chance differs.

    The fold's seed before; where there is one seed, the fold before.
    """
    run = run_named(run) if isinstance(run, str) else run
    key, among = ("seed", SEEDS) if len(SEEDS) > 1 else ("fold", FOLDS)
    at = among.index(getattr(run, key))
    return run._replace(**{key: among[at - 1]}) if at else None


def retrained(wildcards):
    """Return the fine-tuned ones of a job's models that the run before trained too."""
    names = compared(wildcards.task, wildcards.encoding)
    return [name for name in names if name in FINETUNED] if run_before(wildcards.run) else []


def all_runs():
    """Return every fold with every seed."""
    return [Run(fold, seed) for fold in FOLDS for seed in SEEDS]


def comparisons(table):
    """Return an input function: one table of comparisons, of every encoding and run."""

    def paths(wildcards):
        of_task = [name for name in ["main", *VARIANTS] if pairs_of(wildcards.task, name)]
        path = out(f"attention/{wildcards.task}/{table}.{{encoding}}.{{run}}.parquet")
        return expand(path, encoding=of_task, run=[run.name for run in all_runs()])

    return paths


def counterpart_of(regime, task):
    """Return the regime of a task that differs from another one by its tokens alone, or None."""
    other = counterpart(regime, REGIMES, "tokens")
    return other if other in regimes_of(task) else None


def on_variants(task):
    """Return the regimes of a task that read a variant of the tokens, and their counterparts."""
    found = []
    for name in of_task(ATTENDED, task):
        if "tokens" in REGIMES.get(name, {}):
            found += [counterpart_of(name, task), name]
    return [name for name in dict.fromkeys(found) if name]


def pairs_on_variants(task):
    """Return the pairs of models of each variant, with the same pair on the main tokens or None."""
    found = []
    for pair in (pair for variant in VARIANTS for pair in pairs_of(task, variant)):
        main = tuple(counterpart_of(name, task) for name in pair)
        found.append([pair, main if main in PAIRS else None])
    return found


def attended_runs():
    """Return [task, regime, fold, seed] of every model whose attention is looked at."""
    return [[task, *run] for task in TASKS for run in runs(ATTENDED, task)]


def base_model(part):
    """Return the path of the pretrained model's 'weights' or 'config'."""
    if config["model"] == "pretrain":
        name = {"weights": "model.safetensors", "config": "config.json"}[part]
        return out(f"models/pretrained/{name}")
    return RESOLVED["model_files"][part]


def of_classifiers(name):
    """Return the paths of one file of every classifier that transformers reads, of all tasks.

    Logistic regressions are none of these. In the order of `classifier_runs`.
    """
    return [run_file("models", task, regime, run, name) for task, regime, run in classifier_runs()]


def classifier_runs():
    """Return [task, regime, run] of every classifier that transformers reads, as names."""
    return [
        [task, regime, run.name]
        for task in TASKS
        for regime in of_task([*FINETUNED, *BROUGHT], task)
        for run in runs_of(regime)
    ]


def model_of(regime, part, task, run):
    """Return the path of a run's 'weights' or 'config'; 'pretrained' is the base model."""
    if regime == "pretrained":
        return base_model(part)
    name = {"weights": "model.safetensors", "config": "config.json"}[part]
    return run_file("models", task, regime, run, name)


def download_paths(kind):
    """Return a regular expression of the paths under resources/ that this kind of download makes."""
    return (
        "|".join(re.escape(path.removeprefix("resources/")) for path in DOWNLOADS[kind]) or "(?!)"
    )


def download_params(kind):
    """Return what a download depends on: its address and checksums."""
    return lambda wildcards: DOWNLOADS[kind][f"resources/{wildcards.path}"]


def files_of_dataset(wildcards):
    """Return the files that a dataset is read from, by part."""
    if "simulate" in DATASETS[wildcards.dataset]:
        return {"matrix": out(f"inputs/{wildcards.dataset}.simulated.h5ad")}
    return RESOLVED["dataset_files"][wildcards.dataset]


def to_tokenize(counts):
    """Return an input function: the matrix of cells to encode, and the dictionaries."""
    mapping = {k: v for k, v in RESOLVED["vocabulary_files"].items() if k == "mapping"}
    return lambda wildcards: {
        **mapping,
        "counts": counts,
        "vocabulary": out("vocabulary.parquet"),
    }


def cells_or_shards(wildcards):
    """Return what the token table is made from: the cells, or the shards of them."""
    counts, shards = out("cells/counts.h5ad"), range(config["tokens"]["shards"])
    if len(shards) == 1:
        return to_tokenize(counts)(wildcards)
    return {
        "counts": counts,
        "shards": expand(out("tokens/shards/{shard}.parquet"), shard=shards),
        "shard_reports": expand(out("tokens/shards/{shard}.report.parquet"), shard=shards),
    }


def memory(base_mb):
    """Return a memory request that grows with each attempt, up to four times the base."""
    return lambda wildcards, attempt: base_mb * min(attempt, 4)
