# What all rules share: the checked config, what it comes to, and how rules name files.
# Comes in: config. Goes out: STUDY (a core.study.Study), FILES (a core.study_files.StudyFiles),
# RESOLVED (where inputs lie), CLAIMS (path of the claims file, or None), RESULTS, and the names below.
import logging
import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config, validate

from keygenes.core import config as settings
from keygenes.core.code import code_digest
from keygenes.core.defaults import defaults, lay_under
from keygenes.core.errors import InputError
from keygenes.core.files import check_room, digest_of
from keygenes.core.memory import memory
from keygenes.core.read_study import read_study
from keygenes.core.runs import RUN_PATTERN, Run, run_named
from keygenes.core.study import GENE_MODELS
from keygenes.core.version import check_version


def schema(name):
    """Return one of the schemas beside the rules."""
    return settings.read_yaml(of_workflow(f"workflow/schemas/{name}.schema.yaml"))


try:
    for path in GIVEN_FILES:  # Snakemake has read them, and takes more
        settings.read_yaml(path)
    for part in settings.command_line(GIVEN_ENTRIES):
        update_config(config, part)
    lay_under(config, defaults(schema("config")))
    STUDY, FILES, RESOLVED, CLAIMS = read_study(config, schema)
    RESULTS = f"results/{STUDY.name}"
    check_version(RESULTS)
    check_room(".")  # Snakemake keeps its records here
except InputError as error:
    logging.raiseExceptions = False  # a full disk takes no log: the sentence stays the last word
    raise WorkflowError(str(error)) from None

# Snakemake would set defaults too, and fail at a section that is null.
validate(config, "../schemas/config.schema.yaml", set_default=False)

# Where files come from never changes what they are (they are verified), so the mirror is no
# param: moving it must not rerun a study.
# Sums in another order give other last digits, so threads are fixed here for every library.
THREADS = str(STUDY.compute["torch_threads"])
os.environ.update(
    KEYGENES_MIRROR=located(config["mirror"]) if config["mirror"] else "",
    OMP_NUM_THREADS=THREADS,
    OPENBLAS_NUM_THREADS=THREADS,
    MKL_NUM_THREADS=THREADS,
    NUMBA_NUM_THREADS="1",
    PYTHONHASHSEED="0",
)

# What the models depend on; fine-tuning alone has processes and compile.
FINETUNED_WITH = {**STUDY.compute, "budgets": f"{RESULTS}/token_budgets"}
COMPUTE = {k: v for k, v in FINETUNED_WITH.items() if k not in ("processes", "compile")}
GPUS = 0 if STUDY.compute["device"] == "cpu" else 1
# Priority of the rules on the way to the models of relabelled wells, the longest way through a study:
# started first, it leaves short jobs for the end, when there are cores for all of them.
LONGEST_WAY = 1
# Of runs on dealt labels, less is kept.
LABELS_AS_THEY_ARE, DEALT_LABELS = rf"(?!relabelled){RUN_PATTERN}", rf"(?=relabelled){RUN_PATTERN}"
# What the models' dictionaries call which gene: one table, or none where no dictionary is at hand.
GENE_NAMES = [FILES.out("inputs/gene_names.parquet")] if RESOLVED["name_files"]["names"] else []

out = FILES.out


def logfile(rule_and_wildcards):
    """Return a path for a log."""
    return f"{RESULTS}/logs/{rule_and_wildcards}.log"


def keys_of(section, *keys):
    """Return some keys of a section, for a rule's params: its script hands them on by name."""
    return {key: section[key] for key in keys}


wildcard_constraints:
    task="|".join(STUDY.tasks),
    regime="|".join([*STUDY.regimes, "pretrained"]),
    encoder="|".join(GENE_MODELS),
    run=RUN_PATTERN,
    batch=r"\d+",
    fold=r"\d+",
    seed=r"\d+",
    shard=r"\d+",
    encoding="|".join(STUDY.encodings),
    dataset="|".join(map(re.escape, STUDY.entries["datasets"])),
