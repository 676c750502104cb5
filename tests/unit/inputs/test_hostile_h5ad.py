"""h5ad files made to harm, or damaged at random: read, or refused in a sentence, and soon."""

import resource
import time

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.inputs.readers import read_dataset

N, G = 6, 5
COUNTS = np.random.default_rng(0).poisson(2.0, (N, G)).astype(np.float32)
TEXT = h5py.string_dtype()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a path whose content is a good file."""
    return file_of(tmp_path_factory.mktemp("whole") / "m.h5ad")


def file_of(path, dense=False):
    obs = pd.DataFrame(
        {
            "treatment": pd.Categorical(["a", "b"] * 3),
            "total": COUNTS.sum(1),
            "word": [f"w{i}" for i in range(N)],
        },
        index=[f"c{i}" for i in range(N)],
    )
    var = pd.DataFrame(
        {"id": [f"ENSG{i:011d}" for i in range(G)]}, index=[f"g{i}" for i in range(G)]
    )
    ad.AnnData(COUNTS if dense else sp.csr_matrix(COUNTS), obs=obs, var=var).write_h5ad(path)
    return path


def read(path):
    return read_dataset({"layout": "h5ad", "columns": {"ensembl_id": "id"}}, {"matrix": path})


def refused(path, *parts):
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as error:
        read(path)
    assert_sentence(error, str(path), *parts)
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def put(handle, name, *args, **options):
    """Replace an item by a dataset, with the attributes that it had."""
    attributes = dict(handle[name].attrs)
    del handle[name]
    handle.create_dataset(name, *args, **options).attrs.update(attributes)


def link(name, target):
    def change(handle):
        del handle[name]
        handle[name] = target

    return change


def stored_outside(handle):
    del handle["obs/total"]
    handle.create_dataset("obs/total", (N,), dtype="f4", external=[("/etc/passwd", 0, 4 * N)])


def virtual(handle):
    layout = h5py.VirtualLayout((N,), dtype="f8")
    layout[:] = h5py.VirtualSource("other.h5", "col", (N,))
    del handle["obs/total"]
    handle.create_virtual_dataset("obs/total", layout)


def by_a_soft_link(handle):
    handle["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    link("obs/total", h5py.SoftLink("/elsewhere/col"))(handle)


OUTSIDE = {
    "a link to an absolute path": link("obs/total", h5py.ExternalLink("/etc/passwd", "/x")),
    "a link to a relative path": link("obs/total", h5py.ExternalLink("../other.h5", "/col")),
    "a link in place of the counts": link("X", h5py.ExternalLink("other.h5", "/X")),
    "a link in what is never read": link("uns", h5py.ExternalLink("other.h5", "/")),
    "a soft link to a link": by_a_soft_link,
    "external storage": stored_outside,
    "a virtual dataset": virtual,
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_nothing_is_read_from_another_file(tmp_path, case):
    with h5py.File(tmp_path / "other.h5", "w") as handle:
        handle["X"], handle["col"] = COUNTS, np.arange(N)
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        OUTSIDE[case](handle)
    refused(path, "a reference to another file at /")


def declared(name, shape, dtype):
    return lambda handle: put(handle, name, shape, dtype=dtype, chunks=(1000,) * len(shape))


HUGE = {
    "counts of 400 TB": declared("X", (10**7, 10**7), "f4"),
    "counts of 20 GB": declared("X", (600_000, 8_500), "f4"),
    "sparse counts": declared("X/data", (10**12,), "f4"),
    "where rows start": declared("X/indptr", (10**12,), "i8"),
    "a column": declared("obs/total", (10**12,), "f8"),
    "names of cells": declared("obs/_index", (10**11,), TEXT),
    "codes of a column": declared("obs/treatment/codes", (10**12,), "i1"),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_file_that_declares_more_than_it_holds(tmp_path, case):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        HUGE[case](handle)
    refused(path, "bytes declared at /", "holds what it declares")


def test_a_file_that_holds_more_than_memory(tmp_path, monkeypatch):
    sizes = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 100}
    monkeypatch.setattr("os.sysconf", sizes.get)
    refused(file_of(tmp_path / "m.h5ad"), "GiB of counts and annotation", "sparse matrix")


def doubling(kind, *names):
    """Return a change: 40 groups, each of them twice in the one before, as a column."""

    def change(handle):
        groups = [handle.create_group(f"chain/{i}") for i in range(40)]
        for group in groups:
            group.attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})
            group.attrs["ordered"] = False
        for first, second in zip(groups, groups[1:], strict=False):
            for name in names:
                first[name] = second
        link("obs/total", groups[0])(handle)

    return change


def attribute(item, name, value):
    return lambda handle: handle[item].attrs.__setitem__(name, value)


def entry(item, at, value):
    return lambda handle: handle[item].__setitem__(at, value)


def dataset(item, *args, **options):
    return lambda handle: put(handle, item, *args, **options)


def order(*names):
    return attribute("obs", "column-order", np.array(names, dtype=object))


def texts(values):
    return np.array(values, dtype=object)


DAMAGED = {  # all of these named what could not be read by a traceback, or crashed, or were read
    "an index of a gene that is not there": entry("X/indices", 2, G),
    "an index far out": entry("X/indices", 2, 10**9),
    "an index before the first": entry("X/indices", 2, -5),
    "rows that start far out": entry("X/indptr", 2, 10**8),
    "rows that start before the first": entry("X/indptr", 2, -3),
    "a last row behind the end": entry("X/indptr", -1, 10**6),
    "a first row behind the start": entry("X/indptr", 0, 4),
    "too many values": dataset("X/data", data=np.ones(1000, "f4")),
    "counts of no shape": attribute("X", "shape", [-N, G]),
    "counts of an endless shape": attribute("X", "shape", [2**62, 2**62]),
    "counts within counts": lambda handle: handle["X"].__setitem__("loop", handle["X"]),
    "a column that is all columns": link("obs/total", h5py.SoftLink("/obs")),
    "a column that is itself": link("obs/total", h5py.SoftLink("/obs/total")),
    "a column that is nothing": link("obs/total", h5py.SoftLink("/nowhere")),
    "a trillion dictionaries": doubling("dict", "left", "right"),
    "a trillion categories": doubling("categorical", "codes", "categories"),
    "a column that is missing": order("nope"),
    "column names that are a number": attribute("obs", "column-order", 3),
    "a name that is a number": attribute("obs", "_index", 7),
    "a category that is not there": entry("obs/treatment/codes", 0, 100),
    "a category twice": entry("obs/treatment/categories", 0, "b"),
    "a column that is too long": dataset("obs/total", data=np.zeros(60)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused(tmp_path, case):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        DAMAGED[case](handle)
    refused(path, "a truncated or damaged HDF5 file", "write it again")


ODD = {  # whole files all the same
    "counts of another shape": (attribute("X", "shape", [N, 50]), "/X of shape (6, 50)"),
    "an unknown encoding": (
        attribute("X", "encoding-type", "someone's"),
        "this version of anndata does not know",
    ),
    "an encoding that is a number": (
        attribute("X", "encoding-type", 7),
        "this version of anndata does not know",
    ),
    "an encoding of tomorrow": (
        attribute("obs/treatment", "encoding-version", "99"),
        "this version of anndata does not know",
    ),
    "a column that is no UTF-8": (
        dataset("obs/word", data=texts([b"\xff\xfe"] * N), dtype=TEXT),
        "no UTF-8",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_file_is_refused_and_not_called_damaged(tmp_path, case):
    change, found = ODD[case]
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        change(handle)
    refused(path, found)


MATRICES = {
    "texts": {"data": texts([["a"] * G] * N), "dtype": TEXT},
    "a vector": {"data": np.ones(N)},
    "a cube": {"data": np.ones((N, G, 2))},
    "a number": {"data": 3.0},
    "nothing": {"data": h5py.Empty("f4")},
    "lists": {"shape": (N, G), "dtype": h5py.vlen_dtype("f4")},
    "records": {"shape": (N, G), "dtype": np.dtype([("a", "f4"), ("b", "f4")])},
    "references": {"shape": (N, G), "dtype": h5py.ref_dtype},
    "another shape": {"data": np.ones((N, G + 1))},
}


@pytest.mark.parametrize("case", MATRICES)
def test_counts_that_are_no_matrix(tmp_path, case):
    path = file_of(tmp_path / "m.h5ad", dense=True)
    with h5py.File(path, "r+") as handle:
        put(handle, "X", **MATRICES[case])
    refused(path, "found no matrix" if case == "nothing" else "/X of shape", "'layer:'")


@pytest.mark.parametrize("value", [np.inf, 1e30, 2**24 + 2, -np.inf])
def test_counts_that_no_cell_has(tmp_path, value):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        handle["X/data"][0] = value
    refused(path, "raw counts (whole numbers from 0 to 16,777,216)")


def test_an_infinite_total(tmp_path):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        handle["obs/total"][0] = np.inf
        handle["obs"].move("total", "n_counts")
        order("treatment", "n_counts", "word")(handle)
    refused(path, "an infinite value in the column for 'n_counts'")


NAMES = {
    "long": "x" * 10_000,
    "of two lines": "a\nb",
    "with a tab": "a\tb",
    "with a colour": "\x1b[31mred",
    "from right to left": "abc\u202edcba",
    "invisible in part": "a\u200bb",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize(
    ("item", "what"), [("obs/_index", "cell name"), ("var/id", "gene id"), ("obs/drug", "drug")]
)
def test_names_that_none_can_read(tmp_path, case, item, what):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        if item == "obs/drug":
            handle["obs"].move("word", "drug")
            order("treatment", "total", "drug")(handle)
        handle[item][2] = NAMES[case]
    refused(path, f"a {what} that is none", "all of which can be seen")


def test_an_id_that_a_pattern_takes_ages_for(tmp_path):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        handle["var/id"][2] = "ENS" + "G" * 60_000 + "!"
    refused(path, "a gene id that is none, one of 60,004 characters")


def test_circles_in_what_is_not_read_do_no_harm(tmp_path):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        handle["uns/all"] = handle["/"]
        handle["uns/again"] = h5py.SoftLink("/uns")
        doubling("dict", "left", "right")(handle)
        link("obs/total", handle["obs/word"])(handle)
    assert read(path).shape == (N, G)


def test_small_whole_numbers_do_not_overflow_where_genes_are_summed(tmp_path):
    path = file_of(tmp_path / "m.h5ad")
    with h5py.File(path, "r+") as handle:
        handle["var/id"][1] = handle["var/id"][0]
        put(handle, "X/data", data=np.full(len(handle["X/data"]), 200, np.uint8))
    both = (COUNTS[:, :2] > 0).sum(1)
    np.testing.assert_array_equal(read(path).X.toarray()[:, 0], 200 * both)


def whole_or_a_sentence(path):
    try:
        matrix = read(path)
    except InputError as error:
        assert_sentence(error, str(path))
        return
    values = matrix.X.data
    assert np.isfinite(values).all() and (values >= 0).all() and (values == np.rint(values)).all()
    matrix.X.check_format(full_check=True)
    assert matrix.obs_names.is_unique and matrix.var_names.is_unique


@pytest.mark.damaging
@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=6, unique=True
    ),
    st.floats(0, 1),
    st.booleans(),
)
def test_changed_bytes(whole, tmp_path_factory, changes, stop, cut):
    data = bytearray(whole.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "changed.h5ad"
    path.write_bytes(bytes(data[: int(len(data) * stop)] if cut else data))
    whole_or_a_sentence(path)


ITEMS = ["X", "obs", "var", "obs/treatment", "obs/total", "obs/word", "obs/_index", "var/id"]
ITEMS += ["X/data", "X/indices", "X/indptr", "obs/treatment/codes", "obs/treatment/categories"]
VALUES = [np.zeros((N, G)), np.arange(N), np.float32(1), texts(["a"] * N), texts(["ä\n"] * G)]
VALUES += [np.array([], "f8"), np.full(N, -1), np.full(N, np.nan), np.ones((2, 2, 2), "i1")]


@pytest.mark.damaging
@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["remove", "replace", "swap", "forget", "rename"]),
            st.sampled_from(ITEMS),
            st.sampled_from(ITEMS),
            st.integers(0, len(VALUES) - 1),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_changed_structure(whole, tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "structure.h5ad"
    path.write_bytes(whole.read_bytes())
    with h5py.File(path, "r+") as handle:
        for change, item, other, value in changes:
            if item not in handle:
                continue
            if change == "remove":
                del handle[item]
            elif change == "replace":
                options = {"dtype": TEXT} if VALUES[value].dtype == object else {}
                put(handle, item, data=VALUES[value], **options)
            elif change == "swap" and other in handle and item != other:
                target = handle[other]
                del handle[item]
                handle[item] = target
            elif change == "forget":
                for name in list(handle[item].attrs):
                    del handle[item].attrs[name]
            elif change == "rename" and f"{item}2" not in handle:
                handle.move(item, f"{item}2")
    whole_or_a_sentence(path)
