"""Shares and means over simulated studies, with their intervals, and the tables made of them."""

import numpy as np
from scipy.stats import beta
from scipy.stats import t as student_t

SETTINGS = {  # what there is to find
    "nothing": "classes differ in nothing",
    "length": "cells of the treated wells are longer, and that is all",
    "depth": "cells of the treated wells are deeper, and that is all",
    "detection": "classes differ in nothing; the set holds widely detected genes",
    "weak": "genes of the set are planted, weakly",
    "medium": "genes of the set are planted",
    "strong": "genes of the set are planted, strongly",
}
NULLS = ("nothing", "length", "depth", "detection")


def exact_interval(yes, n):
    """Return the 95 % interval of a share (Clopper and Pearson)."""
    low = beta.ppf(0.025, yes, n - yes + 1) if yes else 0.0
    high = beta.ppf(0.975, yes + 1, n - yes) if yes < n else 1.0
    return float(low), float(high)


def share(found):
    """Return a share of studies: {kind, yes, n}; those without an answer (NaN) are left out.

    Parameters
    ----------
    found : sequence of bool, or float with NaN
    """
    found = np.asarray(found, float)
    found = found[~np.isnan(found)]
    return {"kind": "share", "yes": int(found.sum()), "n": len(found)}


def mean(found):
    """Return a mean over studies: {kind, value, low, high, n}, with its 95 % t interval."""
    found = np.asarray(found, float)
    found = found[~np.isnan(found)]
    n = len(found)
    if not n:
        return {"kind": "mean", "value": None, "low": None, "high": None, "n": 0}
    half = student_t.ppf(0.975, n - 1) * found.std(ddof=1) / np.sqrt(n) if n > 1 else np.inf
    value = float(found.mean())
    low, high = (value - half, value + half) if np.isfinite(half) else (None, None)
    return {"kind": "mean", "value": value, "low": low, "high": high, "n": n}


def words(entry):
    """Return an entry of a table: a share in per cent or a mean, with its interval."""
    if not entry["n"]:
        return ""
    if entry["kind"] == "share":
        low, high = exact_interval(entry["yes"], entry["n"])
        return f"{100 * entry['yes'] / entry['n']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    if entry["low"] is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def numbers(entries):
    """Return how many studies are behind the entries of a row: '1000', or '18 to 20'."""
    counts = [entry["n"] for entry in entries]
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def table(rows, columns):
    """Return a table in Markdown.

    Parameters
    ----------
    rows : dict {name: {column: entry}}
    columns : sequence of str
        An entry that a row lacks stays empty.
    """
    lines = [f"| | {' | '.join(columns)} | n |", "|---" * (len(columns) + 2) + "|"]
    for name, entries in rows.items():
        cells = [words(entries[column]) if column in entries else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} | {numbers(entries.values())} |")
    return "\n".join(lines)
