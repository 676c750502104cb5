"""Readers of the dataset layouts; each ends in the matrix of `keygenes.inputs.canonical`."""

import contextlib
import gzip
import io
import logging
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.datasets import has_symbols_alone
from keygenes.core.errors import InputError, input_error
from keygenes.inputs.canonical import (
    OBS_COLUMNS,
    VAR_COLUMNS,
    add_dose,
    add_wells,
    canonical_matrix,
    doses_are_um,
    parse_oligo,
    rename_columns,
    require_columns,
    to_floats,
    to_texts,
)
from keygenes.inputs.h5ad import read_h5ad_parts

log = logging.getLogger("keygenes")

LONGEST_LINE = 1 << 20  # bytes; what has none at all is no table
SMALL = 1 << 26  # bytes that may be packed at any rate
MAX_PACKING = 100  # bytes of text per byte stored; tables of counts reach ten


def read_dataset(entry, files, names=None):
    """Read a dataset of the registry into the canonical matrix.

    Parameters
    ----------
    entry : dict
        Registry entry: ``layout`` (scperturb, kaggle, geo or h5ad), for the sci-Plex layouts
        ``dose_factor`` ({drug: uM per dose token}), for h5ad ``columns`` ({canonical name: column
        of the file}; null means that there is none).
    files : dict of str to path-like
        ``matrix`` for the h5ad layouts; ``counts``, ``genes`` and ``cells`` for geo.
    names : table 'gene_names', optional
        Which gene each symbol is, for an h5ad without ids (`core.datasets.has_symbols_alone`).

    Returns
    -------
    anndata.AnnData
        Cells x genes, as described at the top of `keygenes.inputs.canonical`.

    Raises
    ------
    InputError
        If the layout is unknown, or a file is not what the layout needs.
    """
    readers = {
        "scperturb": (_read_scperturb, ("matrix",)),
        "kaggle": (_read_kaggle, ("matrix",)),
        "geo": (_read_geo, ("counts", "genes", "cells")),
        "h5ad": (_read_h5ad, ("matrix",)),
    }
    layout = entry.get("layout")
    if layout not in readers:
        raise input_error(
            "dataset registry, key 'layout'",
            found=repr(layout) if layout is not None else "nothing",
            expected="one of " + ", ".join(readers),
            remedy="choose the layout the file has (h5ad takes any AnnData file)",
        )
    reader, needed = readers[layout]
    for key in needed:
        if key not in files:
            raise input_error(
                f"dataset registry, layout {layout!r}, key 'files'",
                found="the files " + (", ".join(sorted(files)) or "(none)"),
                expected="the files " + ", ".join(needed),
                remedy=f"add the file {key!r} to the entry",
            )
    paths = {key: Path(files[key]) for key in needed}
    return reader(entry, paths, names) if layout == "h5ad" else reader(entry, paths)


def _read_scperturb(entry, files):
    path = files["matrix"]
    counts, obs, var = read_h5ad_parts(path)
    require_columns(var, ["ensembl_id"], path, "var")
    require_columns(obs, ["perturbation"], path, "obs")
    obs = rename_columns(
        obs, {"ncounts": "n_counts", "perturbation": "drug", "dose_value": "dose_token"}
    )
    obs = obs.drop(columns="ngenes", errors="ignore")
    # scPerturb calls the cells without a hash 'control'; they are not the vehicle.
    obs["drug"] = obs["drug"].astype(object).where(obs["drug"].astype(str) != "control", None)
    if "top_oligo" in obs:
        add_wells(obs, parse_oligo(obs["top_oligo"])["well"])
    add_dose(obs, entry, path)
    return canonical_matrix(counts, obs, var["ensembl_id"], var.index, path)


def _read_kaggle(entry, files):
    path = files["matrix"]
    counts, obs, var = read_h5ad_parts(path)
    require_columns(var, ["Ensemble Id"], path, "var")
    require_columns(obs, ["drug", "dose"], path, "obs")
    obs = rename_columns(obs, {"n.umi": "n_counts", "dose": "dose_token"})
    obs = obs.drop(columns="count genes expressed", errors="ignore")
    # The file states no unit for `dose`; its values tell a token from a concentration.
    factors = entry.get("dose_factor") or {}
    if doses_are_um(obs["drug"], obs["dose_token"], factors):
        log.info("%s: 'dose' is taken as uM, as its values are no dose tokens", path)
        scale = pd.Series(to_texts(obs["drug"])).map(factors).to_numpy(float)
        obs["dose_token"] = to_floats(obs["dose_token"]) / scale
    add_dose(obs, entry, path)
    return canonical_matrix(counts, obs, var["Ensemble Id"], var.index, path)


def _read_geo(entry, files):
    genes = _read_table(files["genes"], sep="\t", header=None, dtype=str, na_filter=False)
    if genes.shape[1] < 2:
        raise input_error(
            str(files["genes"]),
            found=f"{genes.shape[1]} column",
            expected="Ensembl id and symbol, separated by a tab, without header",
            remedy="give the '..._gene.annotations.txt.gz' of the GEO sample",
        )
    cells = _read_table(files["cells"], sep=" ")
    require_columns(cells, ["top_oligo"], files["cells"], "table")
    name = next((column for column in ("Cell", "cell") if column in cells), None)
    obs = cells.set_index(name) if name else cells
    obs.index = obs.index.astype(str)
    obs = rename_columns(
        obs,
        {"n.umi": "n_counts", "qval": "qval_demultiplexing", "pval": "pval_demultiplexing"},
    )
    parsed = parse_oligo(obs["top_oligo"])
    for column in ("drug", "dose_token"):
        obs[column] = parsed[column].to_numpy()
    add_wells(obs, parsed["well"])
    add_dose(obs, entry, files["cells"])
    counts = _read_triplets(files["counts"], n_genes=len(genes), n_cells=len(cells))
    return canonical_matrix(counts, obs, genes[0], genes[1], files["counts"])


def _read_h5ad(entry, files, names):
    path = files["matrix"]
    columns = dict(entry.get("columns") or {})
    known = {"counts", *VAR_COLUMNS, *OBS_COLUMNS}
    if unknown := sorted(set(columns) - known):
        raise input_error(
            f"dataset registry, key 'columns: {unknown[0]}'",
            found="an unknown name",
            expected="one of " + ", ".join(sorted(known)),
            remedy="remove it (other obs columns are kept under their own names anyway)",
        )
    counts, obs, var = read_h5ad_parts(path, counts=columns.pop("counts", None) or "X")
    id_column = columns.pop("ensembl_id", None) or "index"
    symbol_column = columns.pop("symbol", None)
    wanted = [column for column in (id_column, symbol_column) if column not in (None, "index")]
    require_columns(var, wanted, path, "var")
    mapped = {name: source for name, source in columns.items() if source is not None}
    require_columns(obs, mapped.values(), path, "obs")
    # A column that already has a canonical name stands for itself, unless mapped to null.
    replaced = {name for name, source in columns.items() if source is None} | set(mapped.values())
    renamed = obs.drop(columns=[name for name in replaced if name in obs])
    obs = renamed.assign(**{name: obs[source] for name, source in mapped.items()})
    if "dose_token" in obs and "dose_um" not in obs:
        require_columns(obs, ["drug"], path, "obs")
        add_dose(obs, entry, path)
    ids = var.index if id_column == "index" else var[id_column]
    symbols = None if symbol_column is None else var.index
    if symbol_column not in (None, "index"):
        symbols = var[symbol_column]
    if has_symbols_alone(entry):
        ids, symbols = None, var.index if symbols is None else symbols
    return canonical_matrix(counts, obs, ids, symbols, path, names)


class _Lines(io.RawIOBase):
    """Bytes of a text, which has lines, and is not thousands of times what is stored of it."""

    def __init__(self, handle, most):
        self._handle, self._left, self._line = handle, max(most, SMALL), 0

    def readable(self):
        """Return True, as pandas asks."""
        return True

    def readinto(self, buffer):
        """Fill a buffer; a ValueError where a line or the whole is longer than any table's."""
        data = self._handle.read(len(buffer))
        self._left -= len(data)
        after = data.rfind(b"\n")
        self._line = len(data) - 1 - after if after >= 0 else self._line + len(data)
        if self._left < 0:
            raise ValueError(f"unpacks to more than {MAX_PACKING} times its size")
        if self._line > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE:,} bytes")
        buffer[: len(data)] = data
        return len(data)


def _read_table(path, **options):
    with _text_of(path) as handle:
        return pd.read_csv(handle, **options)


@contextlib.contextmanager
def _text_of(path):
    """Open a text file, gzipped or not (by its content, whatever its name)."""
    try:
        with open(path, "rb") as start:
            magic = start.read(4)
        if magic.startswith(b"PK\x03\x04"):
            raise ValueError("a zip archive")
        zipped = magic.startswith(b"\x1f\x8b")
        with gzip.open(path, "rb") if zipped else open(path, "rb") as handle:
            yield io.BufferedReader(_Lines(handle, MAX_PACKING * path.stat().st_size), 1 << 16)
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, ValueError, MemoryError) as error:
        reason = (str(error) or "empty").splitlines()[0].translate(str.maketrans("()", "[]"))
        raise input_error(
            str(path),
            found=f"a file that cannot be read ({reason})",
            expected="a whole text table, plain or gzipped",
            remedy="delete it and download it again",
        ) from None


def _read_triplets(path, *, n_genes, n_cells, block=5_000_000):
    """Read lines of gene, cell, count (tabs, both indices from 1) into a CSR cells x genes."""
    rows, columns, values = [], [], []
    with _text_of(path) as handle:
        # In blocks, as the whole table would take three times the memory of the matrix.
        for lines in pd.read_csv(handle, sep="\t", header=None, dtype=np.float64, chunksize=block):
            if lines.shape[1] != 3:
                raise input_error(
                    str(path),
                    found=f"{lines.shape[1]} columns",
                    expected="gene, cell and count, separated by tabs, without header",
                    remedy="give the '..._UMI.count.matrix.gz' of the GEO sample",
                )
            gene, cell = lines[0].to_numpy(), lines[1].to_numpy()
            for name, index, size in (("gene", gene, n_genes), ("cell", cell, n_cells)):
                if not (index.min() >= 1 and index.max() <= size and (index == index // 1).all()):
                    raise input_error(
                        str(path),
                        found=f"{name} numbers from {index.min():g} to {index.max():g}",
                        expected=f"whole numbers from 1 to {size:,}, the {name}s of the other file",
                        remedy="give the three files of one GEO sample",
                    )
            rows.append((cell - 1).astype(np.int32))
            columns.append((gene - 1).astype(np.int32))
            values.append(lines[2].to_numpy(np.float32))
    joined = [np.concatenate(part) for part in (rows, columns, values)]
    return sp.coo_matrix((joined[2], (joined[0], joined[1])), shape=(n_cells, n_genes)).tocsr()
