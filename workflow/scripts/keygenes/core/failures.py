"""What a run says at its end when jobs failed: which, the last lines of their logs, what to do."""

import errno
import shutil
import textwrap
from pathlib import Path

from keygenes.core.errors import InputError
from keygenes.core.files import PathLike, no_room
from keygenes.core.jobs import FAILED
from keygenes.core.shown import printable_lines

LAST_LINES = 20
ADVICE = (
    "What to do: correct what a message names (docs/faults.md has the common ones), then run the "
    "same command again. For a job that was killed for want of memory: fewer --cores, or a smaller "
    "compute.batch_tokens. After a kill of Snakemake itself, run `snakemake --unlock` once with "
    "the same --configfile; then the same command again: it resumes from what is finished."
)


def last_lines(path: PathLike, since: float, ours: bool = True) -> str:
    """Return the last lines of a log, or a sentence where the job did not write it.

    Parameters
    ----------
    path : path-like
    since : float
        Time, in seconds since the epoch; an older log is of another run.
    ours : bool
        Whether the job is of this workflow: the logs of ours say at their end how it went.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_mtime < since:
        return "It wrote no log: what it said, if anything, stands above."
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not ours and not lines:
        return "Its log is empty: what it said stands above, or the rule writes no log."
    if ours and not (lines and lines[-1].startswith(FAILED)):
        lines.append("(The log breaks off here: the job was killed, or the disk is full.)")
    left_out = max(0, len(lines) - LAST_LINES)
    kept = [f"... {left_out} lines before"] * bool(left_out) + lines[left_out:]
    return printable_lines("\n".join(kept))


def full_disk(log: str, folder: str) -> list[InputError]:
    """Return, as a list, the sentence for a disk on which Snakemake itself could not write.

    It ends a job whose benchmark it cannot write, when the job's own log is long closed.

    Parameters
    ----------
    log : str
        Snakemake's log of the run.
    folder : str
        Of the study's results.
    """
    if f"[Errno {errno.ENOSPC}]" not in log:
        return []
    return [no_room(f"{folder}/", shutil.disk_usage(folder).free)]


def failure_text(failed: list[tuple[str, str, bool]], since: float, *, shown: bool = False) -> str:
    """Return what a run that failed says last.

    Parameters
    ----------
    failed : list of (str, str, bool)
        Name and log of each job ('' for one of another workflow that has none), and whether it is
        of a rule of this workflow.
    since : float
        See `last_lines`.
    shown : bool
        Whether the logs stand above already.
    """
    n = f"{len(failed)} job{'s' * (len(failed) > 1)} failed"
    parts = [f"{n}:" if failed else "The run was stopped before its end."]
    for name, log, ours in failed:
        if not log:
            parts.append(f"\n{name}: it has no log; what it said, if anything, stands above.")
            continue
        parts.append(f"\n{name} (log{', shown above' * shown}: {log})")
        if not shown:
            parts.append(textwrap.indent(last_lines(log, since, ours), "    "))
    return "\n".join([*parts, "", ADVICE])
