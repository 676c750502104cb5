"""Text that others wrote, made fit to be shown: in a message, a log, a page, a figure, a table.

Names of genes, drugs, cells and classes come from files that anyone may have written.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

LONGEST_ID = 200  # characters of a name that others refer to
LONGEST_SYMBOL = 60  # characters of a gene's symbol in figures: the longest real ones have 20
FORMULA = tuple("=+-@＝＋－＠")  # what starts one in a spreadsheet; full-width signs do, too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _shown(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp"):  # controls, and separators of lines
        return " "
    return "" if kind in ("Cf", "Cs") else character  # marks of direction, halves of a character


def printable(text: object) -> str:
    """Return a text on one line: no control characters, no marks that turn its direction."""
    text = str(text)
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str) -> str:
    """Return a text with its lines, each of them printable."""
    return "\n".join(map(printable, text.split("\n")))


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters, its middle left out where it is longer."""
    if len(text) <= length:
        return text
    tail = length // 3
    return f"{text[: length - tail - 3]}...{text[-tail:]}"


def unfit_name(names: Iterable[str]) -> tuple[int, str] | None:
    """Return the first of some names that is too long or not printable, and why; else None.

    Returns
    -------
    (int, str) or None
        Its position, and what is wrong with it in words.
    """
    for i, name in enumerate(names):
        if len(name) > LONGEST_ID:
            return i, f"one of {len(name):,} characters"
        if printable(name) != name:
            return i, "one with characters that cannot be seen"
    return None


def gene_name(symbol: str) -> str:
    """Return a gene's symbol as figures and tables show it."""
    return shortened(printable(symbol), LONGEST_SYMBOL)


def spreadsheet_cell(value: Any) -> Any:
    """Return a value that no spreadsheet runs: text that starts like a formula gets an apostrophe.

    Numbers stay as they are, written as text or not; so does everything that is no text.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    formula = text.lstrip().startswith(FORMULA) and not NUMBER.fullmatch(text)
    return f"'{text}" if formula else text
