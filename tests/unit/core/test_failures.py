import os

import pytest
from messages import assert_sentence

from keygenes.core.failures import LAST_LINES, failure_text, full_disk, last_lines


@pytest.fixture
def log(tmp_path):
    return tmp_path / "finetune.log"


def written(path, lines, at=100.0):
    path.write_text("\n".join(lines), encoding="utf-8")
    os.utime(path, (at, at))
    return path


def test_a_failed_job_is_named_with_its_log_and_its_last_words(log):
    written(log, ["82 cells", "config key 'a': found 1, expected 2; do.", "failed after 0.1 s"])
    text = failure_text([("finetune level full seed 1", str(log))], since=99.0)
    first, _, name, *lines = text.splitlines()
    assert first == "1 job failed:"
    assert name == f"finetune level full seed 1 (log: {log})"
    assert "    config key 'a': found 1, expected 2; do." in lines
    assert "breaks off" not in text
    assert text.endswith("it resumes from what is finished.")


def test_a_disk_that_was_full_for_snakemake_is_named(tmp_path):
    (said,) = full_disk("WorkflowError:\nOSError: [Errno 28] No space left on device\n", tmp_path)
    assert_sentence(said, f"{tmp_path}/", "no space left to write", "free some")
    assert full_disk("OSError: [Errno 2] No such file", tmp_path) == []


def test_of_a_long_log_the_last_lines_are_shown(log):
    written(log, [f"line {i}" for i in range(100)] + ["failed after 1 s"])
    lines = last_lines(log, 0.0).splitlines()
    assert lines[0] == f"... {101 - LAST_LINES} lines before"
    assert lines[-1] == "failed after 1 s"
    assert len(lines) == 1 + LAST_LINES


def test_a_log_without_a_last_word_is_of_a_killed_job(log):
    assert last_lines(written(log, ["training: 3 of 9 batches"]), 0.0).splitlines() == [
        "training: 3 of 9 batches",
        "(The log breaks off here: the job was killed, or the disk is full.)",
    ]
    assert "breaks off" in last_lines(written(log, []), 0.0)


def test_the_log_of_an_earlier_run_is_not_shown(log, tmp_path):
    written(log, ["another failure"], at=100.0)
    for path in (log, tmp_path / "absent.log"):
        assert last_lines(path, 101.0).startswith("It wrote no log")


def test_what_snakemake_has_shown_is_not_said_twice(log):
    written(log, ["some failure", "failed after 1 s"])
    text = failure_text([("a", str(log)), ("b", str(log))], since=0.0, shown=True)
    assert text.startswith("2 jobs failed:")
    assert f"b (log, shown above: {log})" in text
    assert "some failure" not in text


def test_a_log_cannot_steer_the_terminal(log):
    written(log, ["gene \x1b[2J", "failed after 1 s"])
    assert "\x1b" not in last_lines(log, 0.0)


def test_a_run_that_was_stopped_says_how_to_go_on():
    assert failure_text([], since=0.0).startswith("The run was stopped before its end.\n\nWhat to")
