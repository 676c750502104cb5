"""Every kind of file: killed while it is written, on a full disk, on one that is read-only."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter

import pytest
from disks import remount, small_disk
from looking import unreadable
from messages import assert_sentence
from writers import WRITERS

from keygenes.core.errors import InputError

KILLS = 8  # per kind


def write_for_ever(write, folder):
    """Write the same files again and again."""
    while True:
        write(folder)


def test_kills_while_files_are_written_leave_no_half_file(tmp_path):
    rng, caught = random.Random(1), Counter()
    for kind, write in WRITERS.items():
        folder = tmp_path / kind / "results"
        folder.mkdir(parents=True)
        write(folder)  # what it imports and makes is there before the clock starts
        for _ in range(KILLS):
            child = multiprocessing.get_context("fork").Process(
                target=write_for_ever, args=(write, folder)
            )
            child.start()
            time.sleep(0.02 + 0.25 * rng.random())
            os.kill(child.pid, signal.SIGKILL)
            child.join(30)
            assert child.exitcode == -signal.SIGKILL
            caught[kind] += any(path.name.startswith(".") for path in folder.iterdir())
            assert unreadable(folder) == {}, kind
        write(folder)
        left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        assert not left, "the next one to write removes what was left"
    assert caught.total() > KILLS, f"few kills came in the middle of a file: {caught}"


@pytest.mark.parametrize("kind", WRITERS)
def test_full_disk_is_one_sentence_and_leaves_nothing(kind, tmp_path):
    with small_disk(tmp_path / "results", "200k") as folder:
        with pytest.raises(InputError) as error:
            WRITERS[kind](folder)
        assert_sentence(error, str(folder), "no space left", "GB free", "free some")
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        assert unreadable(folder) == {}
        remount(folder, "size=50M")
        WRITERS[kind](folder)
        assert unreadable(folder) == {}
        assert [path for path in folder.iterdir() if path.stat().st_size > 200_000]


@pytest.mark.parametrize("kind", WRITERS)
def test_read_only_disk_is_one_sentence(kind, tmp_path):
    with small_disk(tmp_path / "results", "50M") as folder:
        remount(folder, "ro")
        with pytest.raises(InputError) as error:
            WRITERS[kind](folder)
        assert_sentence(error, str(folder), "cannot be written", "change its permissions")
        assert not list(folder.iterdir())
