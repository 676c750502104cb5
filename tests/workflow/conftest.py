"""Checkouts to run in, Snakemake as a user starts it, and the demo, finished once.

Set KEYGENES_DEMO_CHECKOUT to a folder to keep the finished demo between two runs of the tests
(only what an edit concerns is computed again).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def copy_checkout(folder):
    """Copy what git tracks, or would track, into `folder`; return it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_file() and not (
            target.is_file() and target.read_bytes() == source.read_bytes()
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    data = Path(os.environ.get("KEYGENES_TEST_DATA") or REPOSITORY.parent / "shared")
    link = folder.parent / "shared"  # where the configs of the tests look for it
    if data.is_dir() and not link.exists():
        link.symlink_to(data, target_is_directory=True)
    return folder


def run_snakemake(folder, *args, timeout=300):
    """Run Snakemake in a checkout; return returncode and text (both streams, as a user reads)."""
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *map(str, args)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout,
    )
    return SimpleNamespace(returncode=run.returncode, text=run.stdout)


def listed_jobs(text):
    """Return the jobs of a dry run: list of (rule, wildcards dict), rule 'all' left out."""
    jobs = []
    for block in re.split(r"^(?:local)?rule ", text, flags=re.MULTILINE)[1:]:
        rule = block[: block.index(":")]
        found = re.search(r"^    wildcards: (.+)$", block, re.MULTILINE)
        pairs = found.group(1).split(", ") if found else []
        if rule not in ("all", "de_only", "train_only"):
            jobs.append((rule, dict(pair.split("=", 1) for pair in pairs)))
    return jobs


@pytest.fixture(scope="session")
def snakemake():
    """Return `run_snakemake`."""
    return run_snakemake


@pytest.fixture(scope="session")
def dry_run():
    """Return a function: the jobs that a dry run lists, as (rule, wildcards)."""

    def jobs(folder, *args):
        run = run_snakemake(folder, "-n", *args)
        assert run.returncode == 0, run.text
        return listed_jobs(run.text)

    return jobs


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """Return a fresh checkout; nothing is computed in it but what the bad-input tests start."""
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "main")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Return a checkout in which the demo has run to its end."""
    kept = os.environ.get("KEYGENES_DEMO_CHECKOUT")
    parent = Path(kept) if kept else tmp_path_factory.mktemp("demo")
    folder = copy_checkout(parent / "main")
    args = ["--cores", 2, "--quiet", "rules", "--configfile", "config/demo.yaml"]
    run = run_snakemake(folder, *args, timeout=3600)
    assert run.returncode == 0, run.text[-5000:]
    (folder / "demo.log").write_text(run.text, encoding="utf-8")
    return folder
