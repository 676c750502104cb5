"""How long a study took and what it needed, from Snakemake's benchmarks."""

import csv
import logging
from pathlib import Path

import pandas as pd

log = logging.getLogger("keygenes")

COLUMNS = ["rule", "n_jobs", "wall_seconds", "longest_seconds", "cpu_seconds", "peak_mb"]
NEEDED = ("s", "cpu_time", "max_rss")  # of a benchmark; others are passed over


def run_times(folder):
    """Return what the jobs of each rule took.

    A file is named for its rule and wildcards, ``{rule}.{wildcards}.tsv``. Jobs of an earlier
    config that left their file in the folder count as well.

    Parameters
    ----------
    folder : path-like
        `benchmarks` of a study; it may be missing.

    Returns
    -------
    pandas.DataFrame
        rule, n_jobs, wall_seconds (of all jobs together), longest_seconds (of one), cpu_seconds (of
        all), peak_mb (the largest resident memory of one; missing where jobs were too short for
        it to be seen). The rule that took longest first.
    """
    rows = []
    for path in sorted(Path(folder).glob("**/*.tsv")):
        rule = path.name.split(".")[0]
        rows += [(rule, str(path), *values) for values in _measured(path)]
    jobs = pd.DataFrame(rows, columns=["rule", "job", *NEEDED])
    table = jobs.groupby("rule").agg(
        n_jobs=("job", "nunique"),
        wall_seconds=("s", "sum"),
        longest_seconds=("s", "max"),
        cpu_seconds=("cpu_time", "sum"),
        peak_mb=("max_rss", "max"),
    )
    order = {"by": ["wall_seconds", "rule"], "ascending": [False, True]}
    return table.reset_index().sort_values(**order, ignore_index=True)[COLUMNS]


def _measured(path):
    """Return s, cpu_time and max_rss of a benchmark's rows; none where the file is damaged."""
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            found = list(csv.DictReader(handle, delimiter="\t"))
        return [tuple(_number(row[name]) for name in NEEDED) for row in found]
    except (KeyError, ValueError, TypeError):  # times are no result: a report does without
        log.warning("%s is no benchmark of Snakemake: its times are left out", path)
        return []


def _number(text):
    return float("nan") if text in ("-", "NA") else float(text)
