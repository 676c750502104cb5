"""What every rule's script does around its one call: log, provenance, errors in a sentence."""

import contextlib
import importlib.metadata
import logging
import os
import sys
import time
import traceback

from keygenes import __version__
from keygenes.core.code import packages_of
from keygenes.core.errors import InputError
from keygenes.core.files import digest_of
from keygenes.core.shown import printable_lines
from keygenes.core.tables import set_stamp


class _PlainLines(logging.Formatter):
    """Lines without control characters: a log goes to a terminal, names come from files."""

    def format(self, record):
        """Return the message, its lines kept."""
        return printable_lines(super().format(record))


def software_versions():
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
    """A log file that does without what a full disk does not take: stderr has it, too."""

    def handleError(self, record):  # noqa: N802 (the name is logging's)
        """Pass over a record that could not be written; no traceback into what the user reads."""


@contextlib.contextmanager
def step(snakemake):
    """Run a script's body with its log open, its tables stamped and its errors readable.

    Everything the body logs goes to the rule's log file and to stderr. An `InputError`
    ends the job with its sentence alone; any other error with its traceback in the log.
    Outputs that a failed body left behind are removed by Snakemake, temporary files by
    `core.files.written`.
    """
    log_path = str(snakemake.log[0])
    os.makedirs(os.path.dirname(log_path), exist_ok=True)
    handlers = [LogFile(log_path, mode="w", encoding="utf-8"), logging.StreamHandler()]
    for handler in handlers:
        handler.setFormatter(_PlainLines())
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
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
        log.error("%s: %s", snakemake.rule, error)
        sys.exit(1)
    except Exception:  # anything: the log file keeps the traceback, and the job fails
        log.error("%s", traceback.format_exc())
        sys.exit(1)
    log.info("%s: done in %.1f s", snakemake.rule, time.monotonic() - started)
