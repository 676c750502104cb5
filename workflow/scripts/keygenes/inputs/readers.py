"""Readers of the dataset layouts; each ends in the matrix of `keygenes.inputs.canonical`."""

import contextlib
import logging
from pathlib import Path

import pandas as pd

from keygenes.core.datasets import has_symbols_alone
from keygenes.core.errors import InputError, input_error
from keygenes.core.tables import read_table
from keygenes.inputs.canonical import (
    OBS_COLUMNS,
    VAR_COLUMNS,
    add_dose,
    canonical_matrix,
    doses_are_um,
    rename_columns,
    require_columns,
    to_floats,
    to_texts,
)
from keygenes.inputs.cell_tables import with_table
from keygenes.inputs.dataset import in_memory
from keygenes.inputs.frames import require_usable, usable_frame
from keygenes.inputs.geo import read_geo_parts
from keygenes.inputs.h5ad import read_h5ad_parts
from keygenes.inputs.loom import default_columns, read_loom_parts
from keygenes.inputs.scperturb import annotate_perturbations
from keygenes.inputs.tenx import read_10x_h5_parts, read_10x_mtx_parts
from keygenes.inputs.whole_numbers import rounded
from keygenes.inputs.zarr_folder import read_zarr_parts

log = logging.getLogger("keygenes")


def read_dataset(entry, files, name=None):
    """Return a dataset of the registry as the canonical matrix (AnnData) in memory.

    See `open_dataset`, whose `write` needs memory for some of the cells only.

    Parameters
    ----------
    entry, files : dict
    name : str, optional
        Name of the entry, for messages.
    """
    with named(name):
        return open_dataset(entry, files).in_memory()


@contextlib.contextmanager
def named(name):
    """Let an `InputError` of the block begin with the name of a registry entry, if there is one."""
    try:
        yield
    except InputError as error:
        raise InputError(f"dataset '{name}', {error}" if name else str(error)) from None


def open_dataset(entry, files):
    """Read all of a dataset of the registry but its counts, which are read when it is written.

    Parameters
    ----------
    entry : dict
        Registry entry: ``layout`` (a key of `READERS`); ``layer`` (where the counts lie: X, raw or
        the name of a layer), ``counts`` ({round: true} for counts that are no whole numbers),
        ``columns`` ({canonical name: column of the file}; null means that there is none) and, for
        doses that are tokens, ``dose_factor`` ({drug: uM per token}).
    files : dict of str to path-like
        ``matrix``; ``counts``, ``genes`` and ``cells`` for geo. For 10x_mtx ``matrix`` is a folder,
        or ``barcodes`` and ``features`` come with it. A table of ``cells`` adds columns to obs.
        ``gene_names``, a table, says which gene each symbol is, for cells without ids
        (`core.datasets.has_symbols_alone`).

    Returns
    -------
    keygenes.inputs.dataset.Dataset
        Cells x genes, as described at the top of `keygenes.inputs.canonical`.

    Raises
    ------
    InputError
        If the layout is unknown, or a file is not what the layout needs; of the counts, when these
        are read.
    """
    layout = entry.get("layout")
    if layout not in READERS:
        raise input_error(
            "registry key 'layout'",
            found=repr(layout) if layout is not None else "nothing",
            expected="one of " + ", ".join(READERS),
            remedy="choose the layout the file has (h5ad takes any AnnData file)",
        )
    reader, needed, optional = READERS[layout]
    for key in needed:
        if key not in files:
            raise input_error(
                f"layout {layout!r}, registry key 'files'",
                found="the files " + (", ".join(sorted(files)) or "(none)"),
                expected="the files " + ", ".join(needed),
                remedy=f"add the file {key!r} to the entry",
            )
    return reader(entry, {key: Path(files[key]) for key in (*needed, *optional) if key in files})


def _read_scperturb(entry, files):
    path = files["matrix"]
    counts, obs, var = read_h5ad_parts(path, _layer_of(entry))
    columns = _columns_of(entry)
    of_genes = {"ensembl_id": "ensembl_id", "symbol": "index", **columns}
    ids, symbols = _genes_of(var, of_genes, path)
    if not columns.get("drug"):
        require_columns(obs, ["perturbation"], path, "obs")
        obs = rename_columns(obs, {"perturbation": "drug"})
    obs = rename_columns(obs, {"ncounts": "n_counts"}).drop(columns="ngenes", errors="ignore")
    obs = annotate_perturbations(_mapped(obs, columns, path), entry, path)
    return _canonical(entry, counts, obs, ids, symbols, path)


def _read_kaggle(entry, files):
    path = files["matrix"]
    counts, obs, var = read_h5ad_parts(path, _layer_of(entry))
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
    return _canonical(entry, counts, obs, var["Ensemble Id"], var.index, path)


def _read_geo(entry, files):
    counts, obs, ids, symbols = read_geo_parts(files, entry)
    return _canonical(entry, counts, obs, ids, symbols, files["counts"])


def _read_h5ad(entry, files):
    return _from_columns(entry, read_h5ad_parts(files["matrix"], _layer_of(entry)), files)


def _read_zarr(entry, files):
    return _from_columns(entry, read_zarr_parts(files["matrix"], _layer_of(entry)), files)


def _read_loom(entry, files):
    path = files["matrix"]
    parts = read_loom_parts(path, _layer_of(entry))
    ids, symbols = default_columns(parts[2])
    if ids is None and not _columns_of(entry).get("ensembl_id"):
        require_columns(parts[2], ["Accession"], path, "row_attrs")
    return _from_columns(entry, parts, files, {"ensembl_id": ids, "symbol": symbols})


def _read_10x_h5(entry, files):
    parts = read_10x_h5_parts(files["matrix"], _layer_of(entry))
    return _from_columns(entry, parts, files, OF_10X)


def _read_10x_mtx(entry, files):
    if layer := _layer_of(entry):
        raise input_error(
            "registry key 'layer'",
            found=repr(layer),
            expected="none, as a folder of Cell Ranger has one matrix",
            remedy="remove it",
        )
    return _from_columns(entry, read_10x_mtx_parts(files), files, OF_10X)


OF_10X = {"ensembl_id": "gene_ids", "symbol": "gene_names"}
READERS = {  # layout: reader, files it needs, files it may be given
    "scperturb": (_read_scperturb, ("matrix",), ()),
    "kaggle": (_read_kaggle, ("matrix",), ()),
    "geo": (_read_geo, ("counts", "genes", "cells"), ()),
    "h5ad": (_read_h5ad, ("matrix",), ("cells", "gene_names")),
    "zarr": (_read_zarr, ("matrix",), ("cells", "gene_names")),
    "loom": (_read_loom, ("matrix",), ("cells", "gene_names")),
    "10x_h5": (_read_10x_h5, ("matrix",), ("cells", "gene_names")),
    "10x_mtx": (_read_10x_mtx, ("matrix",), ("barcodes", "features", "cells", "gene_names")),
}


def _layer_of(entry):
    """Return where an entry says that the counts lie, None where it does not."""
    layer, older = entry.get("layer"), (entry.get("columns") or {}).get("counts")
    if layer and older and layer != older:
        raise input_error(
            "registry key 'layer'",
            found=f"{layer!r}, and {older!r} under 'columns: counts:'",
            expected="one place of the counts",
            remedy="remove 'columns: counts:'",
        )
    return layer or older or None


def _columns_of(entry):
    """Return {canonical name: column of the file or None} of an entry."""
    columns = dict(entry.get("columns") or {})
    columns.pop("counts", None)  # an older name of `layer`
    known = {*VAR_COLUMNS, *OBS_COLUMNS}
    if unknown := sorted(set(columns) - known):
        raise input_error(
            f"registry key 'columns: {unknown[0]}'",
            found="an unknown name",
            expected="one of " + ", ".join(sorted(known)),
            remedy="remove it (other obs columns are kept under their own names anyway)",
        )
    return columns


def _from_columns(entry, parts, files, defaults=None):
    """Return the canonical matrix of parts whose columns the entry names.

    Parameters
    ----------
    files : dict
        ``matrix``, and where there is one a table of ``cells``.
    defaults : dict, optional
        The layout's own ``ensembl_id`` and ``symbol``.
    """
    counts, obs, var = parts
    path = files["matrix"]
    if "cells" in files:
        obs = with_table(obs, files["cells"], path)
    columns = {**(defaults or {}), **_columns_of(entry)}
    obs = _mapped(obs, columns, path)
    if "dose_token" in obs and "dose_um" not in obs:
        require_columns(obs, ["drug"], path, "obs")
        add_dose(obs, entry, path)
    genes = _genes_of(var, columns, path, has_symbols_alone(entry))
    names = read_table(files["gene_names"]) if "gene_names" in files else None
    return _canonical(entry, counts, obs, *genes, path, names)


def _mapped(obs, columns, path):
    """Return obs with the canonical names that `columns` gives; null means that there is none."""
    columns = {name: source for name, source in columns.items() if name not in VAR_COLUMNS}
    mapped = {name: source for name, source in columns.items() if source is not None}
    require_usable(obs, mapped.values(), path, "obs")
    require_columns(obs, mapped.values(), path, "obs")
    # A column that already has a canonical name stands for itself, unless mapped to null.
    replaced = {name for name, source in columns.items() if source is None} | set(mapped.values())
    renamed = obs.drop(columns=[name for name in replaced if name in obs])
    return renamed.assign(**{name: obs[source] for name, source in mapped.items()})


def _genes_of(var, columns, path, alone=False):
    """Return gene ids and symbols of var: None where the entry names none, or has symbols alone."""
    id_column = columns.get("ensembl_id") or "index"
    symbol_column = columns.get("symbol")
    wanted = [column for column in (id_column, symbol_column) if column not in (None, "index")]
    require_usable(var, wanted, path, "var")
    require_columns(var, wanted, path, "var")
    ids = var.index if id_column == "index" else var[id_column]
    symbols = None if symbol_column is None else var.index
    if symbol_column not in (None, "index"):
        symbols = var[symbol_column]
    if alone:
        return None, var.index if symbols is None else symbols
    return ids, symbols


def _canonical(entry, counts, obs, ids, symbols, path, names=None):
    if (entry.get("counts") or {}).get("round"):
        counts = rounded(in_memory(counts), path)
    return canonical_matrix(counts, usable_frame(obs, path, "obs"), ids, symbols, path, names)
