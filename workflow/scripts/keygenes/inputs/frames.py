"""obs and var as AnnData stores them, column by column: what cannot be used is left out, and named.

Works on the groups of h5py and zarr alike, and on the records that anndata wrote before 0.7.
"""

import logging

import anndata as ad
import numpy as np
import pandas as pd

from keygenes.core.errors import input_error
from keygenes.core.shown import LONGEST_ID, printable, shortened, unfit_name

log = logging.getLogger("keygenes")

TAKEN = {"cell": "the name of the index here", "_index": "a name that AnnData keeps for itself"}
KINDS = "biuf"  # numbers that any AnnData can store
MOST_COLUMNS = 4000  # whose names fit into an attribute of HDF5


def is_group(item):
    """Return whether an item of h5py or zarr is a group."""
    return hasattr(item, "keys")


def attribute(item, name, default=None):
    """Return an attribute as plain text or numbers, whoever wrote it."""
    value = item.attrs.get(name, default)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, np.ndarray)) and getattr(value, "ndim", 1) == 1:
        return [part.decode() if isinstance(part, bytes) else part for part in value]
    return value


def column_names(frame):
    """Return the name of the index of a stored frame and those of its columns."""
    if not is_group(frame):  # before anndata 0.7: records, of which the first is the index
        index, *names = frame.dtype.names
        return index, names
    names, index = attribute(frame, "column-order"), attribute(frame, "_index")
    if not isinstance(index, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"no names of columns at {frame.name}")
    return index, names


def unusable(name):
    """Return why a column of this name cannot be kept, else None."""
    if unfit := unfit_name([name]):
        return unfit[1]
    if not name.strip(". "):
        return "one without a letter"
    if "/" in name:
        return "one with a slash, which HDF5 takes for a folder"
    return TAKEN.get(name)


def usable_columns(names, path, what):
    """Return the names of columns that can be kept; the others are named in the log.

    Parameters
    ----------
    names : sequence of str
    path : path-like
    what : str
        obs or var.

    Returns
    -------
    kept : list of str
    left_out : dict of str to str
        Name of each other column, and why.
    """
    kept, left_out = {}, {}
    for name in names:
        if reason := unusable(name):
            left_out[name] = f"its name is {reason}"
        elif name in kept:
            left_out[name] = "its name is there twice"
        elif len(kept) == MOST_COLUMNS:
            left_out[name] = f"{MOST_COLUMNS:,} columns are kept at most"
        else:
            kept[name] = None
    for name, reason in left_out.items():
        _warn(path, what, name, reason)
    return list(kept), left_out


def _warn(path, what, name, reason):
    shown = shortened(printable(name), 60)
    log.warning("%s: column %r of %s is left out, as %s", path, shown, what, reason)


def usable_frame(frame, path, what):
    """Return a frame without the columns that cannot be kept, which `attrs['left_out']` names."""
    frame.columns = frame.columns.map(str)
    kept, left_out = usable_columns(list(frame.columns), path, what)
    frame = frame.loc[:, ~frame.columns.duplicated()][kept].copy()
    for name in kept:
        if reason := _unfit(frame[name]):
            left_out[name] = reason
            _warn(path, what, name, reason)
            frame = frame.drop(columns=name)
    frame.attrs["left_out"] = left_out
    return frame


def _unfit(values):
    """Return why the values of a column cannot be kept, else None."""
    dtype = getattr(values, "dtype", None)
    if getattr(values, "ndim", 1) != 1:
        return "it has several values per row"
    if isinstance(dtype, np.dtype) and dtype.kind not in KINDS + "OUST":
        return f"it has values of type {dtype}"
    texts = getattr(dtype, "categories", values if getattr(dtype, "kind", "") == "O" else ())
    if any(isinstance(text, str) and "\0" in text for text in texts):
        return "it has texts with the character NUL"
    return None


def require_usable(frame, columns, path, what):
    """Raise an `InputError` if a column that is asked for was left out."""
    left_out = frame.attrs.get("left_out", {})
    for name in columns:
        if name in left_out:
            raise input_error(
                str(path),
                found=f"the column {shortened(printable(name), 60)!r} of {what}, and "
                f"{left_out[name]}",
                expected=f"columns of one value per row, with names of at most {LONGEST_ID} "
                "characters that can be seen, and no slash",
                remedy="rename or mend the column in the file, or leave it out of 'columns:'",
            )


def stored_columns(frame):
    """Return the items of an h5py or zarr frame that `read_frame` reads."""
    if not is_group(frame):
        return [frame]
    index, names = column_names(frame)
    items = [frame[name] for name in names if not unusable(name)]
    if isinstance(index, str) and "/" in index:
        raise ValueError(f"an index of {frame.name} that lies elsewhere")
    legacy = [frame["__categories"]] if "__categories" in frame else []
    return [*items, frame[index], *legacy]


def read_frame(frame, path, what, uns=None):
    """Return a stored data frame: every column that can be kept, and why others are not.

    Parameters
    ----------
    frame : h5py or zarr group, or h5py dataset of records
    path : path-like
    what : str
        obs or var.
    uns : h5py group, optional
        Where anndata before 0.7 kept categories.

    Returns
    -------
    pandas.DataFrame
        ``attrs["left_out"]`` is {name: reason}.
    """
    if not is_group(frame):
        return usable_frame(_records(frame, uns), path, what)
    index, names = column_names(frame)
    kept, left_out = usable_columns(names, path, what)
    labels = as_texts(np.atleast_1d(np.asarray(_values(frame[index], frame))))
    columns = {}
    for name in kept:
        values = _values(frame[name], frame)
        if reason := _unfit(values):
            left_out[name] = reason
            _warn(path, what, name, reason)
        else:
            columns[name] = values
    table = pd.DataFrame(columns, index=pd.Index(labels, dtype=object))
    table.attrs["left_out"] = left_out
    return table


def _values(item, frame):
    """Return the values of a stored column."""
    if _encoding(item) in (("categorical", "0.2.0"), ("categorical", None)):
        categories, ordered = item["categories"], item.attrs.get("ordered", False)
        return _categorical(item["codes"], categories, ordered)
    if not is_group(item) and (at := item.attrs.get("categories")) is not None:  # anndata 0.7
        categories = frame["__categories"][at.split("/")[-1]] if isinstance(at, str) else None
        categories = item.parent[at] if categories is None else categories
        return _categorical(item, categories, categories.attrs.get("ordered", False))
    values = ad.io.read_elem(item)
    return as_texts(np.atleast_1d(values)) if isinstance(values, (str, np.ndarray)) else values


def _encoding(item):
    return attribute(item, "encoding-type"), attribute(item, "encoding-version")


def _categorical(codes, categories, ordered):
    codes = np.atleast_1d(np.asarray(ad.io.read_elem(codes))).astype(np.int64)
    categories = ad.io.read_elem(categories)
    categories = pd.Index(as_texts(np.atleast_1d(np.asarray(categories, dtype=None))))
    if categories.dtype == object or isinstance(categories.dtype, pd.StringDtype):
        categories = categories.astype(object)
    if missing := np.flatnonzero(categories.isna()).tolist():  # as R writes a factor with NA in it
        codes = np.where(np.isin(codes, missing), -1, codes)
        kept = np.flatnonzero(categories.notna())
        codes = np.where(codes < 0, codes, np.searchsorted(kept, codes))
        categories = categories[kept]
    return pd.Categorical.from_codes(codes, categories, ordered=bool(ordered))


def as_texts(values):
    """Return an array of bytes as one of texts, and numbers of any byte order in that of here."""
    values = np.asarray(values)
    if values.dtype.kind == "S":
        return np.array([value.decode() for value in values.ravel()], object).reshape(values.shape)
    if values.dtype.kind == "T":  # texts of numpy, as zarr has them
        return values.astype(object)
    if values.dtype.kind == "O":
        decoded = [v.decode() if isinstance(v, bytes) else v for v in values.ravel()]
        return np.array(decoded, dtype=object).reshape(values.shape)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def read_attributes(group, n, path, what, require_readable):
    """Return the attributes of a loom file with a value per row or column as a data frame.

    Parameters
    ----------
    group : h5py.Group
    n : int
        Values that each must have.
    path : path-like
    what : str
        For messages.
    require_readable : callable
        Takes a list of items and `path`; raises an `InputError` if they cannot be read.
    """
    kept, left_out = usable_columns(list(group), path, what)
    columns = {}
    for name in kept:
        item = group[name]
        if is_group(item) or item.shape != (n,):
            left_out[name] = "it has no value per row"
            _warn(path, what, name, left_out[name])
            continue
        require_readable([item], path)
        values = as_texts(item[()])
        if reason := _unfit(values):
            left_out[name] = reason
            _warn(path, what, name, reason)
        else:
            columns[name] = values
    table = pd.DataFrame(columns, index=pd.RangeIndex(n))
    table.attrs["left_out"] = left_out
    return table


def _records(dataset, uns):
    """Return the frame that anndata before 0.7 stored as records."""
    records = dataset[()]
    index, *names = records.dtype.names
    table = pd.DataFrame(
        {name: as_texts(records[name]) for name in names},
        index=pd.Index(as_texts(records[index]), dtype=object),
    )
    for name in names:
        if uns is not None and f"{name}_categories" in uns:
            categories = uns[f"{name}_categories"]
            if categories.size * categories.dtype.itemsize > 1 << 26:
                raise ValueError(f"more categories at {categories.name} than a column has")
            categories = as_texts(np.atleast_1d(ad.io.read_elem(categories)))
            table[name] = pd.Categorical.from_codes(table[name].astype(int), categories)
    return table
