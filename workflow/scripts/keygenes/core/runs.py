"""Runs: which fold a model was trained on, from which seed, and with whose labels.

A fold says which replicates are held out; a seed says how the head starts, in which order cells
come and what dropout drops, and chooses no cell. Relabelling 0 means the labels as they are; with
any other, the classes were dealt anew among the wells (`cells.relabel`).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

ALPHA = 0.05  # of the primary test
FEWEST = round(1 / ALPHA) - 1  # relabellings that p <= ALPHA takes: p is at least 1 / (n + 1)
RUN_PATTERN = r"(?:relabelled\d+\.)?fold\d+\.seed\d+"


class Run(NamedTuple):
    """One training of a regime."""

    fold: int
    seed: int
    relabelling: int = 0

    @property
    def name(self) -> str:
        """The run in names of folders and files: fold1.seed2, or relabelled3.fold1.seed1."""
        own = f"relabelled{self.relabelling}." if self.relabelling else ""
        return f"{own}fold{self.fold}.seed{self.seed}"

    @property
    def stream(self) -> int:
        """What seeds this training: another number for every fold, so that no two share a head.

        Models of true and of dealt labels start alike.
        """
        return 1_000_003 * self.seed + self.fold


def run_named(name: str) -> Run:
    """Return the `Run` that a folder is named after."""
    found = re.fullmatch(r"(?:relabelled(\d+)\.)?fold(\d+)\.seed(\d+)", name)
    if not found:
        raise ValueError(f"{name!r} names no run")
    relabelling, fold, seed = found.groups()
    return Run(int(fold), int(seed), int(relabelling or 0))


def each_run(
    names: list[str], files: dict[str, str | list[str]]
) -> Iterator[tuple[Run, dict[str, str | None]]]:
    """Yield every run of a job with its own files.

    Parameters
    ----------
    names : list of str
        Of the runs.
    files : dict {name: path, or list of paths}
        A list as long as `names` has a path for each run. All others are the same for every run;
        an empty list is None.

    Yields
    ------
    Run
    dict {name: str or None}
    """
    for place, name in enumerate(names):
        own = {}
        for key, value in files.items():
            paths = [value] if isinstance(value, str) else list(value)
            own[key] = str(paths[place if len(paths) == len(names) else 0]) if paths else None
        yield run_named(name), own
