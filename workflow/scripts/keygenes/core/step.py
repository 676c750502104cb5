"""What every rule's script does around its one call: log, provenance, errors in a sentence."""

import contextlib
import importlib.metadata
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

from keygenes import __version__
from keygenes.core.code import packages_of
from keygenes.core.errors import InputError, input_error
from keygenes.core.files import digest_of
from keygenes.core.jobs import FAILED, job_name
from keygenes.core.shown import printable_lines
from keygenes.core.tables import set_stamp
from keygenes.core.version import claim_study

TOO_MUCH = input_error(
    "config key 'compute.device'",
    found="too little memory for what goes through the model at once",
    expected="room for a cell of tokens.max_length at least",
    remedy="lower compute.batch_tokens, use another GPU, or set compute.device: cpu",
)


class _PlainLines(logging.Formatter):
    """Lines without control characters: a log goes to a terminal, names come from files."""

    def __init__(self, start: str = "") -> None:
        super().__init__()
        self.start = start

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, its lines kept, each with the same start."""
        lines = printable_lines(super().format(record)).split("\n")
        return "\n".join(self.start + line for line in lines)


def software_versions() -> dict[str, str]:
    """Return {package: version} of keygenes, Python and the packages that the loaded modules use.

    What else is installed does not show, so that an environment of the rule's own and one for all
    rules give the same stamp.
    """
    loaded = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "keygenes"]
    versions = {"keygenes": __version__, "python": sys.version.split()[0]}
    for package in packages_of(filter(None, loaded)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


class LogFile(logging.FileHandler):
    """A log file that does without what a full disk does not take."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        """Say on stderr what went wrong, if the log cannot; stderr has all the rest already."""
        if record.levelno >= logging.ERROR:
            print(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def step(snakemake: Any) -> Iterator[logging.Logger]:
    """Run a script's body with its log open, its tables stamped and its errors readable.

    Everything the body logs goes to the rule's log file; to stderr as well, where every line
    starts with the job, as others talk there too. An `InputError` ends the job with its sentence
    alone; any other error with its traceback. Both are in the log alone, which a run shows at its
    end (`core.failures`): stderr says that the job failed. Outputs that a failed body left behind
    are removed by Snakemake, temporary files by `core.files.written`.
    """
    log_path = str(snakemake.log[0])
    os.makedirs(os.path.dirname(log_path), exist_ok=True)
    claim_study(log_path)
    log_file, terminal = LogFile(log_path, mode="w", encoding="utf-8"), logging.StreamHandler()
    log_file.setFormatter(_PlainLines())
    name = job_name(snakemake.rule, snakemake.wildcards.items())
    terminal.setFormatter(_PlainLines(f"{name}: "))
    terminal.addFilter(lambda record: record.levelno < logging.ERROR)
    logging.basicConfig(level=logging.INFO, handlers=[log_file, terminal], force=True)
    for noisy in ("httpx", "matplotlib", "fontTools", "numba"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    log = logging.getLogger("keygenes")
    params = dict(snakemake.params.items())
    set_stamp(
        {
            "rule": snakemake.rule,
            "wildcards": dict(snakemake.wildcards.items()),
            "params_sha256": digest_of(params),
            "versions": software_versions(),
        }
    )
    started = time.monotonic()
    try:
        yield log
    except InputError as error:
        log.error("%s", error)
    except KeyboardInterrupt:
        log.error("interrupted")
    except Exception as error:  # anything: the log file keeps the traceback, and the job fails
        log.error("%s", traceback.format_exc().rstrip())
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which not every step has
            log.error("%s", TOO_MUCH)
    else:
        log.info("done in %.1f s", time.monotonic() - started)
        return
    log.info("%s after %.1f s, log: %s", FAILED, time.monotonic() - started, log_path)
    sys.exit(1)
