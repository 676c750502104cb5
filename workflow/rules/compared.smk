# Two finished studies held against each other, without the study of the config.
# Comes in: config keys 'studies' (two results folders) and 'name'. Goes out: COMPARED (None without
# the key), COMPARISON (its folder), tables_compared and refusing().
import logging
import os
import sys
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

from keygenes.core.code import code_digest
from keygenes.core.config import read_yaml
from keygenes.core.errors import InputError
from keygenes.core.files import digest_of
from keygenes.core.studies import (
    common_tasks,
    compared_studies,
    nothing_to_compare,
    other_target,
    tables_to_compare,
)


def compared():
    """Return the two studies of the config, their common tasks and tables."""
    for path in GIVEN_FILES:  # Snakemake has read them, and takes more
        read_yaml(path)
    defaults = read_yaml(of_workflow("config/config.yaml"))
    schema = read_yaml(of_workflow("workflow/schemas/compare_studies.schema.yaml"))
    studies, name = compared_studies(config, defaults, schema)
    tasks, left_out = common_tasks(*studies)
    paths = [tables_to_compare(study, tasks) for study in studies]
    return SimpleNamespace(name=name, studies=studies, tasks=tasks, left_out=left_out, paths=paths)


def tables_compared(wildcards):
    """Return the tables of both studies; refuse a run without them."""
    if not COMPARED:
        raise WorkflowError(str(nothing_to_compare()))
    return [path for paths in COMPARED.paths for path in paths.values()]


def refusing(target):
    """Return an input function that refuses another target beside the key 'studies'."""

    def paths(wildcards):
        raise WorkflowError(str(other_target(target)))

    return paths


try:
    COMPARED = compared() if "studies" in config else None
except InputError as error:
    logging.raiseExceptions = False
    raise WorkflowError(str(error)) from None

COMPARISON = f"results/compare/{COMPARED.name if COMPARED else 'none'}"

if COMPARED:
    RESULTS = COMPARISON  # where messages.smk looks
    os.environ.update(  # sums in another order give other last digits
        OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", PYTHONHASHSEED="0"
    )

    include: "messages.smk"

    onsuccess:
        print(f"Done: {COMPARISON}/index.html", file=sys.stderr)

    onerror:
        show_failure(log)
