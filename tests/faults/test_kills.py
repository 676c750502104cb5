"""Fifty kills at random moments: nothing half-written, and the bytes of an unbroken run."""

import random
import shutil
import time
from collections import Counter

import pytest
from looking import files_of, unreadable
from running import promised_bytes, run_snakemake
from watching import CONFIG, Watched

KILLS = 50
ARGS = ["--cores", 2, *CONFIG]


def killed_run(folder, rng, durations, start_up, missed):
    """Start the study and kill it; return the rules it was at, or None where it ended before.

    The moment is drawn: at the n-th job that starts, or the first one of a rule that no kill has
    hit yet, as far into it as a fraction of the time that its rule takes. n = 0: before any job.
    """
    n, fraction = rng.randrange(9), rng.random()
    run = Watched(folder, *ARGS)
    if n == 0:
        delay = fraction * start_up
    else:
        due = lambda: len(run.started) >= n or missed.intersection(run.started)  # noqa: E731
        if not run.wait_until(due, timeout=900):
            assert run.wait(60) == 0, run.text[-5000:]
            return None
        delay = 1.2 * fraction * durations[run.started[-1]]
    end = time.monotonic() + delay
    if run.wait_until(lambda: time.monotonic() > end, timeout=delay + 60):
        return run.kill()
    assert run.wait(60) == 0, run.text[-5000:]
    return None


@pytest.mark.slow
def test_fifty_kills_leave_nothing_half_written_and_change_no_byte(unbroken, checkout, capsys):
    reference, whole = unbroken
    expected = promised_bytes(reference / "results/micro")
    start_up = whole.first_job - whole.began
    rng, kills, hits, finished = random.Random(1), 0, Counter(), 0
    results = checkout / "results/micro"

    def compare():
        assert promised_bytes(results) == expected
        hidden = [path for path in files_of(results) if path.name.startswith(".")]
        assert not hidden, "nothing is left of what was killed"
        shutil.rmtree(checkout / "results")

    while kills < KILLS:
        hit = killed_run(checkout, rng, whole.durations, start_up, set(whole.durations) - set(hits))
        if hit is None:
            finished += 1
            compare()
            continue
        kills += 1
        hits.update(hit or ["(between jobs)"])
        assert unreadable(results) == {}
        unlocked = run_snakemake(checkout, "--unlock", *CONFIG)
        assert unlocked.returncode == 0, unlocked.text
        with capsys.disabled():
            print(f"kill {kills} in {', '.join(hit) or 'no job'}, {len(files_of(results))} files")
    last = run_snakemake(checkout, *ARGS, timeout=1800)
    assert last.returncode == 0, last.text[-5000:]
    compare()
    missed = sorted(set(whole.durations) - set(hits) - {None})
    with capsys.disabled():
        print(f"{kills} kills, {finished + 1} studies finished; jobs killed, by rule:")
        print(", ".join(f"{rule} {n}" for rule, n in hits.most_common()), "; none in:", missed)
    assert len(missed) <= 4, "fifty kills hit nearly every rule"
