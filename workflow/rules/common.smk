# What all rules share (the checked config, the registries, paths).
# Comes in: config. Goes out: STUDY, TASKS, REGIMES, ... and the functions below.
import logging
import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config, validate

from keygenes.core import config as settings
from keygenes.core.claims_file import read_claims
from keygenes.core.code import code_digest
from keygenes.core.datasets import has_symbols_alone
from keygenes.core.defaults import defaults, lay_under
from keygenes.core.errors import InputError
from keygenes.core.files import check_room, digest_of
from keygenes.core.parts import embeddings_train
from keygenes.core.regimes import (
    counterpart,
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
    return settings.read_yaml(of_workflow(f"workflow/schemas/{name}.schema.yaml"))


def registry(name):
    """Return the merged registry `name` that the config points to."""
    return read_registry(config["registries"][name], schema(name))


try:
    for path in GIVEN_FILES:  # Snakemake has read them, and takes more
        settings.read_yaml(path)
    for part in settings.command_line(GIVEN_ENTRIES):
        update_config(config, part)
    lay_under(config, defaults(schema("config")))
    settings.check(config, schema("config"), "config key")
    settings.check_relations(config)
    DATASETS = registry("datasets")["datasets"]
    MODELS = {"vocabularies": {}, "models": {}, **registry("models")}
    GENE_LISTS = {"gene_sets": {}, "gene_classes": {}, **registry("gene_sets")}
    GENE_SETS, GENE_CLASSES = GENE_LISTS["gene_sets"], GENE_LISTS["gene_classes"]
    RESOLVED = resolve(config, DATASETS, MODELS, GENE_SETS, GENE_CLASSES)
    CLAIMS_FILE = config["evidence"]["claims"] and located(config["evidence"]["claims"])
    CLAIMS = read_claims(CLAIMS_FILE, schema("claims"))
    check_version(f"results/{config['study']}")
    check_room(".")  # Snakemake keeps its records here
except InputError as error:
    logging.raiseExceptions = False  # a full disk takes no log: the sentence stays the last word
    raise WorkflowError(str(error)) from None

# Snakemake would set defaults too, and fail at a section that is null.
validate(config, "../schemas/config.schema.yaml", set_default=False)

# Where files come from never changes what they are (they are verified), so the mirror is no
# param: moving it must not rerun a study.
# Sums in another order give other last digits, so threads are fixed here for every library.
THREADS = str(config["compute"]["torch_threads"])
os.environ.update(
    KEYGENES_MIRROR=located(config["mirror"]) if config["mirror"] else "",
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
# Relabelled models share jobs: so many are dealt, trained and looked at by each.
PER_JOB = config["evidence"]["relabellings_per_job"] if RELABELLINGS else 1
PLACES = range(1, PER_JOB + 1)
# What the models depend on; fine-tuning alone has processes and compile.
FINETUNED_WITH = {**config["compute"], "budgets": f"results/{STUDY}/token_budgets"}
COMPUTE = {k: v for k, v in FINETUNED_WITH.items() if k not in ("processes", "compile")}
GPUS = 0 if config["compute"]["device"] == "cpu" else 1
# Priority of the rules on the way to the models of relabelled wells, the longest way through a study:
# started first, it leaves short jobs for the end, when there are cores for all of them.
LONGEST_WAY = 1
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
    batch=r"\d+",
    fold=r"\d+",
    seed=r"\d+",
    shard=r"\d+",
    encoding="|".join(["main", *VARIANTS]),
    dataset="|".join(map(re.escape, DATASETS)),


def dataset_has(*columns):
    """Return whether the study's cells have any of these columns; those of sci-Plex have all."""
    entries = [DATASETS[name] for name in MEMBERS]
    return any(
        entry["layout"] in ("kaggle", "geo")
        or (entry["layout"] == "scperturb" and "dose_factor" in entry)
        or set(columns) & set(entry.get("columns", {}))
        for entry in entries
    )


def out(path):
    """Return a path in the study's results folder; {wildcards} stay."""
    return f"results/{STUDY}/{path}"


# What the models' dictionaries call which gene: one table, or none where no dictionary is at hand.
GENE_NAMES = [out("inputs/gene_names.parquet")] if RESOLVED["name_files"]["names"] else []


def logfile(rule_and_wildcards):
    """Return a path for a log."""
    return f"results/{STUDY}/logs/{rule_and_wildcards}.log"


def gene_set_table(name):
    """Return the path of the table that says which genes of the study a gene set lists."""
    return out(f"evidence/gene_sets/{name}.parquet")


def base_model(part):
    """Return the path of the pretrained model's 'weights' or 'config'."""
    if config["model"] == "pretrain":
        name = {"weights": "model.safetensors", "config": "config.json"}[part]
        return out(f"models/pretrained/{name}")
    return RESOLVED["model_files"][part]


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
    files = RESOLVED["dataset_files"][wildcards.dataset]
    # A folder is as old as its list of names: what lies in it is looked at as well.
    inside = [p for f in files.values() if os.path.isdir(f) for p in sorted(Path(f).iterdir())]
    files = {**files, "inside": [str(path) for path in inside if path.is_file()]}
    if has_symbols_alone(DATASETS[wildcards.dataset]) and GENE_NAMES:
        return {**files, "gene_names": GENE_NAMES[0]}
    return files


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


# MB in memory per MB of an h5ad of counts: 8 bytes for each value, packed to less than two.
UNPACKED = 5


def memory(base_mb, matrices=0):
    """Return a memory request that grows with each attempt, up to four times what it starts with.

    It starts with a base and so many times the values of the h5ad among the rule's input
    (`benchmarks/scale.py` measures how many). Before these are there it is the base: Snakemake
    asks again when the job is about to start.
    """

    def asked(wildcards, input, attempt):
        stored = [
            path for path in map(str, input) if path.endswith(".h5ad") and os.path.exists(path)
        ]
        values_mb = UNPACKED * sum(map(os.path.getsize, stored)) / 1e6
        return int(base_mb + matrices * values_mb) * min(attempt, 4)

    return asked
