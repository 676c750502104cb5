"""The parts of what Cell Ranger writes, version 2 and later: an .h5 file, or a folder of text."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import input_error
from keygenes.inputs.anndata_parts import as_native
from keygenes.inputs.formats import format_of
from keygenes.inputs.frames import as_texts
from keygenes.inputs.hdf5 import opened, require_readable
from keygenes.inputs.text_tables import fields_of, first_lines, read_annotation, read_table
from keygenes.inputs.triplets import read_triplets

log = logging.getLogger("keygenes")

GENES = "Gene Expression"
PARTS = {  # of a folder, newer names first
    "matrix": ("matrix.mtx",),
    "barcodes": ("barcodes.tsv",),
    "features": ("features.tsv", "genes.tsv"),
}


def read_10x_h5_parts(path, layer=None):
    """Read counts, obs and var of an .h5 file of Cell Ranger: genes alone, no other features.

    Parameters
    ----------
    path : path-like
    layer : str, optional
        In a file of version 2 with several genomes, the one to take.

    Returns
    -------
    counts : scipy.sparse.csr_matrix, [n_cells, n_genes]
    obs : pandas.DataFrame
        Indexed by barcode, no columns.
    var : pandas.DataFrame
        Columns gene_ids and gene_names.
    """
    with opened(path, "10x_h5") as root:
        group = _group(root, layer, path)
        v3 = "features" in group
        features = group["features"] if v3 else group
        named = {"gene_ids": "id", "gene_names": "name", "kind": "feature_type"}
        if not v3:
            named = {"gene_ids": "genes", "gene_names": "gene_names"}
        sparse = [group[name] for name in ("data", "indices", "indptr", "shape")]
        columns = {name: features[at] for name, at in named.items() if at in features}
        require_readable([*sparse, *columns.values(), group["barcodes"]], path)
        data, indices, indptr, shape = (as_native(item[()]) for item in sparse)
        shape = tuple(int(n) for n in shape)[::-1]
        counts = sp.csr_matrix((data, indices, indptr), shape=shape)
        counts.check_format(full_check=True)  # SciPy believes indices, and writes where they point
        var = pd.DataFrame({name: as_texts(item[()]) for name, item in columns.items()})
        obs = pd.DataFrame(index=pd.Index(as_texts(group["barcodes"][()]), dtype=object))
        if counts.shape != (len(obs), len(var)):
            raise ValueError(f"a matrix of {shape} for {len(obs)} barcodes, {len(var)} features")
    return _genes_alone(counts, obs, var, path)


def _group(root, layer, path):
    if "matrix" in root:
        genomes = {"matrix": root["matrix"]}
    else:
        genomes = {name: root[name] for name in root if "barcodes" in root[name]}
    if layer is None and len(genomes) == 1:
        return next(iter(genomes.values()))
    if layer not in genomes:
        raise input_error(
            str(path),
            found="matrices " + ", ".join(map(repr, genomes)),
            expected="one of them" if layer is None else f"the counts in {layer!r}",
            remedy="name the one to take under 'layer:' in the registry entry",
        )
    return genomes[layer]


def parts_of_folder(folder):
    """Return {matrix, barcodes, features: path} of a folder of Cell Ranger.

    Raises
    ------
    InputError
        If one is missing, or several could be it.
    """
    folder, found = Path(folder), {}
    for part, names in PARTS.items():
        ends = tuple(end for name in names for end in (name, f"{name}.gz"))
        there = sorted(path for path in folder.iterdir() if path.name.endswith(ends))
        exact = [path for path in there if path.name in ends]
        of_one = exact or there  # GEO puts the sample before the name
        if len({path.name.removesuffix(".gz") for path in of_one}) != 1:
            found_in = format_of(folder)
            if part == "matrix" and not there and found_in.layout != "10x_mtx":
                raise found_in.error(folder, "10x_mtx")
            raise input_error(
                str(folder),
                found=", ".join(path.name for path in of_one) or f"no {names[0]}",
                expected="one file that ends in " + " or ".join(names) + ", gzipped or not",
                remedy="give the folder of one sample, or name its three files: matrix, barcodes "
                "and features",
            )
        found[part] = of_one[0]
    return found


def read_10x_mtx_parts(files):
    """Read counts, obs and var of the three text files of Cell Ranger: genes alone.

    Parameters
    ----------
    files : dict
        ``matrix``: a folder, or the file in it; then also ``barcodes`` and ``features``.

    Returns
    -------
    As `read_10x_h5_parts`.
    """
    matrix = Path(files["matrix"])
    if matrix.is_dir():
        files = parts_of_folder(matrix)
    elif (found := format_of(matrix)).layout != "10x_mtx":
        raise found.error(matrix, "10x_mtx")
    elif missing := [part for part in ("barcodes", "features") if part not in files]:
        raise input_error(
            str(matrix),
            found=f"no file '{missing[0]}' beside it in the registry entry",
            expected="the folder, or the files matrix, barcodes and features",
            remedy=f"add the file {missing[0]!r} to the entry, or give the folder",
        )
    features = _features(files["features"])
    barcodes = read_table(files["barcodes"], header=None, dtype=str, na_filter=False, sep="\t")
    counts = read_triplets(files["matrix"], n_genes=len(features), n_cells=len(barcodes))
    obs = pd.DataFrame(index=pd.Index(barcodes[0].to_numpy(), dtype=object))
    return _genes_alone(counts, obs, features, files["matrix"])


def _features(path):
    if len(fields_of(first_lines(path), "\t")[0]) == 1:  # a list of ids
        ids = read_table(path, header=None, dtype=str, na_filter=False, sep="\t")[0]
        return pd.DataFrame({"gene_ids": ids, "gene_names": ids})
    table = read_annotation(path)
    kinds = [name for name in table if table[name].isin([GENES]).any()]
    columns = {"gene_ids": table["id"], "gene_names": table["symbol"]}
    if kinds or 2 in table:
        columns["kind"] = table[kinds[0] if kinds else 2]
    return pd.DataFrame(columns)


def _genes_alone(counts, obs, var, path):
    """Return the parts without features that are no genes; the log counts those."""
    if "kind" not in var:
        return counts, obs, var
    genes = (var["kind"] == GENES).to_numpy()
    others = var.loc[~genes, "kind"].value_counts()
    if not genes.any():
        raise input_error(
            str(path),
            found="features of the kinds " + ", ".join(map(repr, others.index)),
            expected=f"some of the kind {GENES!r}",
            remedy="give the matrix of genes",
        )
    for kind, n in others.items():
        log.warning("%s: %d features of the kind %r are left out", path, n, kind)
    return counts[:, np.flatnonzero(genes)], obs, var[genes].drop(columns="kind")
