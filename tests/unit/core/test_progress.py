import logging

import pytest

from keygenes.core.progress import Progress, duration, rate, with_progress


class Clock:
    """Seconds that pass only when told."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO, "keygenes")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        *((0.2, "0 s"), (53, "53 s"), (59.6, "1 min"), (113, "1 min 53 s"), (3600, "1 h")),
        *((7505, "2 h 5 min"), (86400 + 3600 * 3 + 59, "1 d 3 h")),
    ],
)
def test_a_duration_in_its_two_largest_units(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("per_second", "expected"),
    [
        *((3.2, "3.2 per s"), (1, "1.0 per s"), (99.7, "100 per s"), (12345.6, "12,346 per s")),
        *((0.5, "30 per min"), (1 / 120, "30 per h"), (1 / 7200, "0.5 per h"), (0, "0.0 per h")),
    ],
)
def test_a_rate_in_the_unit_that_gives_one_or_more(per_second, expected):
    assert rate(per_second) == expected


def test_a_line_after_ten_seconds_then_every_minute_and_at_the_end(clock, caplog):
    for _ in with_progress(range(480), "training", clock=clock):
        clock.now += 0.3125
    assert caplog.messages == [
        "training: 32 of 480 batches, 3.2 per s, 2 min 20 s left",
        "training: 224 of 480 batches, 3.2 per s, 1 min 20 s left",
        "training: 416 of 480 batches, 3.2 per s, 20 s left",
        "training: all 480 batches, after 2 min 30 s",
    ]


def test_the_last_line_is_said_once(clock, caplog):
    for _ in with_progress([1, 2], "occlusion", "cells", clock=clock):
        clock.now += 100
    assert caplog.messages == [
        "occlusion: 1 of 2 cells, 36 per h, 1 min 40 s left",
        "occlusion: all 2 cells, after 3 min 20 s",
    ]


def test_a_short_loop_says_nothing_and_everything_is_passed_on(clock, caplog):
    assert list(with_progress("abc", "quick", clock=clock)) == ["a", "b", "c"]
    assert caplog.messages == []


def test_what_was_done_before_counts_for_no_rate(clock, caplog):
    progress = Progress("matrix", 100.0, "MB", done=60.0, clock=clock)
    clock.now += 10
    progress.step(20.0)
    assert caplog.messages == ["matrix: 80.0 of 100.0 MB, 2.0 per s, 10 s left"]


def test_of_an_unknown_number_no_time_left_is_told(clock, caplog):
    for _ in with_progress((i for i in range(3)), "blocks", "blocks", clock=clock):
        clock.now += 20
    assert caplog.messages == ["blocks: 1 blocks, 3.0 per min", "blocks: all 3 blocks, after 1 min"]
