"""A run of Snakemake that is watched while it goes, and killed with all that it started."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from running import MICRO, snakemake_command

CONFIG = ("--configfile", *MICRO)


def processes_of(session):
    """Return the ids of the processes of a session that still run."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of_session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of_session) == session and state not in "ZX":
            alive.append(int(stat.parent.name))
    return alive


class Watched:
    """A Snakemake run in a session of its own, and what it has said so far.

    Attributes
    ----------
    started, running : list of str, dict
        Rules of the jobs that began, in order; {job id: (rule, when)} of those not finished.
    durations : dict
        {rule: seconds of its longest finished job}.
    lines : list of str
    """

    def __init__(self, folder, *args, **environment):
        self.lines, self.started, self.running, self.durations = [], [], {}, {}
        self.began = time.monotonic()
        self.first_job = None
        self.process = subprocess.Popen(
            snakemake_command(*args),
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        rule = None
        for line in self.process.stdout:
            self.lines.append(line)
            now = time.monotonic()
            if found := re.match(r"(?:local)?rule (\w+):$", line):
                rule = found.group(1)
            elif rule and (found := re.match(r"    jobid: (\d+)$", line)):
                self.first_job = self.first_job or now
                self.running[found.group(1)] = (rule, now)
                self.started.append(rule)
                rule = None
            elif found := re.match(r"Finished jobid: (\d+)", line):
                name, start = self.running.pop(found.group(1), (None, now))
                self.durations[name] = max(self.durations.get(name, 0), now - start)

    @property
    def text(self):
        """Return what a user has seen so far."""
        return "".join(self.lines)

    def wait(self, timeout):
        """Wait for its end; return its status."""
        self.process.wait(timeout)
        self.reader.join(30)
        return self.process.returncode

    def wait_until(self, happened, timeout):
        """Wait until ``happened()``; return whether it did before the run ended."""
        end = time.monotonic() + timeout
        while not happened():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < end, self.text[-3000:]
            time.sleep(0.01)
        return True

    def kill(self):
        """Kill it with every process that it started; return the rules of the jobs it was at."""
        os.killpg(self.process.pid, signal.SIGKILL)
        hit = sorted({rule for rule, _ in self.running.values()})
        self.process.wait()
        end = time.monotonic() + 30
        while alive := processes_of(self.process.pid):
            assert time.monotonic() < end, f"processes outlive the kill: {alive}"
            time.sleep(0.01)
        self.reader.join(30)
        return hit
