"""Numbers and lists as a sentence has them."""

import math

from keygenes.core.shown import printable, shortened

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
LONGEST = 300  # characters of a text that others wrote
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value):
    """Return a number as text: 10,000; 0.05; 5 × 10⁻⁵."""
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or abs(value) >= 0.001:
        return f"{int(value):,}" if value == int(value) else f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    base = f"{value / 10**exponent:g} × " if value != 10.0**exponent else ""
    return f"{base}10{str(exponent).translate(SUPERSCRIPT)}"


def percent(share):
    """Return a share as a percentage: 25 %."""
    return f"{100 * share:g} %"


def plural(n, noun):
    """Return a number of things in figures and tables: '1 seed', '3,000 cells'."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def counted(n, noun):
    """Return a number of things in a sentence: 'one seed', '3,000 cells' (words up to ten)."""
    amount, things = plural(n, noun).split(" ", 1)
    return f"{WORDS[n] if n < len(WORDS) else amount} {things}"


def times(n):
    """Return how often something was done: 'once', 'twice', 'three times', '12 times'."""
    return {1: "once", 2: "twice"}.get(n) or f"{WORDS[n] if n < len(WORDS) else n} times"


def trained_folds(n_folds, n_seeds):
    """Return the models of a regime in words: 'three folds, each trained twice'."""
    return f"{counted(n_folds, 'fold')}, {'each ' if n_folds > 1 else ''}trained {times(n_seeds)}"


def listed(parts, joint="and"):
    """Return parts as a list in a sentence: 'a', 'a and b', 'a, b and c'."""
    parts = [str(part) for part in parts]
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {joint} {parts[-1]}"


def capital(text):
    """Return a text with a capital first."""
    return text[0].upper() + text[1:]


def sentence(text):
    """Return a text as a sentence: a capital first, a full stop at its end."""
    return capital(text).rstrip(".") + "."


def others_words(text, longest=LONGEST):
    """Return what others wrote on one line, of a sensible length, and naming no reference."""
    return shortened(printable(text), longest).replace("[@", "[ @")
