"""A killed run goes on from the last finished epoch, to the same bytes."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from running import REPOSITORY, run_snakemake, snakemake_command
from stated import numbers_in

from keygenes.core.files import checksum

RUN = "results/demo_thesis/models/level/full/fold1.seed1"
OUTPUTS = (
    *("model.safetensors", "config.json", "history.parquet", "predictions.parquet"),
    "loading.json",
)
ARGS = [f"{RUN}/model.safetensors", "--cores", 1, "--configfile", "config/demo_thesis.yaml"]


def killed_after_an_epoch(folder, checkpoint):
    """Start fine-tuning, and kill the whole process group once the first epoch is saved."""
    process = subprocess.Popen(
        snakemake_command(*ARGS),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 300
        while not checkpoint.exists():
            assert process.poll() is None, "it ended before the first epoch was saved"
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def interrupted(thesis, tmp_path):
    """Return a copy of the thesis in which one fine-tuning was killed after its first epoch."""
    folder = tmp_path / "main"
    shutil.copytree(thesis, folder, symlinks=True)
    for name in OUTPUTS:
        (folder / RUN / name).unlink()
    killed_after_an_epoch(folder, folder / RUN / "resume.pt")
    return folder


def test_kill_and_resume_give_the_bytes_of_an_unbroken_run(thesis, interrupted):
    there = {path.name for path in (interrupted / RUN).iterdir()}
    assert "resume.pt" in there
    assert not there & set(OUTPUTS), "nothing stands under a final name"

    locked = run_snakemake(interrupted, *ARGS)
    assert locked.returncode != 0
    assert "--unlock" in locked.text
    assert "Traceback" not in locked.text
    unlocked = run_snakemake(interrupted, "--unlock", "--configfile", "config/demo_thesis.yaml")
    assert unlocked.returncode == 0, unlocked.text

    again = run_snakemake(interrupted, *ARGS)
    assert again.returncode == 0, again.text
    log = (interrupted / "results/demo_thesis/logs/finetune.level.full.fold1.seed1.log").read_text()
    (said,) = [line for line in log.splitlines() if "resum" in line]
    assert numbers_in(said)[-1] == 1, "epoch"
    assert "epoch 1/" not in log.split(said)[1]
    for name in OUTPUTS:
        assert checksum(interrupted / RUN / name) == checksum(thesis / RUN / name), name
    left = {path.name for path in (interrupted / RUN).iterdir()} - set(OUTPUTS)
    assert left == {"README.md", "vocabulary.tsv"}, "its card, and nothing of the kill"


def test_readme_says_how_to_go_on():
    assert "--unlock" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
