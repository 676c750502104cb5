"""The simulated cells hold what they claim: planted responses, and nothing else that responds."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keygenes.core.errors import InputError
from keygenes.core.files import checksum
from keygenes.inputs.genes import (
    HOUSEKEEPING,
    MITOCHONDRIAL,
    P53_INDUCED,
    P53_REPRESSED,
    RIBOSOMAL,
)
from keygenes.inputs.readers import read_dataset
from keygenes.inputs.simulate import (
    hill_response,
    simulate,
    simulated_genes,
    write_simulation,
)

DATA = Path(os.environ.get("KEYGENES_TEST_DATA", Path(__file__).parents[4] / "shared"))
SETTINGS = {"kind": "dose_response", "n_genes": 400, "cells_per_dose": 90}
SETTINGS |= {"median_counts": 1500, "seed": 3}
ATLAS = {"kind": "atlas", "n_genes": 400, "n_cells": 200, "median_counts": 1000, "seed": 4}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The dose response as the pipeline sees it: written, then read."""
    folder = tmp_path_factory.mktemp("simulated")
    write_simulation(SETTINGS, folder / "cells.h5ad", folder / "truth.parquet")
    entry = {"layout": "scperturb", "dose_factor": {"Nutlin": 2.5, "Dex": 0.5}}
    truth = pd.read_parquet(folder / "truth.parquet")
    return read_dataset(entry, {"matrix": folder / "cells.h5ad"}), truth


def log2_ratio(matrix, dose_um):
    """log2 of the ratio of shares, dose against vehicle, per gene."""
    nutlin = (matrix.obs["drug"] == "Nutlin").to_numpy()
    dose = matrix.obs["dose_um"].to_numpy()
    sums = [
        np.asarray(matrix.X[nutlin & (dose == value)].sum(axis=0)).ravel() for value in (dose_um, 0)
    ]
    a, b = (part / part.sum() for part in sums)
    return np.log2((a + 1e-5) / (b + 1e-5))


@pytest.mark.slow
def test_planted_genes_are_recovered(simulated):
    matrix, truth = simulated
    fold = pd.Series(log2_ratio(matrix, 25.0), index=matrix.var_names)
    planted = truth.set_index("ensembl_id")["log2fc_max"]
    assert np.corrcoef(fold[planted.index], planted)[0, 1] > 0.9
    assert (np.sign(fold[planted.index]) == np.sign(planted)).mean() > 0.9
    assert {"MDM2", "CDKN1A", "TP53I3", "FDXR", "GDF15"} <= set(truth["symbol"])
    low = pd.Series(log2_ratio(matrix, 0.25), index=matrix.var_names)
    assert low[planted.index].abs().mean() < 0.25 * fold[planted.index].abs().mean()


def test_ribosomal_and_mitochondrial_genes_are_high_and_do_not_respond(simulated):
    matrix, truth = simulated
    silent = matrix.var_names.isin([*RIBOSOMAL.values(), *MITOCHONDRIAL.values()])
    assert not set(truth["ensembl_id"]) & set(matrix.var_names[silent])
    mean = np.asarray(matrix.X.mean(axis=0)).ravel()
    assert np.median(mean[silent]) > 2 * np.median(mean[~silent])
    # Shares shift a little, as the responders take up more of the cell.
    fold = log2_ratio(matrix, 25.0)[silent]
    assert np.abs(fold - np.median(fold)).max() < 0.5 and abs(np.median(fold)) < 0.6


def test_depth_and_length_vary(simulated):
    obs = simulated[0].obs
    assert 1200 < obs["n_counts"].median() < 1800
    assert obs["n_counts"].quantile(0.95) > 2.5 * obs["n_counts"].quantile(0.05)
    assert obs["n_genes"].quantile(0.95) > 1.3 * obs["n_genes"].quantile(0.05)


def test_design_is_that_of_sciplex(simulated):
    obs = simulated[0].obs
    nutlin = obs[obs["drug"] == "Nutlin"]
    sizes = nutlin["dose_um"].value_counts().sort_index()
    assert list(sizes.index) == [0, 0.25, 1.25, 2.5, 12.5, 25, 125, 250]
    assert (sizes.iloc[:6] == 90).all() and sizes[250] < sizes[125] < 45
    wells = nutlin.groupby(["dose_um", "replicate"], observed=True)["well"].nunique()
    assert len(wells) == 24 and (wells == 2).all()
    assert set(obs["drug"]) == {"Nutlin", "Dex", "unassigned"}
    passing = (
        (obs["top_to_second_best_ratio"] > 10)
        & (obs["qval_demultiplexing"] < 0.01)
        & (obs["hash_umis"] > 30)
    )
    assert 0.85 < passing[obs["drug"] == "Nutlin"].mean() < 0.99
    assert not passing[obs["drug"] == "unassigned"].any()


@pytest.mark.slow
def test_equal_settings_give_equal_bytes(tmp_path):
    digests = set()
    for run in ("a", "b"):
        small = SETTINGS | {"cells_per_dose": 12}
        write_simulation(small, tmp_path / f"{run}.h5ad", tmp_path / f"{run}.parquet")
        digests.add((checksum(tmp_path / f"{run}.h5ad"), checksum(tmp_path / f"{run}.parquet")))
        time.sleep(1.1)  # a time stamp in the file would differ
    assert len(digests) == 1
    other, _ = simulate(**(SETTINGS | {"cells_per_dose": 12, "seed": 99}))
    same, _ = simulate(**(SETTINGS | {"cells_per_dose": 12}))
    assert (other.X != same.X).nnz > 0


def test_atlas_has_the_same_genes_and_types(tmp_path):
    write_simulation(ATLAS, tmp_path / "atlas.h5ad", tmp_path / "truth.parquet")
    columns = {"ensembl_id": "ensembl_id", "symbol": "gene_symbol"}
    matrix = read_dataset(
        {"layout": "h5ad", "columns": columns}, {"matrix": tmp_path / "atlas.h5ad"}
    )
    assert matrix.obs["cell_type"].nunique() == 5 and "drug" not in matrix.obs
    genes = simulated_genes(400)
    assert list(matrix.var_names) == list(genes["ensembl_id"])
    assert list(matrix.var["symbol"]) == list(genes["symbol"])
    assert len(pd.read_parquet(tmp_path / "truth.parquet")) == 0
    np.testing.assert_array_equal(matrix.obs["n_counts"], matrix.X.sum(axis=1).A1)


def test_genes_vary_together():
    """A programme's genes are correlated, others are not: context can be learned."""
    genes = simulated_genes(400)
    cells, _ = simulate(**(ATLAS | {"n_cells": 600, "median_counts": 8000}))
    x = np.log1p(cells.X.toarray())
    correlation = np.corrcoef(x.T)
    invented = (genes["kind"] == "other").to_numpy()
    programme = genes["programme"].to_numpy()
    signs = np.sign(genes["loading"].to_numpy())
    same = (programme[:, None] == programme) & (programme >= 0) & invented & invented[:, None]
    same &= ~np.eye(len(genes), dtype=bool)
    assert (correlation * np.outer(signs, signs))[same].mean() > 0.2


def test_hill_response():
    response = hill_response(
        np.array([0.0, 5.0, 1e6]), np.array([2.0, np.nan]), np.array([5.0, np.nan]), 1.6
    )
    np.testing.assert_allclose(response, [[0, 0], [1, 0], [2, 0]], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "bulk"}, "found kind 'bulk', expected kind 'dose_response'"),
        ({"cells_per_dose": None}, "without its number of cells"),
        ({"n_genes": 50}, "found 50, expected at least"),
    ],
)
def test_refused(change, match):
    with pytest.raises(InputError, match=match):
        simulate(**(SETTINGS | change))


def test_named_genes_have_their_real_ids():
    names = list(DATA.glob("mirror/ctheodoris/Geneformer/*/geneformer/gene_name_id_dict*.pkl"))
    if not names:
        pytest.skip("the gene names of Geneformer are not here")
    real = pickle.loads(names[0].read_bytes())
    for genes in (P53_INDUCED, P53_REPRESSED, MITOCHONDRIAL, RIBOSOMAL, HOUSEKEEPING):
        assert {symbol: real.get(symbol) for symbol in genes} == genes


def share_of_planted(cells, truth):
    """Return the share of each high-dose cell's counts that rising planted genes have."""
    rising = truth.loc[truth["log2fc_max"] > 0, "symbol"]
    high = (cells.obs["perturbation"] == "Nutlin") & (cells.obs["dose_value"] == "10")
    counts = cells[high.to_numpy()].X.toarray()
    return counts[:, cells.var_names.isin(rising)].sum(axis=1) / counts.sum(axis=1)


def test_a_drug_that_acts_in_half_of_the_cells_leaves_the_others_as_they_are():
    whole = share_of_planted(*simulate(**SETTINGS))
    half = share_of_planted(*simulate(**SETTINGS, share_responding=0.5))
    responding = half > whole.min()
    assert 0.3 < responding.mean() < 0.7
    assert np.median(half[~responding]) < 0.5 * np.median(whole)


def test_strength_is_a_factor_of_what_is_planted():
    _, weak = simulate(**SETTINGS)
    _, strong = simulate(**SETTINGS, strength=2.0)
    assert np.allclose(strong["log2fc_max"], 2 * weak["log2fc_max"])


def test_wells_differ_as_much_as_asked_for():
    spread = {}
    for sd in (0.0, 0.5):
        cells, _ = simulate(**SETTINGS, well_sd=sd)
        untreated = cells[
            ((cells.obs["perturbation"] == "Nutlin") & (cells.obs["dose_value"] == "0"))
        ]
        sums = pd.DataFrame(untreated.X.toarray()).groupby(untreated.obs["well"].to_numpy()).sum()
        shares = sums.div(sums.sum(axis=1), axis=0)
        common = shares.columns[sums.min() >= 20]
        spread[sd] = np.log(shares[common]).std().mean()
    assert spread[0.5] > spread[0.0] + 0.2
