"""How far a long loop has come: a line of words now and then, with its rate and the time left.

Plain lines and no redrawn bar (tqdm's): they read the same in a log file, in Slurm's and on a
terminal where several jobs talk at once, and every rule can have them without a package more.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

log = logging.getLogger("keygenes")
Item = TypeVar("Item")

FIRST_AFTER_S = 10.0  # shorter loops say nothing
EVERY_S = 60.0


def duration(seconds: float) -> str:
    """Return a time in its two largest units: '53 s', '1 min 53 s', '2 h 5 min', '3 d 1 h'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next(i for i, (_, size) in enumerate(units) if seconds >= size)
    (large, size), (small, part) = units[first : first + 2]
    rest = seconds % size // part
    return f"{seconds // size} {large}" + (f" {rest} {small}" if rest else "")


def amount(n: float) -> str:
    """Return a count in full, a quantity (a float) with one decimal."""
    return f"{n:,}" if isinstance(n, int) else f"{n:,.1f}"


def rate(per_second: float) -> str:
    """Return a rate per second, minute or hour: whichever gives a number of one or more."""
    unit, value = next(
        (unit, per_second * size)
        for unit, size in (("s", 1), ("min", 60), ("h", 3600))
        if per_second * size >= 1 or unit == "h"
    )
    return f"{value:,.1f} per {unit}" if value < 10 else f"{value:,.0f} per {unit}"


class Progress:
    """Counts what is done of a loop and logs it: after 10 s, then every minute, and at the end.

    Parameters
    ----------
    name : str
        What the lines start with.
    total : number or None
        None: unknown, so that no time left is told.
    unit : str
        Of what is counted, in the plural.
    done : number
        Of them that were there before this run.
    clock : callable
        Seconds, from any start.
    """

    def __init__(
        self,
        name: str,
        total: float | None,
        unit: str,
        *,
        done: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.total, self.unit, self.clock = name, total, unit, clock
        self.done = self.before = done
        self.told: float | None = None  # what was done when the last line was written
        self.started = clock()
        self.due = self.started + FIRST_AFTER_S

    def step(self, n: float = 1) -> None:
        """Count `n` more; say so if it is time."""
        self.done += n
        now = self.clock()
        if now >= self.due:
            self._tell(now)

    def end(self) -> None:
        """Say how long all took, if anything was said before."""
        if self.told not in (None, self.done):
            self.total = self.done
            self._tell(self.clock())

    def _tell(self, now: float) -> None:
        self.due, self.told = now + EVERY_S, self.done
        log.info("%s: %s", self.name, self._words(now - self.started))

    def _words(self, passed: float) -> str:
        if self.done == self.total:
            return f"all {amount(self.done)} {self.unit}, after {duration(passed)}"
        of = "" if self.total is None else f" of {amount(self.total)}"
        new = self.done - self.before
        words = [f"{amount(self.done)}{of} {self.unit}", rate(new / passed)]
        if self.total is not None and new:
            words.append(f"{duration((self.total - self.done) * passed / new)} left")
        return ", ".join(words)


def with_progress(
    items: Iterable[Item],
    name: str,
    unit: str = "batches",
    *,
    total: int | None = None,
    **options: Any,
) -> Iterator[Item]:
    """Yield the items of a loop, counting them.

    Parameters
    ----------
    items : iterable
    name, unit : str
        See `Progress`.
    total : int or None
        None: the length of `items`, where it has one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    progress = Progress(name, total, unit, **options)
    for item in items:
        yield item
        progress.step()
    progress.end()
