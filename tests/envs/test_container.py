"""The Dockerfile holds the environments as they are now, where Snakemake will look for them."""

import os
import re
import subprocess
import sys

import pytest
from env_files import ENVS, REPOSITORY, conda_path
from running import copy_checkout, run_snakemake, snakemake_command


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "main")


def test_the_dockerfile_is_what_snakemake_writes_now(checkout):
    command = snakemake_command("--containerize")
    environment = {**os.environ, "PATH": conda_path(sys.executable)}
    run = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert dockerfile == run.stdout, "`make containerfile` writes it anew"
    assert set(re.findall(r"COPY envs/(\w+)\.yaml", dockerfile)) == set(ENVS)


def test_an_image_is_only_asked_for_by_those_who_use_apptainer(checkout):
    args = ("-n", "--config", "image=absent.sif", "--sdm", "conda")
    assert run_snakemake(checkout, *args, PATH=conda_path(sys.executable)).returncode == 0
