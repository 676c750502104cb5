# What the rule files share (the checked config, the registries, paths, targets).
# Comes in: config. Goes out: STUDY, TASKS, REGIMES, ... and the functions below.
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

WORKFLOW = Path(workflow.basedir) / "workflow"
sys.path.insert(0, str(WORKFLOW / "scripts"))

from keygenes.core import config as settings
from keygenes.core.code import code_digest
from keygenes.core.errors import InputError


def schema(name):
    """Return one of the schemas beside the rules."""
    return settings.read_yaml(WORKFLOW / f"schemas/{name}.schema.yaml")


def registry(name):
    """Return the merged registry `name` that the config points to."""
    return settings.read_registry(config["registries"][name], schema(name))


try:
    settings.check(config, schema("config"), "config key")
    settings.check_relations(config)
    DATASETS = registry("datasets")["datasets"]
    MODELS = {"vocabularies": {}, "models": {}, **registry("models")}
    GENE_SETS = registry("gene_sets")["gene_sets"]
    RESOLVED = settings.resolve(config, DATASETS, MODELS, GENE_SETS)
except InputError as error:
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
TASKS = [task["name"] for task in config["tasks"]]
SEEDS = config["seeds"]
REGIMES = {regime["name"]: regime for regime in config["regimes"]}
LOGISTIC = [name for name, regime in REGIMES.items() if regime.get("method") == "logistic"]
BROUGHT = RESOLVED["finetuned"]  # classifiers fine-tuned elsewhere
FINETUNED = [name for name in REGIMES if name not in [*LOGISTIC, *BROUGHT]]
PAIRS = config["attention"]["pairs"]
COMPARED = list(dict.fromkeys(name for pair in PAIRS for name in pair))
ATTENDED = list(dict.fromkeys([*FINETUNED, *BROUGHT, *COMPARED]))
GPUS = 0 if config["compute"]["device"] == "cpu" else 1
SIMULATED = RESOLVED["dataset"].get("simulated", False)  # what is simulated, if anything
DOWNLOADS = RESOLVED["downloads"]


wildcard_constraints:
    task="|".join(TASKS),
    regime="|".join([*REGIMES, "pretrained"]),
    seed=r"\d+",
    shard=r"\d+",
    dataset="|".join(map(re.escape, DATASETS)),


def out(path):
    """Return a path in the study's results folder; {wildcards} stay."""
    return f"results/{STUDY}/{path}"


def logfile(rule_and_wildcards):
    """Return a path for a log."""
    return f"results/{STUDY}/logs/{rule_and_wildcards}.log"


def run_files(kind, name, regimes):
    """Return the paths of one file for every regime and seed of the job's task."""

    def paths(wildcards):
        return expand(
            out(f"{kind}/{wildcards.task}/{{regime}}/seed{{seed}}/{name}"),
            regime=regimes,
            seed=getattr(wildcards, "seed", None) or SEEDS,
        )

    return paths


def runs(regimes):
    """Return [regime, seed] in the order of `run_files`."""
    return [[regime, seed] for regime in regimes for seed in SEEDS]


def base_model(part):
    """Return the path of the pretrained model's 'weights' or 'config'."""
    if config["model"] == "pretrain":
        name = {"weights": "model.safetensors", "config": "config.json"}[part]
        return out(f"models/pretrained/{name}")
    return RESOLVED["model_files"][part]


def model_of(regime, part, task, seed):
    """Return the path of a regime's 'weights' or 'config'; 'pretrained' is the base model."""
    if regime == "pretrained":
        return base_model(part)
    name = {"weights": "model.safetensors", "config": "config.json"}[part]
    return out(f"models/{task}/{regime}/seed{seed}/{name}")


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


def figure(name, category):
    """Return the outputs of a figure: an SVG that Snakemake's report carries, and its PNG twin."""
    stem = name.split("/")[-1]
    labels = {"figure": stem}
    if "{task}" in name:
        labels["task"] = "{task}"
    return {
        "svg": report(
            out(f"figures/{name}.svg"),
            caption=f"../report/{stem}.rst",
            category=category,
            labels=labels,
        ),
        "png": out(f"figures/{name}.png"),
    }


def memory(base_mb):
    """Return a memory request that grows with each attempt, up to four times the base."""
    return lambda wildcards, attempt: base_mb * min(attempt, 4)


def figure_names(task):
    """Return the figures of one task."""
    return [
        f"{task}/{name}"
        for name in (
            *(["training_curves"] if FINETUNED else []),
            "figure3_confusion",
            "accuracy",
            "figure4_cosine",
            "figure5_rank_shift",
            "figure6_rank_shift_layers",
            "figure7_attended_vs_de",
            "figure9_norms",
        )
    ]


def dataset_has_doses():
    """Return whether the study's cells carry doses (then they are screened one by one)."""
    entry = RESOLVED["dataset"]
    return entry["layout"] != "h5ad" or "dose_um" in entry.get("columns", {})


SHARED_FIGURES = ["figure1_umap"] + (["dose_screen"] if dataset_has_doses() else [])
FIGURES = SHARED_FIGURES + [name for task in TASKS for name in figure_names(task)]


def all_targets():
    """Return what the default target needs: the page, which needs everything else."""
    return [out("report/index.html"), out("provenance.json")]


def de_targets():
    """Return the study without a model: differential expression and its figures."""
    return [
        out("expression/wilcoxon.parquet"),
        *[out(f"figures/{name}.svg") for name in SHARED_FIGURES],
    ]


def train_targets():
    """Return every model with its predictions and metrics."""
    return [
        *expand(
            out("models/{task}/{regime}/seed{seed}/predictions.parquet"),
            task=TASKS,
            regime=REGIMES,
            seed=SEEDS,
        ),
        *expand(out("models/{task}/metrics.parquet"), task=TASKS),
    ]


def show_summary():
    """Print the study's summary, once there is one."""
    summary = Path(out("report/summary.txt"))
    if summary.exists():
        print(summary.read_text(encoding="utf-8"), file=sys.stderr)


def show_failure(log_path):
    """Say what to do after a failure."""
    print(
        f"The log of the failed job (results/{STUDY}/logs/, for downloads resources/logs/) is above. "
        "After a kill, run `snakemake --unlock` once with the same --configfile; then the same "
        "command again: it resumes from what is finished.",
        file=sys.stderr,
    )
