"""Folders as inputs: read by the rule, named by their entry, and read again when they change."""

from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
import yaml
from running import copy_checkout, run_snakemake

N, G = 9, 7
COUNTS = np.random.default_rng(0).poisson(2.0, (N, G)).astype("f4")
IDS = [f"ENSG{i:011d}" for i in range(G)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a checkout and two folders of cells that its registry names."""
    folder = tmp_path_factory.mktemp("folders")
    checkout = copy_checkout(folder / "checkout")
    tenx, zarr = folder / "of 10x", folder / "m.zarr"
    tenx.mkdir()
    scipy.io.mmwrite(tenx / "matrix.mtx", sp.coo_matrix(COUNTS.T.astype(int)), field="integer")
    (tenx / "barcodes.tsv").write_text("".join(f"c{i}\n" for i in range(N)))
    (tenx / "genes.tsv").write_text("".join(f"{name}\tG\n" for name in IDS))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(N)])
    ad.AnnData(sp.csr_matrix(COUNTS), obs=obs, var=pd.DataFrame(index=IDS)).write_zarr(zarr)
    entries = {
        "tenx": {"layout": "10x_mtx", "files": {"matrix": {"path": f"{tenx}/"}}},
        "zarr": {"layout": "zarr", "files": {"matrix": {"path": str(zarr)}}},
    }
    entries = {name: {"title": name, **entry} for name, entry in entries.items()}
    (checkout / "mine.yaml").write_text(yaml.safe_dump({"datasets": entries}))
    for name in entries:
        config = {
            "dataset": name,
            "registries": {"datasets": ["config/datasets.yaml", "mine.yaml"]},
        }
        (checkout / f"{name}.yaml").write_text(yaml.safe_dump({"study": "folders", **config}))
    return SimpleNamespace(checkout=checkout, tenx=tenx, zarr=zarr)


def read(place, name, *args):
    target = f"results/folders/inputs/{name}.h5ad"
    config = ("--configfile", "config/demo.yaml", f"{name}.yaml")
    run = run_snakemake(place.checkout, "--cores", 1, *args, *config, "--", target)
    return run, place.checkout / target


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tenx", "zarr"])
def test_a_folder_is_read_and_read_again_when_it_changes(place, name):
    run, target = read(place, name)
    assert run.returncode == 0, run.text
    np.testing.assert_array_equal(ad.read_h5ad(target).X.toarray(), COUNTS)
    assert "Nothing to be done" in read(place, name)[0].text
    if name == "tenx":
        (place.tenx / "barcodes.tsv").write_text("".join(f"d{i}\n" for i in range(N)))
    else:
        obs = pd.DataFrame(index=[f"d{i}" for i in range(N)])
        adata = ad.AnnData(sp.csr_matrix(COUNTS), obs=obs, var=pd.DataFrame(index=IDS))
        adata.write_zarr(place.zarr)
    run, target = read(place, name)
    assert run.returncode == 0, run.text
    assert list(ad.read_h5ad(target).obs_names) == [f"d{i}" for i in range(N)]
