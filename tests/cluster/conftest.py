"""One Slurm for all tests of a run, and studies that have run without it."""

import os
import shutil
from pathlib import Path

import pytest
from running import MICRO, copy_checkout, finished_study, run_snakemake
from slurm import THROUGH_SLURM, not_possible, running_slurm


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Return a running Slurm, or skip the test where none can be started."""
    reason = not_possible()
    if reason:
        pytest.skip(reason)
    with running_slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a function: a checkout in which the study of some configs has run without Slurm.

    Those below the folder KEYGENES_DEMO_CHECKOUT, if that is set, are kept and used again.
    """
    kept = os.environ.get("KEYGENES_DEMO_CHECKOUT")
    parents = {}

    def study(*configs):
        if configs not in parents:
            folder = Path(configs[-1]).stem if len(configs) > 1 else "."
            parents[configs] = Path(kept) / folder if kept else tmp_path_factory.mktemp("local")
            parents[configs].mkdir(exist_ok=True)
            finished_study(parents[configs] / "main", *configs)
        return parents[configs] / "main"

    return study


@pytest.fixture
def copy(finished, tmp_path):
    """Return a copy of the finished micro study."""
    folder = tmp_path / "main"
    shutil.copytree(finished(*MICRO), folder, symlinks=True)
    return copy_checkout(folder)


@pytest.fixture
def run_on(cluster):
    """Return a function that runs Snakemake in a folder through Slurm, as the profile says."""

    def run(folder, *args, timeout=900):
        return run_snakemake(folder, *THROUGH_SLURM, *args, timeout=timeout, **cluster.environment)

    return run
