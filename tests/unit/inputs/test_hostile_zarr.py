"""zarr folders made to harm, or incomplete: refused in a sentence, and nothing in them is run."""

import gzip
import json
import os
import pickle
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.inputs.readers import read_dataset

N, G = 6, 5
COUNTS = np.random.default_rng(0).poisson(2.0, (N, G)).astype(np.float32)
ENTRY = {"layout": "zarr"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return good folders of both versions."""
    obs = pd.DataFrame(
        {"state": pd.Categorical(["a", "b"] * 3), "total": COUNTS.sum(1)},
        index=[f"c{i}" for i in range(N)],
    )
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(G)])
    adata, folders = ad.AnnData(sp.csr_matrix(COUNTS), obs=obs, var=var), {}
    for version in (2, 3):
        folders[version] = tmp_path_factory.mktemp(f"v{version}") / "m.zarr"
        with ad.settings.override(zarr_write_format=version):
            adata.write_zarr(folders[version])
    return folders


@pytest.fixture(params=[2, 3])
def folder(whole, tmp_path, request):
    shutil.copytree(whole[request.param], tmp_path / "m.zarr")
    return tmp_path / "m.zarr"


def read(folder):
    return read_dataset(ENTRY, {"matrix": folder})


def refused(folder, *parts):
    with pytest.raises(InputError) as error:
        read(folder)
    assert_sentence(error, str(folder), *parts)


def edit(folder, array, **changes):
    """Change the metadata of an array."""
    old = (folder / array / ".zarray").is_file()
    path = folder / array / (".zarray" if old else "zarr.json")
    metadata = json.loads(path.read_text())
    for key, value in changes.items():
        if key == "packer" and old:
            metadata["compressor"] = {"id": value} if value else None
        elif key == "packer":
            configuration = {"name": value, "configuration": {}}
            metadata["codecs"] = [*metadata["codecs"][:1], *([configuration] if value else [])]
        elif key == "chunks" and not old:
            metadata["chunk_grid"]["configuration"]["chunk_shape"] = value
        else:
            metadata[key] = value
    path.write_text(json.dumps(metadata))


def block(folder, array):
    """Return the path of the first block of an array."""
    return next(p for p in (folder / array / "0", folder / array / "c" / "0") if p.is_file())


def test_the_folders_as_they_are(folder):
    np.testing.assert_array_equal(read(folder).X.toarray(), COUNTS)


class Harm:
    """What unpickling runs."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("array", ["obs/_index", "obs/total", "obs/state/categories"])
def test_no_pickle_is_read(whole, tmp_path, array):
    folder = tmp_path / "m.zarr"
    shutil.copytree(whole[2], folder)
    edit(folder, array, packer=None, dtype="|O", filters=[{"id": "pickle"}], fill_value=None)
    block(folder, array).write_bytes(pickle.dumps(Harm(tmp_path / "harmed")))
    refused(folder, "'pickle'", array)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("codec", ["bz2", "lzma", "someone's"])
def test_unknown_codecs_are_named(folder, codec):
    edit(folder, "X/data", packer=codec)
    refused(folder, codec, "X/data")


def test_what_is_packed_twice(folder):
    edit(folder, "X/data", packer="zstd")
    twice = {"filters": [{"id": "gzip"}]}
    if (folder / "X/data/zarr.json").is_file():
        twice = {"codecs": ["bytes", "gzip", "zstd"]}
    edit(folder, "X/data", **twice)
    refused(folder, "one packer at most", "X/data")


def test_shards_whose_index_lies_elsewhere(whole, tmp_path):
    shutil.copytree(whole[3], tmp_path / "m.zarr")
    inner = {"chunk_shape": [1], "codecs": ["bytes"], "index_codecs": ["bytes", "crc32c"]}
    for changes in ({"index_location": "start"}, {"index_codecs": ["bytes"]}):
        configuration = {"name": "sharding_indexed", "configuration": {**inner, **changes}}
        edit(tmp_path / "m.zarr", "obs/total", codecs=[configuration])
        refused(tmp_path / "m.zarr", "'sharding_indexed'", "obs/total")


def test_links_out_of_the_folder(folder):
    path = block(folder, "X/data")
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")
    refused(folder, "a link at")


@pytest.mark.parametrize("array", ["X/data", "obs/total", "obs/_index"])
def test_a_folder_that_declares_more_than_it_holds(folder, array):
    edit(folder, array, shape=[10**11])
    refused(folder, "bytes declared")
    edit(folder, array, shape=[N], chunks=[10**11])
    refused(folder, "bytes declared")


@pytest.mark.slow
@pytest.mark.parametrize("array", ["X/data", "obs/total", "obs/_index"])
@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_a_block_that_unpacks_to_a_thousand_times_its_size(folder, array, packer):
    edit(folder, array, packer=packer)
    bomb = bytes(1 << 28)
    packed = gzip.compress(bomb) if packer == "gzip" else pa.compress(bomb, "zstd", asbytes=True)
    block(folder, array).write_bytes(packed)
    refused(folder, "unpacks to more", array)


@pytest.mark.parametrize("array", ["X/data", "X/indices", "obs/_index"])
def test_a_block_that_is_missing(folder, array):
    block(folder, array).unlink()
    refused(folder, "0 of 1 blocks", array)


def test_metadata_that_is_none(folder):
    name = ".zarray" if (folder / "X/data/.zarray").is_file() else "zarr.json"
    for text in ("{", "[]", "[" * 100_000, "\xff"):
        (folder / "X/data" / name).write_bytes(text.encode("latin-1"))
        refused(folder, f"X/data/{name}")


def test_bytes_that_do_not_unpack(folder):
    path = block(folder, "X/data")
    path.write_bytes(path.read_bytes()[:-3])
    refused(folder, "incomplete or damaged")


def test_a_folder_that_is_none(tmp_path):
    refused(tmp_path / "none", "no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "a folder")
    (tmp_path / "empty" / ".zgroup").write_text('{"zarr_format": 2}')
    refused(tmp_path / "empty", "obs and var")
