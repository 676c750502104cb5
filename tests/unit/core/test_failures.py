import os

import pytest
from messages import assert_sentence
from stated import numbers_in

from keygenes.core.failures import ADVICE, LAST_LINES, failure_text, full_disk, last_lines


@pytest.fixture
def log(tmp_path):
    return tmp_path / "finetune.log"


def written(path, lines, at=100.0):
    path.write_text("\n".join(lines), encoding="utf-8")
    os.utime(path, (at, at))
    return path


def test_a_failed_job_is_named_with_its_log_and_its_last_words(log):
    written(log, ["82 cells", "config key 'a': found 1, expected 2; do.", "failed after 0.1 s"])
    text = failure_text([("finetune level full seed 1", str(log), True)], since=99.0)
    first, _, name, *lines = text.splitlines()
    assert numbers_in(first) == [1]
    assert "finetune level full seed 1" in name and str(log) in name
    assert [line.strip() for line in lines if line][:-1] == log.read_text().splitlines()
    assert lines[-1] == ADVICE and "`snakemake --unlock`" in ADVICE


def test_a_job_of_another_workflow_may_have_no_log():
    text = failure_text([("count", "", False)], since=0.0)
    assert numbers_in(text.splitlines()[0]) == [1]
    assert "count: " in text and "(log" not in text


def test_a_disk_that_was_full_for_snakemake_is_named(tmp_path):
    (said,) = full_disk("WorkflowError:\nOSError: [Errno 28] No space left on device\n", tmp_path)
    assert_sentence(said, f"{tmp_path}/", "no space left to write", "free some")
    assert full_disk("OSError: [Errno 2] No such file", tmp_path) == []


def test_of_a_long_log_the_last_lines_are_shown(log):
    written(log, [f"line {i}" for i in range(100)] + ["failed after 1 s"])
    lines = last_lines(log, 0.0).splitlines()
    assert numbers_in(lines[0]) == [101 - LAST_LINES]
    assert lines[-1] == "failed after 1 s"
    assert len(lines) == 1 + LAST_LINES


def test_a_log_without_a_last_word_is_of_a_killed_job(log):
    whole = last_lines(written(log, ["failed after 1 s"]), 0.0)
    first, said = last_lines(written(log, ["training: 3 of 9 batches"]), 0.0).splitlines()
    assert first == "training: 3 of 9 batches" and said not in whole
    assert last_lines(written(log, []), 0.0) == said


def test_the_log_of_an_earlier_run_is_not_shown(log, tmp_path):
    written(log, ["another failure"], at=100.0)
    said = [last_lines(path, 101.0) for path in (log, tmp_path / "absent.log")]
    assert said[0] == said[1] and "another failure" not in said[0]


def test_what_snakemake_has_shown_is_not_said_twice(log):
    written(log, ["some failure", "failed after 1 s"])
    text = failure_text([("a", str(log), True), ("b", str(log), True)], since=0.0, shown=True)
    assert numbers_in(text.splitlines()[0]) == [2]
    assert text.count(str(log)) == 2 and "some failure" not in text


def test_a_log_cannot_steer_the_terminal(log):
    written(log, ["gene \x1b[2J", "failed after 1 s"])
    assert "\x1b" not in last_lines(log, 0.0)


def test_a_run_that_was_stopped_says_how_to_go_on():
    said = failure_text([], since=0.0)
    assert said.endswith(ADVICE) and numbers_in(said.removesuffix(ADVICE)) == []


@pytest.mark.parametrize(("text", "said"), [("", "empty"), ("Error: 7 trees\n", "7 trees")])
def test_a_log_of_a_rule_from_outside_need_not_end_as_ours_do(tmp_path, text, said):
    log = tmp_path / "forest.log"
    log.write_text(text)
    found = failure_text([("forest", str(log), False)], since=0.0)
    assert said in found and "breaks off" not in found
