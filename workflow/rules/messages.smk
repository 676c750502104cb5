# What a run says before its first job and after its last.
# Comes in: RESULTS, STUDY, RESOLVED. Goes out: show_changes, show_readers, claim_results, show_summary, show_failure.
import os
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from keygenes.core.changes import since_finished
from keygenes.core.code import rules_digest, script_digests
from keygenes.core.errors import InputError
from keygenes.core.failures import failure_text, full_disk
from keygenes.core.files import read_json
from keygenes.core.scheduler import killed_jobs
from keygenes.core.jobs import job_name
from keygenes.core.places import CHECKOUT
from keygenes.core.runs import ALPHA, FEWEST
from keygenes.core.version import write_version

STARTED = {"at": 0.0}  # when the run did


def show_changes():
    """Say where the report of a finished study is, and what of config and code differs since."""
    page, record = Path(out("report/index.html")), Path(out("provenance.json"))
    if not (page.exists() and record.exists() and page.stat().st_mtime >= record.stat().st_mtime):
        return  # not finished, or not to the end since: the page comes last
    try:
        changes = since_finished(
            read_json(record),
            config=config,
            entries=RESOLVED["entries"],
            scripts=script_digests(),
            rules=rules_digest(),
        )
    except (InputError, KeyError):  # a record that is damaged: it will be made again
        return
    logger.info(
        f"This study was finished before, report: {page}. Changed since, of config and code:"
        + ("".join(f"\n    {line}" for line in changes) or " nothing.")
    )


def show_readers():
    """Say before the first job where the config speaks of an encoder that no one reads with."""
    if config["regimes"] and not STUDY.regimes:
        logger.info(
            "No encoder reads the cells ('geneformer' is not among the readers): keys about one "
            "(regimes, finetune, attention, evidence.primary, evidence.claims) are not read."
        )


def show_primary():
    """Say before the first job where the primary test cannot come out as supported."""
    if not STUDY.primary:
        return
    if STUDY.primary["regime"] in STUDY.brought:
        logger.info(
            f"The primary test is not testable: '{STUDY.primary['regime']}' was fine-tuned elsewhere, so "
            "it cannot be trained on relabelled wells."
        )
    elif len(STUDY.relabellings) < FEWEST:
        logger.info(
            "The primary test cannot come out as 'supported': evidence.permutations is "
            f"{len(STUDY.relabellings)}, and p <= {ALPHA} takes {FEWEST} relabellings or more."
        )


def claim_results():
    """Note the version that makes the results; stop here if their folder cannot be written."""
    STARTED["at"] = time.time()
    try:
        write_version(RESULTS)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def show_summary():
    """Print the summary that this run has written; else say where its results are."""
    summary = Path(out("report/summary.txt"))
    if summary.exists() and summary.stat().st_mtime >= STARTED["at"]:
        print(summary.read_text(encoding="utf-8"), file=sys.stderr)
        return
    print(
        f"Done: {RESULTS}/. The report is made by the same command without a target.",
        file=sys.stderr,
    )


def failed_jobs():
    """Return (name, log or '', whether it is ours) of every job that failed for good.

    Of a group, those not finished.
    """
    jobs = []
    for failed in workflow.scheduler.failed:
        of_group = failed.jobs if failed.is_group() else [failed]
        jobs += [job for job in of_group if not all(map(os.path.exists, job.output))]
    return sorted(  # jobs of another workflow that these rules are part of may have no log
        (
            job_name(job.rule.name, job.wildcards.items()),
            job.log[0] if job.log else "",
            Path(str(job.rule.snakefile)).resolve().is_relative_to(CHECKOUT / "workflow"),
        )
        for job in jobs
    )


def show_failure(log_paths):
    """Say which jobs failed and how, and what to do."""
    said = workflow.output_settings
    quiet = {part.name for part in said.quiet or ()}
    shown = said.show_failed_logs and not quiet & {"RULES", "ALL"}
    logs = "".join(Path(p).read_text(encoding="utf-8", errors="replace") for p in log_paths)
    print(
        failure_text(failed_jobs(), STARTED["at"], shown=shown),
        *killed_jobs(logs),
        *full_disk(logs, RESULTS),
        sep="\n",
        file=sys.stderr,
    )
