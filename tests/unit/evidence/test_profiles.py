import numpy as np
import pandas as pd
import pytest

from keygenes.core.tables import read_table, write_table
from keygenes.evidence.profiles import gene_heads, gene_ranks

CLASSES = ["low", "high"]


@pytest.fixture
def cells():
    """Made-up cells: their fold, class, the rank of each gene and its attention per head."""
    rng = np.random.default_rng(3)
    rows = []
    for fold in (1, 2):
        for cell in range(9):
            for gene in ("ENSG1", "ENSG2"):
                if rng.random() < 0.8:
                    rows.append((fold, CLASSES[cell % 2], gene, rng.integers(1, 50), rng.random(4)))
    rows.append((2, "high", "ENSG3", 7, rng.random(4)))  # a gene of one cell
    return pd.DataFrame(rows, columns=["fold", "class", "ensembl_id", "rank", "attention"])


def by_gene(cells):
    """Return the rows of a table 'by_gene' for one fold's cells."""
    rows = []
    for (name, gene), part in cells.groupby(["class", "ensembl_id"]):
        heads = np.stack(part["attention"].to_list())
        ranks = {"rank_mean": part["rank"].mean(), "rank_sd": part["rank"].std()}
        for layer, head, values in [
            (None, None, heads.mean(1)),
            *((i // 2 + 1, i % 2 + 1, heads[:, i]) for i in range(4)),
        ]:
            sums = {"sum": values.sum(), "mean": values.mean(), "sd": 0.0, "n_cells": len(part)}
            place = {"subset": "test", "layer": layer, "head": head}
            rows.append(place | {"ensembl_id": gene, "class": name} | sums | ranks)
    special = rows[0] | {"ensembl_id": "<cls>"}
    unseen = rows[0] | {"subset": "vehicle_train", "rank_mean": 1e6, "sum": 1e6}
    frame = pd.DataFrame([*rows, special, unseen])
    return frame.assign(**{"class": pd.Categorical(frame["class"], CLASSES)})


@pytest.fixture
def paths(cells, tmp_path):
    found = {}
    for fold, part in cells.groupby("fold"):
        found[fold, 1] = tmp_path / f"{fold}.parquet"
        write_table(by_gene(part), found[fold, 1], "by_gene")
    return found


def test_ranks_are_those_of_all_cells_of_a_class(cells, paths):
    table = gene_ranks(paths).set_index(["ensembl_id", "class"])
    groups = cells.groupby(["ensembl_id", "class"])["rank"]
    assert len(table) == groups.ngroups
    for key, ranks in groups:
        row = table.loc[key]
        assert row["n_cells"] == len(ranks)
        assert row["rank_mean"] == pytest.approx(ranks.mean())
        assert row["rank_sd"] == pytest.approx(ranks.std(), nan_ok=True)
    assert np.isnan(table.loc[("ENSG3", "high"), "rank_sd"])


def test_classes_keep_their_order(paths):
    assert gene_ranks(paths).query("ensembl_id == 'ENSG1'")["class"].tolist() == CLASSES


def test_heads_hold_the_mean_over_all_cells(cells, paths):
    table = gene_heads(paths).set_index(["ensembl_id", "layer", "head"])
    for gene, part in cells.groupby("ensembl_id"):
        heads = np.stack(part["attention"].to_list()).mean(0)
        assert table.loc[(gene, 2, 1), "mean"] == pytest.approx(heads[2])
        assert table.loc[(gene, 2, 1), "n_cells"] == len(part)
    assert len(table) == 3 * 4


def test_a_cell_counts_once_however_often_its_fold_was_trained(cells, paths, tmp_path):
    """A second training pays three times the attention: means lie halfway, no count changes."""
    more = cells.assign(attention=[3 * values for values in cells["attention"]])
    both = dict(paths)
    for fold, part in more.groupby("fold"):
        both[fold, 2] = tmp_path / f"{fold}.second.parquet"
        write_table(by_gene(part), both[fold, 2], "by_gene")
    pd.testing.assert_frame_equal(gene_ranks(both), gene_ranks(paths))
    heads, one = gene_heads(both), gene_heads(paths)
    pd.testing.assert_series_equal(heads["n_cells"], one["n_cells"])
    np.testing.assert_allclose(heads["mean"], 2 * one["mean"])


def test_both_tables_fit_their_schemas(paths, tmp_path):
    write_table(gene_ranks(paths), tmp_path / "ranks.parquet", "gene_ranks")
    write_table(gene_heads(paths), tmp_path / "heads.parquet", "gene_heads")
    assert list(read_table(tmp_path / "ranks.parquet")["class"].cat.categories) == CLASSES
    assert len(read_table(tmp_path / "heads.parquet")) == 12
