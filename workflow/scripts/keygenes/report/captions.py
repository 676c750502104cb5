"""The captions: written once, in `workflow/report/*.rst`, read by Snakemake's report and ours."""

import re
from pathlib import Path

CAPTIONS = Path(__file__).resolve().parents[3] / "report"

_MARKUP = (
    (re.compile(r"(?:``)?\{\{.*?\}\}(?:``)?|\{%.*?%\}", re.S), ""),  # Snakemake's own variables
    (re.compile(r"``(.+?)``", re.S), r"\1"),
    (re.compile(r"\*\*(.+?)\*\*", re.S), r"\1"),
    (re.compile(r"(?<!\w)\*(\S(?:.*?\S)?)\*(?!\w)", re.S), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`_+", re.S), r"\1"),
    (re.compile(r"(?m)^\s*[=\-~^]{3,}\s*$"), ""),
    (re.compile(r"\\(.)"), r"\1"),
)


def plain_text(rst):
    """Return the paragraphs of a caption as plain text, markup and line breaks removed."""
    for pattern, replacement in _MARKUP:
        rst = pattern.sub(replacement, rst)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", rst))
    return "\n\n".join(part for part in paragraphs if part)


def caption_path(name):
    """Return the file of the caption of a figure or table, e.g. ``figure4_cosine``."""
    return CAPTIONS / f"{name}.rst"


def caption(name):
    """Return the caption of a figure or table as plain text.

    Raises
    ------
    FileNotFoundError
        If nobody wrote it: every figure has one.
    """
    return plain_text(caption_path(name).read_text(encoding="utf-8"))
