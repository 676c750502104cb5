"""The micro study on disks that are full or read-only, with damaged files, other clocks, twice."""

import contextlib
import os
import random
import re
import shutil
import signal
import time

import pytest
from disks import remount, small_disk
from looking import unreadable
from messages import assert_sentence
from running import copy_checkout, dry_run, promised_bytes, run_snakemake
from watching import CONFIG, Watched

pytestmark = pytest.mark.slow
ARGS = ["--cores", 2, *CONFIG]
SIZES = ["100k", "500k", "1500k", "2500k", "4M", "6M"]  # all results take about 11 MB


def sentences(run):
    """Return the messages to the user in what a run said, each once, without the rule's name."""
    said = {line.strip() for line in run.text.splitlines() if ": found " in line}
    return {re.sub(r"^[a-z_]+: ", "", line) for line in said}


def finished_copy(unbroken, folder):
    """Return a copy of the checkout in which the study is done, and its checksums."""
    shutil.copytree(unbroken[0], folder, symlinks=True)
    return folder, promised_bytes(folder / "results/micro")


def test_full_disk_ends_in_sentences_and_room_lets_it_go_on(unbroken, checkout):
    expected = promised_bytes(unbroken[0] / "results/micro")
    hit = set()
    with small_disk(checkout / "results", SIZES[0]) as results:
        for size in [*SIZES[1:], "64M"]:
            run = run_snakemake(checkout, *ARGS, timeout=1800)
            assert run.returncode != 0
            assert "Traceback" not in run.text, run.text
            said = sentences(run)
            assert said, (size, run.text[-5000:])
            for sentence in said:
                assert_sentence(sentence, "results/micro/", "no space left", "free some")
            hit.update(re.findall(r"^Error in rule (\w+):", run.text, re.MULTILINE))
            assert unreadable(results / "micro") == {}
            remount(results, f"size={size}")
        run = run_snakemake(checkout, *ARGS, timeout=1800)
        assert run.returncode == 0, run.text[-5000:]
        assert promised_bytes(results / "micro") == expected
    print("a full disk hit", sorted(hit))
    assert len(hit) >= len(SIZES) - 1


def test_full_disk_under_snakemake_s_own_records_is_said(tmp_path):
    with small_disk(tmp_path / "disk", "40M") as disk:
        folder = copy_checkout(disk / "main")
        with contextlib.suppress(OSError), open(disk / "fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        run = run_snakemake(folder, *ARGS)
        assert run.returncode != 0
        (said,) = sentences(run)
        assert_sentence(said, str(folder), "no space left", "free some")
        assert "Traceback" not in run.text.split(said)[1], "Snakemake's log complains before"
        assert not (folder / "results/micro").exists()
        (disk / "fill").unlink()
        assert len(dry_run(folder, *CONFIG)) > 30


def test_read_only_results_are_refused_before_any_job(unbroken, tmp_path):
    folder, expected = finished_copy(unbroken, tmp_path / "main")
    again = ["--forcerun", "plot_umap", *CONFIG]
    (folder / "results").rename(folder / "kept")
    with small_disk(folder / "results", "64M") as results:
        remount(results, "ro")
        empty = run_snakemake(folder, *ARGS)
        remount(results, "rw")
        shutil.copytree(folder / "kept", results, dirs_exist_ok=True)
        remount(results, "ro")
        partly = run_snakemake(folder, "--cores", 2, *again)
        for run in (empty, partly):
            assert run.returncode != 0
            assert "Traceback" not in run.text
        (said,) = sentences(empty)
        assert_sentence(said, "results/micro/version.txt", "cannot be written", "permissions")
        # Snakemake looks at outputs that are there already before anything of ours is asked.
        assert "Write-protected output files for rule" in partly.text
        assert promised_bytes(results / "micro") == expected
        remount(results, "rw")
        run = run_snakemake(folder, "--cores", 2, *again, timeout=900)
        assert run.returncode == 0, run.text[-5000:]
        assert promised_bytes(results / "micro") == expected


def test_damaged_files_are_named_one_by_one_and_deleting_them_helps(unbroken, tmp_path):
    folder, expected = finished_copy(unbroken, tmp_path / "main")
    damaged = {
        "cells/screen.h5ad",
        "tokens.parquet",
        "models/pretrained/config.json",
        "models/level/frozen/fold1.seed1/model.safetensors",
    }
    for name in damaged:
        path = folder / "results/micro" / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    named = set()
    for _ in range(6):
        run = run_snakemake(folder, "--keep-going", *ARGS, timeout=1800)
        if run.returncode == 0:
            break
        assert "Traceback" not in run.text, run.text
        for sentence in sentences(run):
            path = sentence.split(": found ")[0]
            assert_sentence(sentence, path)
            named.add(path.removeprefix("results/micro/"))
            (folder / path).unlink(missing_ok=True)
    assert run.returncode == 0, run.text[-5000:]
    # What is made again before anyone reads it needs no message.
    assert {"cells/screen.h5ad", "tokens.parquet"} <= named <= damaged
    assert promised_bytes(folder / "results/micro") == expected


def test_two_runs_in_one_folder_do_not_mix(unbroken, tmp_path):
    folder, expected = finished_copy(unbroken, tmp_path / "main")
    first = Watched(folder, "--cores", 1, "--forcerun", "plot_umap", *CONFIG)
    try:
        assert first.wait_until(lambda: first.started, timeout=300)
        os.killpg(first.process.pid, signal.SIGSTOP)  # at work, for as long as the second takes
        second = run_snakemake(folder, "--cores", 1, "--forcerun", "plot_umap", *CONFIG)
        os.killpg(first.process.pid, signal.SIGCONT)
        assert second.returncode != 0, second.text
        assert "Traceback" not in second.text
        assert "cannot be locked" in second.text
        assert "no other Snakemake process is trying to create the same files" in second.text
        assert first.wait(900) == 0, first.text[-5000:]
    finally:
        if first.process.poll() is None:
            first.kill()
    assert promised_bytes(folder / "results/micro") == expected


@pytest.mark.parametrize("shift", ["past and future", "clock set back"])
def test_other_clocks_cost_time_and_change_no_byte(unbroken, tmp_path, shift):
    folder, expected = finished_copy(unbroken, tmp_path / "main")
    now, day, rng = time.time(), 86400.0, random.Random(3)
    for path in sorted((folder / "results").rglob("*")):
        if not path.is_file():
            continue
        if shift == "clock set back":  # a day, after the run: all files are of tomorrow
            moved = path.stat().st_mtime + day
        else:
            moved = now + rng.uniform(-2 * day, 2 * day)
        os.utime(path, (moved, moved))
    jobs = dry_run(folder, *CONFIG)
    assert (len(jobs) > 5) == (shift == "past and future")
    run = run_snakemake(folder, *ARGS, timeout=1800)
    print(shift, len(jobs), "jobs to be made again; ended with status", run.returncode)
    if run.returncode:  # a new output older than its inputs: Snakemake stops
        assert "clock skew" in run.text
        assert "Traceback" not in run.text
    for path in (folder / "results").rglob("*"):
        os.utime(path, (now, now))  # all of one time: none newer than another
    run = run_snakemake(folder, *ARGS, timeout=1800)
    assert run.returncode == 0, run.text[-5000:]
    # What Snakemake removed as it stopped, and nothing that is to be made needs, stays away.
    assert promised_bytes(folder / "results/micro").items() <= expected.items()
    assert dry_run(folder, *CONFIG) == []


def test_results_of_another_version_are_left_alone(unbroken, tmp_path):
    folder, expected = finished_copy(unbroken, tmp_path / "main")
    file = folder / "results/micro/version.txt"
    file.write_text("0.0.9\n")
    for args in (["-n", *CONFIG], ARGS):
        run = run_snakemake(folder, *args)
        assert run.returncode != 0
        (said,) = sentences(run)
        assert_sentence(said, "results/micro", "keygenes 0.0.9", "'study'", "delete")
    others = {
        name for name, sha256 in promised_bytes(file.parent).items() if expected[name] != sha256
    }
    assert others == {"version.txt"}
    file.unlink()
    assert dry_run(folder, *CONFIG) == [], (
        "what the same version made stands, in another folder too"
    )
