"""Sound files with something odd: read, or what is odd is named, and never called damaged."""

import gzip
import logging
import shutil

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.inputs.frames import usable_frame
from keygenes.inputs.readers import read_dataset

N, G = 12, 8
COUNTS = np.random.default_rng(0).poisson(2.0, (N, G)).astype(np.float32)
ENTRY = {"layout": "h5ad", "columns": {"ensembl_id": "ensembl_id", "symbol": "index"}}


def cells():
    obs = pd.DataFrame({"state": ["a", "b"] * (N // 2)}, index=[f"c{i}" for i in range(N)])
    index = [f"G{i}" for i in range(G)]
    var = pd.DataFrame({"ensembl_id": [f"ENSG{i:011d}" for i in range(G)]}, index=index)
    return ad.AnnData(sp.csr_matrix(COUNTS), obs=obs, var=var)


@pytest.fixture
def path(tmp_path):
    cells().write_h5ad(tmp_path / "m.h5ad")
    return tmp_path / "m.h5ad"


def read(path, **entry):
    return read_dataset({**ENTRY, **entry}, {"matrix": path})


def refused(path, *parts, **entry):
    with pytest.raises(InputError) as error:
        read(path, **entry)
    assert_sentence(error, str(path), *parts)
    assert "damaged" not in str(error.value) and "download" not in str(error.value)
    return str(error.value)


def read_and_written(path, **entry):
    """Return a matrix as it is after it was written and read again."""
    matrix = read(path, **entry)
    write_matrix(matrix.copy(), path.with_name("out.h5ad"))
    again = read_matrix(path.with_name("out.h5ad"))
    np.testing.assert_array_equal(again.X.toarray(), COUNTS)
    assert list(again.obs_names) == [f"c{i}" for i in range(N)]
    return again


def add_column(path, name, values, **attributes):
    with h5py.File(path, "r+") as file:
        frame = file["obs"]
        frame.create_dataset(name, data=values)
        kind = {"encoding-type": "array", "encoding-version": "0.2.0"}
        frame[name].attrs.update({**kind, **attributes})
        frame.attrs["column-order"] = np.array([*frame.attrs["column-order"], name], object)


NAMES = ["cell", "_index", "G1/S", "/chain/x", "a\nb", "x" * 230, "...", "a\u202eb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_whose_name_cannot_be_kept(path, caplog, name):
    if name == "_index":
        with h5py.File(path, "r+") as file:
            file["obs"].move("_index", "barcode")
            file["obs"].attrs["_index"] = "barcode"
    if name == "...":
        with h5py.File(path, "r+") as file:  # HDF5 has no item of this name, but names are free
            file["obs"].attrs["column-order"] = np.array(["state", name], object)
    else:
        add_column(path, name, np.arange(N))
    with caplog.at_level(logging.WARNING, "keygenes"):
        assert set(read_and_written(path).obs) == {"state", "n_counts", "n_genes"}
    assert "left out" in caplog.text and str(path) in caplog.text
    message = refused(path, "'columns:'", columns={**ENTRY["columns"], "well": name})
    assert name[:20].split("\n")[0].split("\u202e")[0] in message


VALUES = {
    "complex": np.zeros(N, "c16"),
    "records": np.zeros(N, [("a", "f4"), ("b", "f4")]),
    "pairs": np.zeros((N, 2)),
    "texts with NUL": np.array([b"a\0b"] * N, "S3"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_column_whose_values_cannot_be_kept(path, caplog, case):
    kind = "rec-array" if case == "records" else "array"
    add_column(path, "odd", VALUES[case], **{"encoding-type": kind})
    with caplog.at_level(logging.WARNING, "keygenes"):
        assert set(read_and_written(path).obs) == {"state", "n_counts", "n_genes"}
    assert "'odd'" in caplog.text and "left out" in caplog.text
    refused(path, "'odd'", "'columns:'", columns={**ENTRY["columns"], "well": "odd"})


@pytest.mark.parametrize("dtype", ["f2", ">f8", ">i2", "u8", "?", "S2"])
def test_a_column_of_any_type(path, dtype):
    values = np.arange(N).astype(dtype)
    add_column(path, "odd", values)
    found = read_and_written(path).obs["odd"]
    expected = [value.decode() if dtype == "S2" else value for value in values]
    assert list(found) == expected


def test_more_columns_than_an_h5ad_takes(path, caplog):
    obs = pd.DataFrame(np.zeros((N, 4200)), index=[f"c{i}" for i in range(N)])
    cells = usable_frame(obs, path, "obs")
    assert cells.shape == (N, 4000) and "4,000" in caplog.text
    with h5py.File(path, "w") as file:  # what the limit is for
        file.attrs["column-order"] = np.array(cells.columns, object)


def test_categories_of_every_kind(path):
    adata = cells()
    adata.obs["missing"] = pd.Categorical([None, "x"] * (N // 2), ["unused", "x"])
    adata.obs["none"] = pd.Categorical([None] * N, ["x"])
    adata.obs["numbers"] = pd.Categorical([3, 1] * (N // 2))
    adata.obs["flags"] = pd.Categorical([True, False] * (N // 2))
    adata.obs["whole"] = pd.array([1, None] * (N // 2), dtype="Int64")
    adata.obs["truth"] = pd.array([True, None] * (N // 2), dtype="boolean")
    adata.write_h5ad(path)
    obs = read_and_written(path).obs
    assert obs["missing"].isna().sum() == N // 2 and set(obs["missing"].dropna()) == {"x"}
    assert obs["none"].isna().all()
    assert list(obs["numbers"])[:2] == ["3", "1"]
    assert list(obs["flags"])[:2] == ["True", "False"]
    assert obs["whole"].isna().sum() == obs["truth"].isna().sum() == N // 2


def test_a_category_that_is_missing_itself(path):
    with h5py.File(path, "r+") as file:
        del file["obs/state"]
        group = file["obs"].create_group("state")
        kind = {"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False}
        group.attrs.update(kind)
        ad.io.write_elem(group, "codes", np.array([0, 1, 2, -1] * (N // 4), "i1"))
        ad.io.write_elem(group, "categories", np.array([1.5, np.nan, 2.5]))
    states = read_and_written(path).obs["state"].astype(object)
    assert list(states[:3:2]) == ["1.5", "2.5"] and states[1:4:2].isna().all()


def test_categories_of_anndata_0_7(path):
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        obs.attrs["encoding-version"] = "0.1.0"
        del obs["state"]
        categories = obs.create_group("__categories").create_dataset(
            "state", data=np.array(["a", "b"], object), dtype=h5py.string_dtype()
        )
        categories.attrs["ordered"] = False
        obs["state"] = np.array([0, 1] * (N // 2), "i1")
        obs["state"].attrs["categories"] = categories.ref
    assert list(ad.read_h5ad(path).obs["state"]) == ["a", "b"] * (N // 2)
    assert list(read_and_written(path).obs["state"]) == ["a", "b"] * (N // 2)


def test_records_of_anndata_before_0_7(path):
    with h5py.File(path, "w") as file:
        obs = np.array([(f"c{i}", i % 2) for i in range(N)], [("index", "S4"), ("state", "i1")])
        var = np.array(
            [(f"G{i}", f"ENSG{i:011d}") for i in range(G)],
            [("index", "S4"), ("ensembl_id", "S16")],
        )
        file["obs"], file["var"], file["uns/state_categories"] = obs, var, np.array([b"a", b"b"])
        matrix = sp.csr_matrix(COUNTS)
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", matrix.shape
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
    assert list(ad.read_h5ad(path).obs["state"]) == ["a", "b"] * (N // 2)
    assert list(read_and_written(path).obs["state"]) == ["a", "b"] * (N // 2)


def test_an_unknown_encoding_is_named(path):
    with h5py.File(path, "r+") as file:
        file["obs/state"].attrs["encoding-version"] = "99"
    refused(path, "this version of anndata does not know", "99")


FILTERS = {
    "zstd": (hdf5plugin.Zstd(), 32015),
    "blosc": (hdf5plugin.Blosc(), 32001),
    "blosc2": (hdf5plugin.Blosc2(), 32026),
    "lz4": (hdf5plugin.LZ4(), 32004),
    "bzip2": (hdf5plugin.BZip2(), 307),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_that_a_package_brings(path, name):
    with h5py.File(path, "r+") as file:
        ad.io.write_elem(file, "X", sp.csr_matrix(COUNTS), dataset_kwargs=dict(FILTERS[name][0]))
        plan = file["X/data"].id.get_create_plist()
        assert plan.get_filter(plan.get_nfilters() - 1)[0] == FILTERS[name][1]
    read_and_written(path)


def filtered(path, code, name=b""):
    """Store values as if a filter had packed them."""
    with h5py.File(path, "r+") as file:
        values, attributes = file["X/data"][:], dict(file["X/data"].attrs)
        del file["X/data"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((len(values),))
        plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (3,))
        space = h5py.h5s.create_simple(values.shape)
        made = h5py.h5d.create(file["X"].id, b"data", h5py.h5t.py_create(values.dtype), space, plan)
        made.write_direct_chunk((0,), values.tobytes())
        file["X/data"].attrs.update(attributes)


@pytest.mark.parametrize("code", [32015, 32999])
def test_values_that_no_filter_unpacks(path, code):
    filtered(path, code)
    refused(path, str(code), "/X/data", "gzip")


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("dtype", ["f2", ">f4", ">i8", "u1", "i8", "f8"])
def test_numbers_of_any_type(path, dtype, dense):
    adata = cells()
    if dense:
        adata.X = COUNTS
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        name = "X" if dense else "X/data"
        values, attributes = file[name][:], dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=values.astype(dtype)).attrs.update(attributes)
    read_and_written(path)


def without_x(path, **places):
    adata = cells()
    if "raw" in places:
        raw = cells()
        raw.X = places.pop("raw")
        adata.raw = raw
    for name, values in places.items():
        adata.layers[name] = values
    adata.X = None
    adata.write_h5ad(path)


LOGS = np.log1p(COUNTS)


@pytest.mark.parametrize("place", ["raw", "counts"])
def test_no_x_and_counts_in_one_place_alone(path, caplog, place):
    without_x(path, **{"logs": LOGS, place: sp.csr_matrix(COUNTS)})
    with caplog.at_level(logging.WARNING, "keygenes"):
        read_and_written(path)
    assert "X is empty" in caplog.text and f"'{place}'" in caplog.text


def test_no_x_and_counts_in_two_places_or_none(path):
    without_x(path, spliced=COUNTS, unspliced=COUNTS, logs=LOGS)
    refused(path, "'layer:'", "of whole numbers 'spliced', 'unspliced'")
    read_and_written(path, layer="spliced")
    without_x(path, logs=LOGS)
    refused(path, "'layer:'", "'logs'", "of whole numbers (none)")


@pytest.mark.parametrize("place", ["raw", "counts"])
def test_a_normalised_x_names_the_place_of_the_counts(path, place):
    without_x(path, **{place: sp.csr_matrix(COUNTS)})
    adata = ad.read_h5ad(path)
    adata.X = LOGS
    adata.write_h5ad(path)
    refused(path, f"'layer: {place}'")
    refused(path, f"'layer: {place}'", counts={"round": True})  # not what rounding is for
    read_and_written(path, layer=place)
    read_and_written(path, columns={**ENTRY["columns"], "counts": place})
    with pytest.raises(InputError, match="'columns: counts:'"):
        read(path, layer=place, columns={"counts": "X"})


def with_values(path, values):
    adata = cells()
    adata.X = sp.csr_matrix(values)
    adata.write_h5ad(path)


def test_counts_a_hair_off(path, caplog):
    with_values(path, COUNTS * np.float32(1.0003))
    message = refused(path, "near whole numbers", "'counts: {round: true}'")
    worst = float(COUNTS.max()) * 1.0003
    assert f"{worst:.6g}"[:6] in message  # how far they are off, and which
    with caplog.at_level(logging.WARNING, "keygenes"):
        read_and_written(path, counts={"round": True})
    assert "rounded" in caplog.text


def test_what_rounding_does_not_mend(path):
    values = COUNTS.copy()
    values[0, 0] = -3
    with_values(path, values)
    refused(path, "-3", counts={"round": True})
    values[0, 0] = np.nan
    with_values(path, values)
    refused(path, "nan", counts={"round": True})


def test_a_gzipped_file(path):
    packed = path.with_name("m.h5ad.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    read_and_written(packed)
    packed.write_bytes(gzip.compress(b"a text"))
    refused(packed, "gzipped", "b'a text'")
    packed.write_bytes(gzip.compress(path.read_bytes())[:-100])
    with pytest.raises(InputError, match="truncated or damaged"):
        read(packed)


def test_a_gzipped_file_that_unpacks_to_a_thousand_times_its_size(path):
    packed = path.with_name("m.h5ad.gz")
    packed.write_bytes(gzip.compress(path.read_bytes() + bytes(1 << 27)))
    refused(packed, "unpacks to more")


def other(kind, folder):
    target = folder / kind
    if kind == "zarr":
        cells().write_zarr(target)
    elif kind == "10x_mtx":
        target.mkdir()
        (target / "matrix.mtx.gz").write_bytes(b"")
    elif kind == "nested":
        (target / "GRCh38").mkdir(parents=True)
        (target / "GRCh38" / "matrix.mtx").write_bytes(b"")
    elif kind == "mtx":
        target.write_bytes(b"%%MatrixMarket matrix coordinate integer general\n")
    elif kind in ("zip", "tar", "gztar"):
        (folder / "in").mkdir()
        (folder / "in" / "x").write_text("x")
        target = shutil.make_archive(str(target), kind, folder / "in")
    else:
        with h5py.File(target, "w") as file:
            for name in {"loom": ("row_attrs", "col_attrs", "matrix"), "h5mu": ("mod/rna",)}.get(
                kind, ("matrix/barcodes",)
            ):
                file.create_group(name)
    return target


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("zarr", ["a zarr folder", "'layout: zarr'"]),
        ("10x_mtx", ["matrix.mtx", "'layout: 10x_mtx'"]),
        ("nested", ["a folder of folders", "GRCh38"]),
        ("mtx", ["a MatrixMarket file", "'layout: 10x_mtx'"]),
        ("zip", ["a zip archive", "unpack it"]),
        ("tar", ["a tar archive", "unpack it"]),
        ("gztar", ["a tar archive", "unpack it"]),
        ("loom", ["a loom file", "'layout: loom'"]),
        ("h5mu", ["a MuData file", "rna"]),
        ("10x_h5", ["Cell Ranger", "'layout: 10x_h5'"]),
    ],
)
def test_another_format_is_named_with_its_layout(tmp_path, kind, parts):
    refused(other(kind, tmp_path), *parts)


@pytest.mark.parametrize("layout", ["loom", "10x_h5", "10x_mtx", "zarr"])
def test_an_h5ad_given_to_another_layout(path, layout):
    refused(path, "an h5ad file", "'layout: h5ad'", layout=layout)


def test_text_that_is_no_utf_8(path):
    with h5py.File(path, "r+") as file:
        attributes = dict(file["var/ensembl_id"].attrs)
        add = np.array([b"\xb5M"] * N, object)
    with h5py.File(path, "r+") as file:
        del file["obs/state"]
        made = file["obs"].create_dataset("state", data=add, dtype=h5py.string_dtype())
        made.attrs.update(attributes)
    refused(path, "no UTF-8")


def test_only_files_that_the_workflow_fetched_are_to_be_deleted(path, monkeypatch):
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError) as error:
        read(path)
    assert "delete" not in str(error.value) and "damaged" in str(error.value)
    (path.parent / "resources").mkdir()
    shutil.copy(path, path.parent / "resources" / "m.h5ad")
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError) as error:
        read("resources/m.h5ad")
    assert "delete it and run again" in str(error.value)


def test_errors_name_the_entry(path):
    with pytest.raises(InputError) as error:
        read_dataset({**ENTRY, "layer": "spliced"}, {"matrix": path}, "my_cells")
    assert_sentence(error, "dataset 'my_cells'", str(path))
    with pytest.raises(InputError) as error:
        read_dataset({"layout": "h5"}, {"matrix": path}, "my_cells")
    assert_sentence(error, "dataset 'my_cells'", "'layout'")
