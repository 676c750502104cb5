"""Readers of the dataset layouts; each ends in the same canonical matrix.

The canonical matrix is an AnnData with raw counts (CSR, float32, sorted indices) of all measured
genes. `var` is indexed by Ensembl gene id (no version, unique) and has a column ``symbol``. `obs`
is indexed by cell name and has

- ``n_counts`` (float64): the cell's total over all measured genes, as supplied where it is;
- ``n_genes`` (int64): genes with a count; ``percent_mito`` (float64, %) where such genes are known;
- where known: ``drug``, ``dose_token``, ``well``, ``replicate`` (categorical text), ``dose_um``
  (float64, uM, NaN unknown) and the hash columns of `HASH_COLUMNS`;
- every other column of the source under its own name.
"""

import contextlib
import gzip
import logging
import re
import zlib
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import InputError, input_error
from keygenes.inputs.genes import clean_ids, is_mitochondrial

log = logging.getLogger("keygenes")

UNASSIGNED = "unassigned"  # drug of a cell whose hash named none; never the vehicle
HASH_COLUMNS = ("top_to_second_best_ratio", "qval_demultiplexing", "hash_umis")
TEXT_COLUMNS = ("drug", "dose_token", "well", "replicate")
NUMBER_COLUMNS = ("n_counts", "dose_um", *HASH_COLUMNS)
OBS_COLUMNS = (*TEXT_COLUMNS, *NUMBER_COLUMNS)
VAR_COLUMNS = ("ensembl_id", "symbol")

# The eight steps of sci-Plex 2's dilution series, per drug times its factor in uM.
DOSE_TOKENS = ("0", "0.1", "0.5", "1", "5", "10", "50", "100")

# Nutlin_100_AA01: drug, dose token, plate letter and well. SAHA_100_E09 lacks the plate letter.
OLIGO = re.compile(r"(?P<drug>.+)_(?P<token>[0-9.]+)_(?P<well>[A-Z]?[A-H](?P<column>\d{2}))")

MISSING = ("", "nan", "na", "none")  # spellings of an absent text


def read_dataset(entry, files):
    """Read a dataset of the registry into the canonical matrix.

    Parameters
    ----------
    entry : dict
        Registry entry: ``layout`` (scperturb, kaggle, geo or h5ad), for the sci-Plex layouts
        ``dose_factor`` ({drug: uM per dose token}), for h5ad ``columns`` ({canonical name: column
        of the file}; null means that there is none).
    files : dict of str to path-like
        ``matrix`` for the h5ad layouts; ``counts``, ``genes`` and ``cells`` for geo.

    Returns
    -------
    anndata.AnnData
        Cells x genes, as described at the top of this module.

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
    return reader(entry, {key: Path(files[key]) for key in needed})


def _read_scperturb(entry, files):
    path = files["matrix"]
    counts, obs, var = read_h5ad_parts(path)
    _require(var, ["ensembl_id"], path, "var")
    _require(obs, ["perturbation"], path, "obs")
    obs = _renamed(obs, {"ncounts": "n_counts", "perturbation": "drug", "dose_value": "dose_token"})
    obs = obs.drop(columns="ngenes", errors="ignore")
    # scPerturb calls the cells without a hash 'control'; they are not the vehicle.
    obs["drug"] = obs["drug"].astype(object).where(obs["drug"].astype(str) != "control", None)
    if "top_oligo" in obs:
        _add_wells(obs, parse_oligo(obs["top_oligo"])["well"])
    _add_dose(obs, entry, path)
    return _canonical(counts, obs, var["ensembl_id"], var.index, path)


def _read_kaggle(entry, files):
    path = files["matrix"]
    counts, obs, var = read_h5ad_parts(path)
    _require(var, ["Ensemble Id"], path, "var")
    _require(obs, ["drug", "dose"], path, "obs")
    obs = _renamed(obs, {"n.umi": "n_counts", "dose": "dose_token"})
    obs = obs.drop(columns="count genes expressed", errors="ignore")
    # The file states no unit for `dose`; its values tell a token from a concentration.
    factors = entry.get("dose_factor") or {}
    if _doses_are_um(obs["drug"], obs["dose_token"], factors):
        log.info("%s: 'dose' is taken as uM, as its values are no dose tokens", path)
        scale = pd.Series(_texts(obs["drug"])).map(factors).to_numpy(float)
        obs["dose_token"] = _to_floats(obs["dose_token"]) / scale
    _add_dose(obs, entry, path)
    return _canonical(counts, obs, var["Ensemble Id"], var.index, path)


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
    _require(cells, ["top_oligo"], files["cells"], "table")
    name = next((column for column in ("Cell", "cell") if column in cells), None)
    obs = cells.set_index(name) if name else cells
    obs.index = obs.index.astype(str)
    obs = _renamed(
        obs,
        {"n.umi": "n_counts", "qval": "qval_demultiplexing", "pval": "pval_demultiplexing"},
    )
    parsed = parse_oligo(obs["top_oligo"])
    for column in ("drug", "dose_token"):
        obs[column] = parsed[column].to_numpy()
    _add_wells(obs, parsed["well"])
    _add_dose(obs, entry, files["cells"])
    counts = _read_triplets(files["counts"], n_genes=len(genes), n_cells=len(cells))
    return _canonical(counts, obs, genes[0], genes[1], files["counts"])


def _read_h5ad(entry, files):
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
    _require(var, wanted, path, "var")
    mapped = {name: source for name, source in columns.items() if source is not None}
    _require(obs, mapped.values(), path, "obs")
    # A column that already has a canonical name stands for itself, unless mapped to null.
    replaced = {name for name, source in columns.items() if source is None} | set(mapped.values())
    renamed = obs.drop(columns=[name for name in replaced if name in obs])
    obs = renamed.assign(**{name: obs[source] for name, source in mapped.items()})
    if "dose_token" in obs and "dose_um" not in obs:
        _require(obs, ["drug"], path, "obs")
        _add_dose(obs, entry, path)
    ids = var.index if id_column == "index" else var[id_column]
    symbols = None if symbol_column is None else var.index
    if symbol_column not in (None, "index"):
        symbols = var[symbol_column]
    return _canonical(counts, obs, ids, symbols, path)


def read_h5ad_parts(path, counts="X"):
    """Read counts, obs and var of an h5ad, and nothing else of it.

    Parameters
    ----------
    path : path-like
    counts : str
        Where the raw counts lie: ``X``, ``raw`` (with its own var) or the name of a layer.

    Returns
    -------
    counts : scipy.sparse.csr_matrix, [n_cells, n_genes]
        As stored; not yet checked.
    obs, var : pandas.DataFrame

    Raises
    ------
    InputError
        If the file is no h5ad, is truncated, reaches into other files or lacks the layer.
    """
    path = Path(path)
    if not path.is_file():
        raise input_error(
            str(path),
            found="no such file",
            expected="an h5ad file",
            remedy="check the path in the dataset registry",
        )
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        raise _unreadable(path, error) from None
    with handle:
        try:
            _refuse_links(handle, path)
            missing = [part for part in ("obs", "var") if part not in handle]
            if missing or not all(isinstance(handle[part], h5py.Group) for part in ("obs", "var")):
                raise input_error(
                    str(path),
                    found="an HDF5 file without AnnData's groups obs and var",
                    expected="an h5ad file written by anndata 0.7 or newer",
                    remedy="save it again with anndata's write_h5ad",
                )
            where = {"X": "X", "raw": "raw/X"}.get(counts, f"layers/{counts}")
            if where not in handle:
                layers = sorted(handle["layers"]) if "layers" in handle else []
                there = [name for name in ("X", "raw") if name in handle] + layers
                raise input_error(
                    str(path),
                    found="matrices " + (", ".join(there) or "(none)"),
                    expected=f"the counts in {counts!r}",
                    remedy="name the one with raw counts under 'columns: counts:' in the dataset "
                    "registry",
                )
            obs = ad.io.read_elem(handle["obs"])
            var = ad.io.read_elem(handle["raw/var" if counts == "raw" else "var"])
            matrix = ad.io.read_elem(handle[where])
        except InputError:
            raise
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise _unreadable(path, error) from None
    return sp.csr_matrix(matrix), obs, var


def _unreadable(path, error):
    """Return the `InputError` for a file that HDF5 cannot read."""
    with open(path, "rb") as handle:
        start = handle.read(40)
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    if start.startswith(b"version https://git-lfs"):
        found, remedy = "a git-LFS pointer", "fetch the file itself (git lfs pull)"
    elif not h5py.is_hdf5(path):
        found = "an empty file" if not start else f"a file that starts with {start[:12]!r}"
        remedy = "give an h5ad file, or choose another layout in the dataset registry"
    else:
        found = f"a truncated or damaged HDF5 file of {path.stat().st_size:,} bytes ({first_line})"
        remedy = "delete it and download or write it again"
    return input_error(str(path), found=found, expected="an h5ad file", remedy=remedy)


def _refuse_links(group, path):
    """Raise if anything in an HDF5 file lies in another file: reading must stay in this one."""
    for name in group:
        link = group.get(name, getlink=True)
        outside = isinstance(link, h5py.ExternalLink)
        item = None if outside else group[name]
        if isinstance(item, h5py.Dataset):
            outside = bool(item.external) or item.is_virtual
        if outside:
            raise input_error(
                str(path),
                found=f"a reference to another file at {group.name.rstrip('/')}/{name}",
                expected="an h5ad file that holds its own data",
                remedy="save it again with anndata's write_h5ad",
            )
        # A soft link can point upwards: following it would never end.
        if isinstance(item, h5py.Group) and isinstance(link, h5py.HardLink):
            _refuse_links(item, path)


def _read_table(path, **options):
    with _text_of(path) as handle:
        return pd.read_csv(handle, **options)


@contextlib.contextmanager
def _text_of(path):
    """Open a text file, gzipped or not (by its content, whatever its name)."""
    try:
        with open(path, "rb") as start:
            zipped = start.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else open(path, "rb") as handle:
            yield handle
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise input_error(
            str(path),
            found=f"a file that cannot be read ({(str(error) or 'empty').splitlines()[0]})",
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


def parse_oligo(oligos):
    """Split hash names such as ``Nutlin_100_AA01``.

    Parameters
    ----------
    oligos : array-like of str or missing, [n_cells]

    Returns
    -------
    pandas.DataFrame
        Columns drug, dose_token, well (text, None where the name is missing or unlike this).
    """
    rows = []
    for oligo in np.asarray(oligos, dtype=object):
        match = OLIGO.fullmatch(oligo) if isinstance(oligo, str) else None
        rows.append(match.group("drug", "token", "well") if match else (None, None, None))
    return pd.DataFrame(rows, columns=["drug", "dose_token", "well"], dtype=object)


def replicate_of_well(wells):
    """Return the replicate of sci-Plex 2 wells, from the plate column.

    Columns 01, 04, 07, 10 are rep1; 02, 05, 08, 11 rep2; 03, 06, 09, 12 rep3.

    Parameters
    ----------
    wells : array-like of str or missing, [n_cells]

    Returns
    -------
    ndarray of object, [n_cells]
        None where the well is missing.
    """
    wells = np.asarray(wells, dtype=object)
    return np.array(
        [f"rep{(int(well[-2:]) - 1) % 3 + 1}" if isinstance(well, str) else None for well in wells],
        dtype=object,
    )


def dose_in_um(drugs, tokens, factors):
    """Return doses in uM: token times the factor of the drug.

    Parameters
    ----------
    drugs, tokens : array-like of str or missing, [n_cells]
    factors : dict of str to float
        uM per dose token.

    Returns
    -------
    ndarray of float64, [n_cells]
        NaN where drug or token is missing. Rounded to ten digits, so that 0.1 x 2.5 is 0.25.
    """
    scale = pd.Series(np.asarray(drugs, dtype=object)).map(factors).to_numpy(np.float64)
    product = _to_floats(tokens) * scale
    return np.array([float(f"{value:.10g}") for value in product], dtype=np.float64)


def _add_wells(obs, wells):
    """Add well and, as the plate's design implies, replicate to obs of sci-Plex 2, in place."""
    obs["well"] = wells.to_numpy()
    obs["replicate"] = replicate_of_well(wells)


def _doses_are_um(drugs, doses, factors):
    """Return whether doses are uM: none of the tokens, but each a token times its factor."""
    pairs = {
        (drug, float(dose))
        for drug, dose in zip(_texts(drugs), _to_floats(doses), strict=True)
        if drug in factors and not np.isnan(float(dose))
    }
    tokens = np.array([float(token) for token in DOSE_TOKENS])
    if all(np.isclose(dose, tokens).any() for _, dose in pairs):
        return False
    return all(np.isclose(dose, tokens * factors[drug]).any() for drug, dose in pairs)


def _add_dose(obs, entry, path):
    """Add dose_um and a tidy dose_token to obs that has drug and dose_token, in place."""
    if "dose_token" not in obs:
        return
    drugs = _texts(obs["drug"])
    factors = {
        str(drug): float(factor) for drug, factor in (entry.get("dose_factor") or {}).items()
    }
    unknown = sorted({drug for drug in drugs if drug is not None} - set(factors))
    if unknown:
        raise input_error(
            "dataset registry, key 'dose_factor'",
            found="factors for " + (", ".join(factors) or "no drug"),
            expected=f"one for each drug of {path}, also for " + ", ".join(unknown),
            remedy="add the uM per dose token of each drug",
        )
    # A cell without a drug has no dose, whatever its column says.
    numbers = _to_floats(obs["dose_token"])
    obs["dose_token"] = [
        None if drug is None or np.isnan(number) else f"{number:g}"
        for drug, number in zip(drugs, numbers, strict=True)
    ]
    obs["dose_um"] = dose_in_um(drugs, obs["dose_token"], factors)


def _to_floats(column):
    """Return a column as float64, NaN where it holds no number."""
    values = pd.Series(np.asarray(column, dtype=object))
    return pd.to_numeric(values, errors="coerce").to_numpy(np.float64)


def _texts(column):
    """Return a column as an object array of str, None where it is missing or says so."""
    values = pd.Series(np.asarray(column, dtype=object))
    texts = values.astype(str)
    return np.where(values.isna() | texts.str.lower().isin(MISSING), None, texts).astype(object)


def _renamed(frame, names):
    """Return `frame` with columns renamed; a column that had the new name already gives way."""
    names = {old: new for old, new in names.items() if old in frame and old != new}
    return frame.drop(columns=[new for new in names.values() if new in frame]).rename(columns=names)


def _require(frame, columns, path, what):
    missing = [column for column in columns if column not in frame]
    if missing:
        there = ", ".join(map(repr, frame.columns)) or "(none)"
        raise input_error(
            str(path),
            found=f"{what} columns {there}",
            expected=f"a column {missing[0]!r}",
            remedy="name the right column (or 'index') under 'columns:' in the dataset registry, "
            "or choose another layout",
        )


def _require_counts(counts, path):
    data = counts.data
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data):
        found = f"values of type {data.dtype}"
    elif (bad := data != np.rint(data)).any() or (bad := data < 0).any():
        found = f"normalised values such as {float(data[bad][0]):g}"
    else:
        return
    raise input_error(
        str(path),
        found=found,
        expected="raw counts (whole numbers, not negative)",
        remedy="give raw counts, or name the layer that holds them under 'columns: counts:' in the "
        "dataset registry",
    )


def _require_cells(names, path):
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        raise input_error(
            str(path),
            found=f"{len(repeated):,} cell names more than once, such as {repeated[0]!r}",
            expected="a name of its own for each cell",
            remedy="make the names unique, e.g. with anndata's obs_names_make_unique",
        )


def _require_ids(ids, is_ensembl, path):
    if not len(ids):
        raise input_error(
            str(path), found="no gene", expected="a gene per column", remedy="check the file"
        )
    share = is_ensembl.mean()
    if share < 0.5:
        example = ids[np.argmin(is_ensembl)]
        raise input_error(
            str(path),
            found=f"symbols or other names ({example!r}; {share:.0%} of {len(ids):,} gene ids are "
            "Ensembl ids)",
            expected="Ensembl gene ids such as 'ENSG00000141510'",
            remedy="name the column that has them under 'columns: ensembl_id:' in the dataset "
            "registry, or add one",
        )


def _numbers(column, name, path):
    """Return an obs column as float64; text that is no number at all is refused."""
    numbers = _to_floats(column)
    text = _texts(column)
    wrong = np.isnan(numbers) & np.array([value is not None for value in text])
    if wrong.any():
        raise input_error(
            str(path),
            found=f"{text[wrong][0]!r} in the column for {name!r}",
            expected="numbers",
            remedy=f"correct 'columns: {name}:' in the dataset registry",
        )
    return numbers


def _sum_duplicates(counts, ids, symbols):
    """Return counts, ids and symbols with one column per id, in the order of first appearance."""
    codes, unique = pd.factorize(ids)
    if len(unique) == len(ids):
        return counts, ids, symbols
    ones = np.ones(len(ids), dtype=counts.dtype)
    gather = sp.csr_matrix((ones, (np.arange(len(ids)), codes)), shape=(len(ids), len(unique)))
    first = np.unique(codes, return_index=True)[1]
    return (counts @ gather).tocsr(), ids[first], symbols[first]


def _canonical(counts, obs, ids, symbols, path):
    """Check the parts of a dataset and return the canonical matrix of this module's docstring.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, [n_cells, n_genes]
    obs : pandas.DataFrame, [n_cells]
        Canonical names where the meaning is known.
    ids : array-like of str, [n_genes]
    symbols : array-like of str, [n_genes], or None
    path : path-like
        For messages.
    """
    obs = obs.copy()
    obs.index = obs.index.astype(str)
    obs.index.name = "cell"
    _require_cells(obs.index, path)
    given_ids = np.asarray(ids, dtype=object)
    ids, is_ensembl = clean_ids(given_ids)
    _require_ids(ids, is_ensembl, path)
    symbols = ids if symbols is None else _texts(symbols)
    symbols = np.where([symbol is None for symbol in symbols], ids, symbols).astype(object)
    _require_counts(counts, path)

    counts.sum_duplicates()
    counts, ids, symbols = _sum_duplicates(counts, ids, symbols)
    counts = sp.csr_matrix(counts, dtype=np.float32)
    counts.eliminate_zeros()
    counts.sort_indices()

    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    for name in NUMBER_COLUMNS:
        if name in obs:
            obs[name] = _numbers(obs[name], name, path)
    if "n_counts" in obs:
        supplied = obs["n_counts"].to_numpy()
        if low := int((supplied < totals - 0.5).sum()):
            log.warning("%s: n_counts of %d cells is below the sum of their counts", path, low)
        obs["n_counts"] = np.where(np.isnan(supplied), totals, supplied)
    else:
        obs["n_counts"] = totals
    obs["n_genes"] = np.diff(counts.indptr).astype(np.int64)
    mito = is_mitochondrial(ids, symbols)
    if mito.any():
        in_mito = np.asarray(counts[:, mito].sum(axis=1, dtype=np.float64)).ravel()
        obs["percent_mito"] = 100 * in_mito / np.maximum(obs["n_counts"].to_numpy(), 1)

    if "drug" in obs:
        drugs = _texts(obs["drug"])
        obs["drug"] = np.where([drug is None for drug in drugs], UNASSIGNED, drugs)
    for name in obs:
        if name in TEXT_COLUMNS or obs[name].dtype == object:
            obs[name] = pd.Categorical(_texts(obs[name]))

    var = pd.DataFrame({"symbol": symbols}, index=pd.Index(ids, name="ensembl_id", dtype=object))
    log.info(
        "%s: %s cells x %s genes, %s ids summed that were there more than once",
        path,
        f"{counts.shape[0]:,}",
        f"{counts.shape[1]:,}",
        f"{len(given_ids) - len(ids):,}",
    )
    return ad.AnnData(X=counts, obs=obs, var=var)
