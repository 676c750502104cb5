import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
import scipy.sparse
from stated import names_in, numbers_in

from keygenes.core.files import checksum, write_json
from keygenes.core.matrices import write_matrix
from keygenes.core.tables import write_table
from keygenes.report.scored_cells import out_of_fold, write_scored_cells

CELLS, GENES = [f"c{i}" for i in range(6)], ["ENSG1", "ENSG2", "ENSG3"]
RECORD = {
    "keygenes": {"version": "9.8.7", "commit": None},
    "study": "tiny",
    "config_sha256": "ab" * 32,
    "folds": [1, 2, 3],
    "seeds": {"seeds": [1, 2], "tokens.seed": 3},
    "simulated": "no cell is real",
}


def predictions(split, predicted):
    return pd.DataFrame(
        {
            "cell": CELLS,
            "split": split,
            "true": pd.Categorical(["low"] * 6, ["low", "high"]),
            "predicted": pd.Categorical(predicted, ["low", "high"]),
            "probabilities": [
                [0.75, 0.25] if name == "low" else [0.125, 0.875] for name in predicted
            ],
        }
    )


def gene_table(ids=("ENSG3", "ENSG1")):
    return pd.DataFrame(
        {
            "ensembl_id": ids,
            "symbol": ["S3", "S1"],
            "n_cells": [5, 4],
            "in_known": [True, False],
            "group": "high",
            "x_score": [2.0, np.nan],
            "x_rank": pd.array([1, None], "Int64"),
            "x_q": [0.01, np.nan],
            "x_n": pd.array([5, None], "Int64"),
        }
    )


@pytest.fixture
def study(tmp_path):
    """Return the arguments of `write_scored_cells`, for cells whose tables are in other orders."""
    rng = np.random.default_rng(5)
    counts = scipy.sparse.csr_matrix(rng.poisson(1.0, (6, 3)).astype(np.float32))
    obs = pd.DataFrame({"well": list("aabbcc"), "level.class": "theirs"}, index=CELLS)
    var = pd.DataFrame({"symbol": ["S1", "S2", "S3"]}, index=GENES)
    adata = anndata.AnnData(counts, obs, var)
    adata.obsm["given_counts"] = counts[:, :2]
    write_matrix(adata, tmp_path / "counts.h5ad")
    level = pd.Categorical(["low", "high", None] * 2, ["low", "high"])
    labels = pd.DataFrame({"cell": CELLS, "level": level})
    umap = pd.DataFrame({"cell": CELLS[::-1], "umap1": np.arange(6.0), "umap2": -np.arange(6.0)})
    first = predictions(["test"] * 2 + ["train"] * 4, ["low"] * 6)
    second = predictions(["train", *["test"] * 3, "valid", "valid"], ["high"] * 6)
    tables = {"labels": labels, "umap": umap, "p1": first, "p2": second, "genes": gene_table()}
    for name, table in tables.items():
        write_table(table, tmp_path / f"{name}.parquet")
    write_json(RECORD, tmp_path / "provenance.json")
    return {
        "counts": tmp_path / "counts.h5ad",
        "labels": tmp_path / "labels.parquet",
        "umap": tmp_path / "umap.parquet",
        "predictions": {"level": [tmp_path / "p1.parquet", tmp_path / "p2.parquet"]},
        "gene_tables": {"level": tmp_path / "genes.parquet"},
        "provenance": tmp_path / "provenance.json",
        "out_cells": tmp_path / "scored.h5ad",
        "regime": "full",
    }


@pytest.fixture
def scored(study):
    write_scored_cells(**study)
    return scanpy.read_h5ad(study["out_cells"])


def test_counts_are_bit_for_bit_those_of_the_study(study, scored):
    counts = scanpy.read_h5ad(study["counts"])
    assert scored.X.dtype == counts.X.dtype
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(scored.X, part), getattr(counts.X, part))
    assert "given_counts" in scored.obsm


@pytest.mark.slow
def test_cells_have_classes_predictions_and_places(scored):
    assert scored.obs["level.class"].astype(object).fillna("-").tolist() == ["low", "high", "-"] * 2
    assert list(scored.obs["level.class"].cat.categories) == ["low", "high"]
    # c1 is tested by both folds, of which the first counts; c4 and c5 by none.
    predicted = scored.obs["level.predicted"].astype(object)
    assert predicted.fillna("-").tolist() == ["low", "low", "high", "high", "-", "-"]
    p = scored.obs["level.probability"].tolist()
    assert p[:4] == [0.75, 0.75, 0.875, 0.875]
    assert np.isnan(p[4:]).all()
    assert scored.obsm["X_umap"].tolist() == [[5 - i, i - 5] for i in range(6)]


def test_genes_have_their_scores_and_go_on_in_scanpy(scored):
    assert scored.var["level.x_score"].isna().tolist() == [True, True, False]
    assert scored.var.sort_values("level.x_rank").index[0] == "ENSG3"
    assert scored.var["in_known"].tolist() == [False, False, True]
    assert scored.var["level.group"].astype(object).fillna("-").tolist() == ["high", "-", "high"]
    assert not {"level.x_n", "level.symbol"} & set(scored.var)
    scanpy.pp.normalize_total(scored)
    scanpy.pp.log1p(scored)
    assert scored.obs_vector("ENSG3").max() > 0


def test_what_it_rests_on_is_written_in_plain_types(scored):
    found = dict(scored.uns["keygenes"])
    assert found.pop("folds").tolist() == [1, 2, 3]
    assert found.pop("seeds").tolist() == [1, 2]
    assert found == {
        "version": "9.8.7",
        "commit": "",
        "study": "tiny",
        "config_sha256": "ab" * 32,
        "regime": "full",
        "simulated": True,
        "simulated_note": "no cell is real",
    }


def test_the_same_study_gives_the_same_bytes(study):
    found = set()
    for _ in range(2):
        write_scored_cells(**study)
        found.add(checksum(study["out_cells"]))
    assert len(found) == 1


def test_a_model_that_predicts_nothing_leaves_no_predictions(study):
    write_scored_cells(**{**study, "predictions": {}, "regime": "pretrained"})
    columns = scanpy.read_h5ad(study["out_cells"]).obs.columns
    assert "level.class" in columns
    assert "level.predicted" not in columns


def test_a_study_of_baselines_alone_names_no_model(study):
    write_scored_cells(**{**study, "predictions": {}, "regime": None})
    assert scanpy.read_h5ad(study["out_cells"]).uns["keygenes"]["regime"] == ""


def test_genes_of_another_id_are_left_out_and_counted(study, caplog):
    write_table(gene_table(["ENSG9", "ENSG1"]), study["gene_tables"]["level"])
    with caplog.at_level(logging.WARNING, "keygenes"):
        write_scored_cells(**study)
    assert [(names_in(text, ["level"]), numbers_in(text)) for text in caplog.messages] == [
        ({"level"}, [1]),
    ]
    assert list(scanpy.read_h5ad(study["out_cells"]).var_names) == GENES


def test_of_several_folds_the_first_that_tests_a_cell_counts():
    tables = [predictions("test", ["low"] * 6), predictions("test", ["high"] * 6)]
    assert out_of_fold(tables)["predicted"].tolist() == ["low"] * 6
    assert out_of_fold(tables[::-1])["probability"].tolist() == [0.875] * 6
