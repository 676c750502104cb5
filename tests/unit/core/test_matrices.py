import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from keygenes.core.files import checksum
from keygenes.core.matrices import read_matrix, write_matrix


@pytest.fixture
def adata():
    rng = np.random.default_rng(3)
    counts = scipy.sparse.csr_matrix(rng.poisson(0.3, (80, 60)).astype(np.float32))
    values = np.where(rng.random((60, 20)) < 0.3, np.nan, rng.normal(size=(60, 20)))
    var = pd.DataFrame(values, [f"g{i}" for i in range(60)], [f"v{i}" for i in range(20)])
    var["rank"] = pd.array([None, *range(59)], "Int64")
    var["symbol"] = "s"
    return anndata.AnnData(counts, pd.DataFrame(index=[f"c{i}" for i in range(80)]), var)


def test_what_is_written_is_read(adata, tmp_path):
    write_matrix(adata.copy(), tmp_path / "m.h5ad")
    back = read_matrix(tmp_path / "m.h5ad")
    assert (back.X != adata.X).nnz == 0
    pd.testing.assert_frame_equal(back.var[["v1", "rank"]], adata.var[["v1", "rank"]])


def test_equal_matrices_have_equal_bytes(adata, tmp_path):
    found = set()
    for i in range(6):
        other = bytearray(1000 * i)  # what is in memory before does not show
        write_matrix(adata.copy(), tmp_path / "m.h5ad")
        found.add(checksum(tmp_path / "m.h5ad"))
        del other
    assert len(found) == 1


def test_nothing_is_packed_by_a_filter_whose_bytes_do_not_repeat(adata, tmp_path):
    write_matrix(adata, tmp_path / "m.h5ad")
    filters = {}
    with h5py.File(tmp_path / "m.h5ad") as file:
        file.visititems(
            lambda name, item: (
                filters.update({name: item.compression})
                if isinstance(item, h5py.Dataset) and item.chunks
                else None
            )
        )
    assert len(filters) > 20
    assert set(filters.values()) == {"gzip"}
