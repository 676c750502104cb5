"""10x, loom and zarr read to the matrix that the h5ad of the same cells gives."""

import gzip
import io
import logging

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.core.matrices import write_matrix
from keygenes.inputs.readers import read_dataset

N, G = 9, 7
COUNTS = np.random.default_rng(0).poisson(2.0, (N, G))
BARCODES = [f"AAAC{i}-1" for i in range(N)]
IDS = [f"ENSG{i:011d}.{i}" for i in range(G)]
SYMBOLS = [f"G{i}" for i in range(G)]
STATES = ["a", "b", "b"] * 3


def cells(states=True):
    obs = pd.DataFrame({"state": STATES} if states else {}, index=BARCODES)
    var = pd.DataFrame({"id": IDS}, index=SYMBOLS)
    return ad.AnnData(sp.csr_matrix(COUNTS.astype("f4")), obs=obs, var=var)


def as_h5ad(folder, states):
    cells(states).write_h5ad(folder / "m.h5ad")
    entry = {"layout": "h5ad", "columns": {"ensembl_id": "id", "symbol": "index"}}
    return read_dataset(entry, {"matrix": folder / "m.h5ad"})


def same(folder, matrix, states=False):
    """Assert that a matrix is that of the h5ad of the same cells, to the byte."""
    write_matrix(as_h5ad(folder, states), folder / "expected.h5ad")
    write_matrix(matrix, folder / "found.h5ad")
    assert (folder / "found.h5ad").read_bytes() == (folder / "expected.h5ad").read_bytes()


def refused(entry, path, *parts):
    with pytest.raises(InputError) as error:
        read_dataset(entry, path if isinstance(path, dict) else {"matrix": path}, "mine")
    assert_sentence(error, "dataset 'mine'", *parts)


H5 = {"layout": "10x_h5"}
MORE = {"names": ["CD3", "CRISPR1"], "kinds": ["Antibody Capture", "CRISPR Guide Capture"]}


def h5_of_v3(path, others=True):
    """Write what Cell Ranger 3 and later do."""
    n = len(MORE["names"]) if others else 0
    counts = sp.csr_matrix(np.column_stack([COUNTS, np.ones((N, n), int)]))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(counts, name)
        group["shape"] = np.array(counts.shape[::-1], "i4")
        group["barcodes"] = np.array(BARCODES, "S18")
        features = group.create_group("features")
        features["id"] = np.array(IDS + MORE["names"][:n], "S20")
        features["name"] = np.array(SYMBOLS + MORE["names"][:n], "S20")
        features["feature_type"] = np.array(["Gene Expression"] * G + MORE["kinds"][:n], "S24")
        features["genome"] = np.array(["GRCh38"] * G + [""] * n, "S8")
        features["_all_tag_keys"] = np.array(["genome"], "S8")
    return path


def h5_of_v2(path, *genomes):
    """Write what Cell Ranger 2 did."""
    with h5py.File(path, "w") as file:
        for genome in genomes:
            group, counts = file.create_group(genome), sp.csr_matrix(COUNTS)
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(counts, name)
            group["shape"] = np.array((G, N), "i4")
            group["barcodes"] = np.array(BARCODES, "S18")
            group["genes"], group["gene_names"] = np.array(IDS, "S20"), np.array(SYMBOLS, "S9")
    return path


def test_h5_of_10x(tmp_path, caplog):
    same(tmp_path, read_dataset(H5, {"matrix": h5_of_v3(tmp_path / "v3.h5", others=False)}))
    same(tmp_path, read_dataset(H5, {"matrix": h5_of_v2(tmp_path / "v2.h5", "GRCh38")}))
    with caplog.at_level(logging.WARNING, "keygenes"):
        same(tmp_path, read_dataset(H5, {"matrix": h5_of_v3(tmp_path / "v3.h5")}))
    for kind in MORE["kinds"]:
        assert f"1 features of the kind '{kind}'" in caplog.text


def test_h5_of_10x_with_several_genomes(tmp_path):
    path = h5_of_v2(tmp_path / "v2.h5", "GRCh38", "mm10")
    refused(H5, path, str(path), "'GRCh38', 'mm10'", "'layer:'")
    same(tmp_path, read_dataset({**H5, "layer": "mm10"}, {"matrix": path}))


@pytest.mark.slow
def test_scanpy_reads_the_same_of_10x(tmp_path):
    import scanpy

    for path in (h5_of_v3(tmp_path / "v3.h5"), h5_of_v2(tmp_path / "v2.h5", "GRCh38")):
        theirs = scanpy.read_10x_h5(path)
        np.testing.assert_array_equal(theirs.X.toarray(), COUNTS)
        assert list(theirs.var["gene_ids"]) == IDS and list(theirs.obs_names) == BARCODES
    theirs = scanpy.read_10x_mtx(folder_of(tmp_path / "v3"))
    np.testing.assert_array_equal(theirs.X.toarray(), COUNTS)


@pytest.mark.parametrize(
    ("item", "at", "value"),
    [("indices", 2, 10**9), ("indices", 2, -5), ("indptr", -1, 10**6), ("shape", 0, 10**6)],
)
def test_h5_of_10x_that_points_outside(tmp_path, item, at, value):
    path = h5_of_v3(tmp_path / "v3.h5")
    with h5py.File(path, "r+") as file:
        file[f"matrix/{item}"][at] = value
    refused(H5, path, str(path), "damaged")


def test_nothing_is_read_from_another_file(tmp_path):
    for path, entry, item in (
        (h5_of_v3(tmp_path / "v3.h5"), H5, "matrix/barcodes"),
        (loom(tmp_path / "m.loom"), {"layout": "loom"}, "col_attrs/CellID"),
    ):
        with h5py.File(path, "r+") as file:
            del file[item]
            file[item] = h5py.ExternalLink("/etc/passwd", "/x")
        refused(entry, path, str(path), "another file", item)


MTX = {"layout": "10x_mtx"}


def folder_of(folder, version=3, others=True, prefix="", zipped=None):
    """Write a folder as Cell Ranger does, its matrix with scipy."""
    folder.mkdir(exist_ok=True)
    zipped = version == 3 if zipped is None else zipped
    n = len(MORE["names"]) if others and version == 3 else 0
    stream = io.BytesIO()
    counts = np.column_stack([COUNTS, np.ones((N, n), int)])
    scipy.io.mmwrite(stream, sp.coo_matrix(counts.T), field="integer", symmetry="general")
    rows = zip(IDS, SYMBOLS, ["Gene Expression"] * G, strict=True)
    rows = [*rows, *zip(MORE["names"][:n], MORE["names"][:n], MORE["kinds"][:n], strict=True)]
    features = "".join("\t".join(row[:version]) + "\n" for row in rows)
    for name, content in {
        "matrix.mtx": stream.getvalue(),
        "barcodes.tsv": "\n".join(BARCODES).encode() + b"\n",
        "features.tsv" if version == 3 else "genes.tsv": features.encode(),
    }.items():
        content = gzip.compress(content) if zipped else content
        (folder / f"{prefix}{name}{'.gz' if zipped else ''}").write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("prefix", ["", "GSM1_sample_"])
@pytest.mark.parametrize("version", [2, 3])
def test_folders_of_10x(tmp_path, caplog, version, prefix, zipped):
    folder = folder_of(tmp_path / "f", version, prefix=prefix, zipped=zipped)
    with caplog.at_level(logging.WARNING, "keygenes"):
        same(tmp_path, read_dataset(MTX, {"matrix": folder}))
    assert ("CRISPR Guide Capture" in caplog.text) == (version == 3)


def test_the_three_files_of_10x(tmp_path):
    folder = folder_of(tmp_path / "f")
    files = {p: folder / f"{p}.tsv.gz" for p in ("barcodes", "features")}
    files["matrix"] = folder / "matrix.mtx.gz"
    same(tmp_path, read_dataset(MTX, files))
    refused(MTX, files["matrix"], "'barcodes'")


def test_folders_of_10x_that_are_not_of_one_sample(tmp_path):
    folder = folder_of(tmp_path / "f", prefix="a_")
    folder_of(folder, prefix="b_")
    refused(MTX, folder, str(folder), "a_matrix.mtx.gz, b_matrix.mtx.gz")
    folder = folder_of(tmp_path / "g", zipped=False)
    (folder / "features.tsv").unlink()
    refused(MTX, folder, str(folder), "features.tsv")
    (tmp_path / "nested").mkdir()
    folder_of(tmp_path / "nested" / "GRCh38")
    refused(MTX, tmp_path / "nested", "GRCh38")


@pytest.mark.parametrize("part", ["barcodes.tsv", "features.tsv"])
def test_folders_of_10x_with_a_line_more_or_less(tmp_path, part):
    folder = folder_of(tmp_path / "f", zipped=False)
    text = (folder / part).read_text()
    for changed in (text + text.splitlines()[0].replace("0", "9") + "\n", text.split("\n", 1)[1]):
        (folder / part).write_text(changed)
        refused(MTX, folder, f"{G + 2} x {N}", "cells")


def test_a_header_of_features_is_no_gene(tmp_path):
    folder = folder_of(tmp_path / "f", zipped=False)
    text = (folder / "features.tsv").read_text()
    (folder / "features.tsv").write_text("gene_id\tgene_name\tfeature_type\n" + text)
    same(tmp_path, read_dataset(MTX, {"matrix": folder}))


@pytest.mark.slow
def test_a_folder_of_10x_without_genes_or_with_a_bomb(tmp_path):
    folder = folder_of(tmp_path / "f", zipped=False)
    text = (folder / "features.tsv").read_text()
    (folder / "features.tsv").write_text(text.replace("Gene Expression", "Peaks"))
    refused(MTX, folder, "'Peaks'")
    (folder / "matrix.mtx").write_bytes(gzip.compress(b"%%MatrixMarket\n" + bytes(1 << 27)))
    refused(MTX, folder, "cannot be read")


def loom(path, layers=None, **more):
    """Write a file as the loom specification has it: genes x cells."""
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=COUNTS.T, chunks=(2, 2), compression="gzip")
        file.create_group("layers")
        for name, values in (layers or {}).items():
            file["layers"][name] = values
        text = h5py.string_dtype()
        rows = {"Gene": np.array(SYMBOLS, object), "Accession": np.array(IDS, object)}
        columns = {"CellID": np.array(BARCODES, object), "state": np.array(STATES, object)}
        for part, attributes in (("row_attrs", rows), ("col_attrs", {**columns, **more})):
            for name, values in attributes.items():
                options = {"dtype": text} if values.dtype == object else {}
                file.create_dataset(f"{part}/{name}", data=values, **options)
        for name in ("row_graphs", "col_graphs", "attrs"):
            file.create_group(name)
    return path


LOOM = {"layout": "loom"}


def test_loom(tmp_path, caplog):
    same(tmp_path, read_dataset(LOOM, {"matrix": loom(tmp_path / "m.loom")}), states=True)
    path = loom(tmp_path / "m.loom", **{"tSNE": np.zeros((N, 2)), "G1 S": np.arange(N)})
    with caplog.at_level(logging.WARNING, "keygenes"):
        obs = read_dataset(LOOM, {"matrix": path}).obs
    assert "tSNE" not in obs and "'tSNE'" in caplog.text and list(obs["G1 S"]) == list(range(N))


def test_loom_layers_and_columns(tmp_path):
    path = loom(tmp_path / "m.loom", {"spliced": COUNTS.T, "logs": np.log1p(COUNTS.T)})
    same(tmp_path, read_dataset({**LOOM, "layer": "spliced"}, {"matrix": path}), states=True)
    refused({**LOOM, "layer": "logs"}, path, str(path), "normalised")
    refused({**LOOM, "layer": "umis"}, path, str(path), "'spliced'", "'layer:'")
    columns = {"ensembl_id": "Accession", "drug": "state"}
    assert list(read_dataset({**LOOM, "columns": columns}, {"matrix": path}).obs["drug"]) == STATES
    refused({**LOOM, "columns": {"ensembl_id": "ids"}}, path, "'ids'", "'Accession'")


def test_loom_without_names(tmp_path):
    for item, part in (("col_attrs/CellID", "CellID"), ("row_attrs/Accession", "'Accession'")):
        path = loom(tmp_path / "m.loom")
        with h5py.File(path, "r+") as file:
            del file[item]
        refused(LOOM, path, str(path), part)


ZARR = {"layout": "zarr", "columns": {"ensembl_id": "id", "symbol": "index"}}


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("version", [2, 3])
def test_zarr(tmp_path, version, dense):
    adata = cells()
    if dense:
        adata.X = adata.X.toarray()
    with ad.settings.override(zarr_write_format=version):
        adata.write_zarr(tmp_path / "m.zarr")
    same(tmp_path, read_dataset(ZARR, {"matrix": tmp_path / "m.zarr"}), states=True)


def test_zarr_in_blocks_and_shards(tmp_path):
    blocks = {"chunks": (2,), "shards": (4,)}
    with ad.settings.override(zarr_write_format=3):
        cells().write_zarr(tmp_path / "m.zarr")
        import zarr

        root = zarr.open_group(tmp_path / "m.zarr", mode="r+", use_consolidated=False)
        ad.io.write_elem(root, "obs/state", np.array(STATES, object), dataset_kwargs=blocks)
    same(tmp_path, read_dataset(ZARR, {"matrix": tmp_path / "m.zarr"}), states=True)


@pytest.mark.slow
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_places_of_counts(tmp_path, version):
    adata = cells()
    adata.layers["umis"], adata.X = adata.X.copy(), np.log1p(COUNTS)
    with ad.settings.override(zarr_write_format=version):
        adata.write_zarr(tmp_path / "m.zarr")
        refused(ZARR, tmp_path / "m.zarr", "'layer: umis'")
        found = read_dataset({**ZARR, "layer": "umis"}, {"matrix": tmp_path / "m.zarr"})
        same(tmp_path, found, states=True)
        adata.X = None
        adata.write_zarr(tmp_path / "n.zarr")
    same(tmp_path, read_dataset(ZARR, {"matrix": tmp_path / "n.zarr"}), states=True)


def table_of_cells(path, separator=",", row_names=True, names=BARCODES):
    rows = [(name, STATES[i], i / 2) for i, name in enumerate(names)]
    header = ("state", "score") if row_names else ("barcode", "state", "score")
    lines = [header, *reversed(rows)]
    path.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("row_names", [False, True])
@pytest.mark.parametrize("separator", [",", "\t", " ", ";"])
def test_a_table_of_cells_adds_columns(tmp_path, separator, row_names):
    files = {"matrix": h5_of_v3(tmp_path / "v3.h5", others=False)}
    files["cells"] = table_of_cells(tmp_path / "cells.csv", separator, row_names)
    obs = read_dataset({**H5, "columns": {"drug": "state"}}, files).obs
    assert list(obs["drug"]) == STATES and list(obs["score"]) == [i / 2 for i in range(N)]
    files = {"matrix": folder_of(tmp_path / "f"), "cells": files["cells"]}
    assert list(read_dataset(MTX, files).obs["state"]) == STATES


def test_a_table_of_some_cells_or_of_others(tmp_path, caplog):
    files = {"matrix": h5_of_v3(tmp_path / "v3.h5"), "cells": tmp_path / "cells.csv"}
    table_of_cells(files["cells"], names=[*BARCODES[:-1], "other"])
    with caplog.at_level(logging.WARNING, "keygenes"):
        obs = read_dataset(H5, files).obs
    assert list(obs["state"][:-1]) == STATES[:-1] and obs["state"].isna().sum() == 1
    assert "1 cells have no line" in caplog.text and "1 lines of other cells" in caplog.text
    table_of_cells(files["cells"], names=[name.removesuffix("-1") for name in BARCODES])
    refused(H5, files, str(files["cells"]), BARCODES[0])
    table_of_cells(files["cells"], names=[*BARCODES[:-1], BARCODES[0]])
    refused(H5, files, str(files["cells"]), BARCODES[0], "several lines")
