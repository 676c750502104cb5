"""Times what is compared side by side, and prints what a claim of speed comes to.

Every script of this folder compares ours with what a user would run instead. The machine is never
quiet, so candidates take turns (a, b, c, b, c, a, ...) and only times of one round are divided by
each other; what is reported is the median of those ratios, with the 10 % and 90 % quantiles.

    options = arguments(__doc__)                    # --quick, --repeats N, and --threads N
    timed = ratios({"plain": f, "ours": g}, base="plain", repeats=options.repeats)
    emit(
        "attention",
        [
            result("ours_over_plain_683", timed["ours"]["ratio"], "<= 1.5"),
            result("seconds_plain_683", timed["plain"]["seconds"], unit="s"),
        ],
        {"cells": 12, "length": 683},
    )

`emit` prints the table for a reader and then, as the last line, the JSON object that
`benchmarks/write_page.py` (`make bench`) turns into docs/benchmarks.md.
"""

import argparse
import json
import multiprocessing
import operator
import resource
import sys
import time

import numpy as np

QUANTILES = (0.1, 0.9)
TARGETS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def arguments(description, more=(), *, threads=1):
    """Return the options that every script has, read from the command line.

    Parameters
    ----------
    description : str
        The script's docstring; its first line becomes the help text.
    more : sequence of (str, dict)
        Further options: name and keywords of `argparse.ArgumentParser.add_argument`.
    threads : int
        The default of --threads.

    Returns
    -------
    argparse.Namespace
        quick (bool: smaller data and fewer repeats, under 60 s on two cores), repeats (int: 5,
        with --quick 3, unless given), threads (int; a script passes it to its libraries).
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="under 60 s on two cores")
    parser.add_argument("--repeats", type=int, help="rounds (default 5, with --quick 3)")
    parser.add_argument("--threads", type=int, default=threads)
    for name, keywords in more:
        parser.add_argument(name, **keywords)
    options = parser.parse_args()
    if options.repeats is None:
        options.repeats = 3 if options.quick else 5
    return options


def device_name(device):
    """Return what a device is called: 'cpu', or the name of the card."""
    import torch  # of few scripts

    return torch.cuda.get_device_name(device) if str(device).startswith("cuda") else "cpu"


def spread(values):
    """Return {value, low, high, n}: median, 10 % and 90 % quantile and number of some values."""
    values = np.asarray(values, dtype=float)
    low, high = np.quantile(values, QUANTILES)
    return {
        "value": float(np.median(values)),
        "low": float(low),
        "high": float(high),
        "n": len(values),
    }


def rounds(candidates, repeats, *, warm_up=True):
    """Time every candidate once per round, in an order that rotates from round to round.

    Parameters
    ----------
    candidates : dict of str to callable
        Called without arguments; what they return is dropped. On a GPU each must end with
        ``torch.cuda.synchronize()``.
    repeats : int
    warm_up : bool
        Call each once before, untimed (imports, compilation, caches).

    Returns
    -------
    dict of str to float array [repeats]
        Seconds.
    """
    names = list(candidates)
    if warm_up:
        for name in names:
            candidates[name]()
    seconds = {name: np.empty(repeats) for name in names}
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            started = time.perf_counter()
            candidates[name]()
            seconds[name][turn] = time.perf_counter() - started
    return seconds


def ratios(candidates, base, repeats, *, warm_up=True):
    """Time candidates in turns and divide each one's time by that of `base` in the same round.

    Parameters
    ----------
    candidates : dict of str to callable
        See `rounds`.
    base : str
        One of them.
    repeats : int
    warm_up : bool
        See `rounds`.

    Returns
    -------
    dict of str to dict
        Per candidate ``seconds`` and ``ratio`` (time over the base's time; its own is 1), each a
        `spread`, and ``all_seconds``, the float array [repeats] of what was measured: for a ratio
        of two other candidates take ``spread(timed["a"]["all_seconds"] /
        timed["b"]["all_seconds"])``.
    """
    seconds = rounds(candidates, repeats, warm_up=warm_up)
    return {
        name: {
            "seconds": spread(times),
            "ratio": spread(times / seconds[base]),
            "all_seconds": times,
        }
        for name, times in seconds.items()
    }


def result(key, measured, target=None, *, unit="x"):
    """Return one line of a script's results.

    Parameters
    ----------
    key : str
        What over what, e.g. ``"ours_over_plain_683"``.
    measured : dict or float
        A `spread`, or a number that is measured once (memory, the slope of a fit).
    target : str, optional
        ``"<= 1.5"`` and the like; the median is held against it.
    unit : str
        "x" for a ratio, "s", "MB", ...

    Returns
    -------
    dict
        key, value, low, high, n, unit, target and met (None where there is no target).
    """
    if not isinstance(measured, dict):
        measured = {"value": float(measured), "low": None, "high": None, "n": 1}
    met = None
    if target is not None:
        relation, limit = target.split()
        met = bool(TARGETS[relation](measured["value"], float(limit)))
    return {"key": key, **measured, "unit": unit, "target": target, "met": met}


def emit(name, results, notes=None):
    """Print results as a table and, as the last line, as one JSON object.

    Parameters
    ----------
    name : str
        The script's name without ``.py``.
    results : list of dict
        From `result`.
    notes : dict, optional
        What the numbers rest on (sizes, threads, largest difference seen): text or numbers.
    """
    for line in results:
        low, high = line["low"], line["high"]
        between = "" if low is None else f"{low:.4g} to {high:.4g}, n = {line['n']}"
        verdict = "" if line["target"] is None else f"target {line['target']}"
        if line["met"] is False:
            verdict += " MISSED"
        print(
            f"  {line['key']:<36} {line['value']:10.4g} {line['unit']:<6} {between:<34} {verdict}"
        )
    print(json.dumps({"name": name, "results": results, "notes": notes or {}}), flush=True)


def peak_megabytes():
    """Return the largest resident memory that this process has had, in MB (10^6 bytes)."""
    try:  # unlike ru_maxrss this forgets the parent that a process was started from
        with open("/proc/self/status", encoding="ascii") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _measured(connection, function, args):
    before = peak_megabytes()
    value = function(*args)
    connection.send((value, before, peak_megabytes()))


def apart(function, *args):
    """Call a function in a fresh process, to see the memory that it takes.

    Parameters
    ----------
    function : callable
        Of the script's top level, so that the new process finds it; the script must guard its
        own start with ``if __name__ == "__main__"``.
    *args
        Small: they are pickled, as is what the function returns.

    Returns
    -------
    value
        What the function returned.
    before, peak : float
        Peak resident memory in MB when the process had imported the script, and at the end.

    Raises
    ------
    RuntimeError
        If the process died.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(there, function, args))
    process.start()
    there.close()
    try:
        measured = here.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"{function.__name__} died in its own process (exit code {process.exitcode})"
        ) from None
    process.join()
    return measured
