"""Time and memory that the jobs of a finished study took, by rule, for requests on a cluster.

    .venv/bin/python benchmarks/sizing.py results/demo

Reads the benchmark files that Snakemake writes beside the results. Prints a Markdown table.
"""

import sys
from pathlib import Path

import pandas as pd

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes.core.errors import InputError, input_error  # noqa: E402


def job_costs(study):
    """Return a frame with a row per job: rule, s (wall), cpu_time (s), max_rss (MB).

    Parameters
    ----------
    study : pathlib.Path
        Results folder of a study.
    """
    paths = sorted((study / "benchmarks").glob("*.tsv"))
    if not paths:
        raise input_error(
            str(study),
            found="no files benchmarks/*.tsv",
            expected="the results folder of a study that has run",
            remedy="name one, such as results/demo",
        )
    frames = [pd.read_csv(path, sep="\t").assign(rule=path.name.split(".")[0]) for path in paths]
    return pd.concat(frames)[["rule", "s", "cpu_time", "max_rss"]]


def costs_by_rule(jobs):
    """Return a frame with a row per rule: its jobs, their longest time, and their most memory."""
    by_rule = jobs.groupby("rule")
    return pd.DataFrame(
        {
            "jobs": by_rule.size(),
            "longest, s": by_rule["s"].max(),
            "most CPU time, s": by_rule["cpu_time"].max(),
            "most memory, MB": by_rule["max_rss"].max(),
        }
    )


def table(costs):
    """Return a frame of numbers as a Markdown table."""
    lines = [f"| rule | {' | '.join(costs.columns)} |", "|---" * (1 + costs.shape[1]) + "|"]
    rows = costs.round().astype(int).itertuples()
    lines += [
        "| " + " | ".join([row[0], *(f"{value:,}" for value in row[1:])]) + " |" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(table(costs_by_rule(job_costs(Path(sys.argv[1])))))
    except InputError as error:
        sys.exit(str(error))
