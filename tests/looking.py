"""What a user finds in a results folder: files that open, and what they hold."""

import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import anndata
import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image

# Logs are written as a job goes; benchmarks are Snakemake's.
PASSING = ("logs", "benchmarks")


def _text(path):
    assert path.read_text(encoding="utf-8").endswith("\n")


def _page(path):
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def _workbook(path):
    with zipfile.ZipFile(path) as book:
        assert book.testzip() is None


def _picture(path):
    with Image.open(path) as image:
        image.load()


OPENS = {
    ".parquet": pq.read_table,
    ".h5ad": anndata.read_h5ad,
    ".safetensors": safetensors.torch.load_file,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".svg": ElementTree.parse,
    ".png": _picture,
    ".html": _page,
    ".txt": _text,
    **dict.fromkeys((".tsv", ".md", ".bib", ".js", ".css"), _text),
    ".xlsx": _workbook,
    ".pt": lambda path: torch.load(path, weights_only=True),
    ".bin": lambda path: None,  # plain numbers; their checksum is compared at the end
}


def files_of(results):
    """Return the files under a results folder that a user takes for results."""
    found = (path.relative_to(results) for path in Path(results).rglob("*") if path.is_file())
    return sorted(path for path in found if not set(PASSING) & set(path.parts[:2]))


def unreadable(results):
    """Return {path: error} of the files under their final names that do not open."""
    bad = {}
    for path in files_of(results):
        if path.name.startswith("."):
            continue
        try:
            OPENS[path.suffix](results / path)
        except Exception as error:  # readers raise many kinds for a bad file
            bad[str(path)] = repr(error)
    return bad
