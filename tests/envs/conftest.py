"""A Python with nothing but Snakemake, and environments that the stand-in for conda builds."""

import shutil
import subprocess
import venv

import pytest
from env_files import REPOSITORY, conda_path
from running import run_snakemake


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    """Return the Python of an environment with Snakemake and what that requires, no more."""
    folder = tmp_path_factory.mktemp("launcher")
    venv.create(folder, symlinks=True, with_pip=True)
    python, lock = folder / "bin/python", REPOSITORY / "requirements.lock"
    install = ["-m", "pip", "install", "--quiet", "--constraint", lock, "snakemake"]
    subprocess.run([python, *install], check=True)
    yield python
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def run_in_envs(launcher, tmp_path_factory):
    """Return a function that runs Snakemake in a checkout, each rule in its own environment.

    Its attribute ``prefix`` is the folder of the environments.
    """
    prefix = tmp_path_factory.mktemp("environments")
    conda = ("--sdm", "conda", "--conda-prefix", prefix)
    path = conda_path(launcher)

    def run(folder, *args, **options):
        return run_snakemake(folder, *args, *conda, python=launcher, PATH=path, **options)

    run.prefix = prefix
    yield run
    shutil.rmtree(prefix)
