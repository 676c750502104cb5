"""What a scheduler did to a job, read from the log of a run."""

import re

from keygenes.core.errors import InputError, input_error

# What Slurm writes into a job's log when it ends it, in words of ours, and what to ask for more of.
KILLS = {
    r"exceeded memory limit|Exceeded job memory limit|oom.?kill": ("memory", "mem_mb"),
    r"DUE TO TIME LIMIT": ("time", "runtime"),
}
# Of one rule and its wildcards, or one group, there is a log for each attempt.
LOG = re.compile(r"^\s*Logfile (\S*slurm_logs/(\S+)/\d+\.log):\n", re.MULTILINE)


def killed_jobs(log: str) -> list[InputError]:
    """Return an `InputError` for each rule or group of which Slurm ended a job for using too much.

    Parameters
    ----------
    log : str
        Snakemake's log of a run on Slurm, with the logs of failed jobs in it.
    """
    _, *parts = LOG.split(log)
    last = {name: (path, text) for path, name, text in zip(*[iter(parts)] * 3, strict=True)}
    return [
        input_error(
            path,
            found=f"that Slurm ended the job for using more {what} than it had asked for",
            expected=f"a request that suffices ({key})",
            remedy=f"ask for more {key} for the rule that it names, under set-resources in "
            "profiles/slurm/profile.yaml",
        )
        for path, text in last.values()
        for pattern, (what, key) in KILLS.items()
        if re.search(pattern, text)
    ]
