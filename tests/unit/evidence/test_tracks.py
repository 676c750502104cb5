import numpy as np
import pandas as pd
import pytest
import scipy.stats
from evidence_tables import GENES, raw_attention, statistics

from keygenes.evidence.tracks import (
    attention_tracks,
    expression_tracks,
    gene_totals,
    ratio_interval,
    track,
    wilcoxon_track,
)


@pytest.fixture(scope="module")
def raw():
    return raw_attention()


def test_ranks_fall_with_the_score_and_ties_go_by_id():
    frame = track("x", ["d", "c", "b", "a"], [1.0, 3.0, 1.0, np.nan], [4, 3, 2, 1])
    assert frame["ensembl_id"].tolist() == ["c", "b", "d"]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["n_cells"].tolist() == [3, 2, 4]
    assert set(frame["track"]) == {"x"}
    assert frame["seed"].isna().all()
    assert frame["regime"].isna().all()


def test_columns_given_stay_with_their_gene():
    frame = track("x", ["a", "b"], [1.0, 2.0], 5, regime="full", q=np.array([0.5, 0.1]))
    assert frame["q"].tolist() == [0.1, 0.5]
    assert frame["regime"].tolist() == ["full", "full"]
    assert frame["null_sd"].isna().all()


def of_cells(raw):
    """Return a row per cell and gene: the mean and the sum over layers and heads, and the rank."""
    groups = raw.groupby(["cell", "ensembl_id"], as_index=False)
    return groups.agg(mean=("received", "mean"), total=("received", "sum"), rank=("rank", "first"))


def test_totals_against_the_raw_values(raw):
    totals = gene_totals(statistics(raw)["by_gene"])
    assert list(totals.index) == sorted(raw["ensembl_id"].unique())
    for gene, rows in of_cells(raw).groupby("ensembl_id"):
        found = totals.loc[gene]
        assert found["n_cells"] == len(rows)
        assert found["total"] == pytest.approx(rows["total"].sum())
        assert found["received"] == pytest.approx(rows["mean"].mean())
        assert found["rank_mean"] == pytest.approx(rows["rank"].mean())
        if len(rows) > 1:  # pooled over classes: not the mean of their standard deviations
            assert found["sd"] == pytest.approx(rows["mean"].std())
            assert found["rank_sd"] == pytest.approx(rows["rank"].std())
        else:
            assert np.isnan(found["sd"])


def test_vehicle_training_cells_do_not_enter(raw):
    table = statistics(raw)["by_gene"]
    other = table.assign(subset="vehicle_train", sum=99.0, mean=99.0)
    both = pd.concat([table, other], ignore_index=True)
    pd.testing.assert_frame_equal(gene_totals(both), gene_totals(table))


def test_an_interval_over_wells_of_equal_size_is_that_of_their_means():
    means = np.array([[1.0, 3.0], [2.0, 3.5], [4.0, 2.5], [2.5, 3.0]])
    counts = np.full(means.shape, 7.0)
    mean, low, high = ratio_interval(means * counts, counts)
    np.testing.assert_allclose(mean, means.mean(0))
    half = scipy.stats.t.ppf(0.975, 3) * means.std(0, ddof=1) / 2
    np.testing.assert_allclose(high - mean, half)
    np.testing.assert_allclose(mean - low, half)


def test_wells_without_the_gene_do_not_count_and_one_well_gives_no_interval():
    sums = np.array([[2.0, 5.0], [6.0, 0.0], [0.0, 0.0]])
    counts = np.array([[1.0, 2.0], [2.0, 0.0], [0.0, 0.0]])
    mean, low, high = ratio_interval(sums, counts)
    assert mean.tolist() == [8 / 3, 2.5]
    # residuals 2 - 8/3 and 6 - 16/3; t with one degree of freedom
    variance = 2 * (2 * (2 / 3) ** 2) / 9
    assert high[0] - mean[0] == pytest.approx(scipy.stats.t.ppf(0.975, 1) * np.sqrt(variance))
    assert np.isnan([low[1], high[1]]).all()


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    n_wells, n_genes = 12, 4000
    counts = rng.integers(3, 30, (n_wells, n_genes)).astype(float)
    sums = counts * (5 + rng.normal(0, 1, (n_wells, n_genes)))
    _, low, high = ratio_interval(sums, counts)
    covered = ((low < 5) & (high > 5)).mean()
    assert 0.9 < covered < 0.97


def test_the_attention_tracks(raw):
    tables = statistics(raw)
    total, received = attention_tracks(tables["by_gene"], tables["by_well"], "full", 2)
    assert set(total["track"]) == {"attention_total"}
    cells = of_cells(raw).groupby("ensembl_id")
    sums = cells["total"].sum().sort_values(ascending=False)
    assert total["ensembl_id"].tolist() == list(sums.index)
    np.testing.assert_allclose(total["score"], sums)
    assert total["seed"].eq(2).all()
    assert total["regime"].eq("full").all()
    # nine cells are too few for a mean
    n = cells.size()
    assert n[GENES[-1]] == 9
    assert set(received["ensembl_id"]) == set(n.index[n >= 10])
    assert received["rank"].tolist() == list(range(1, len(received) + 1))
    means = cells["mean"].mean()
    np.testing.assert_allclose(received["score"], means[received["ensembl_id"]])
    first = received.iloc[0]
    per_well = raw[raw["ensembl_id"] == first["ensembl_id"]]
    per_well = per_well.groupby(["well", "cell"])["received"].mean().groupby("well")
    _, low, high = ratio_interval(
        per_well.sum().to_numpy()[:, None], per_well.size().to_numpy(float)[:, None]
    )
    assert first["ci_low"] == pytest.approx(low[0])
    assert first["ci_high"] == pytest.approx(high[0])
    assert (received["ci_low"] < received["score"]).all()


def test_without_wells_the_interval_is_over_cells(raw):
    tables = statistics(raw.assign(well="all"))
    _, received = attention_tracks(tables["by_gene"], tables["by_well"], "full", 2)
    cells = of_cells(raw).groupby("ensembl_id")["mean"]
    row = received.iloc[3]
    half = 1.959964 * cells.std()[row["ensembl_id"]] / np.sqrt(row["n_cells"])
    assert row["ci_high"] - row["score"] == pytest.approx(half, rel=1e-5)
    assert row["score"] - row["ci_low"] == pytest.approx(half, rel=1e-5)


def test_detection_and_mean_rank(raw):
    detection, mean_rank = expression_tracks(statistics(raw)["by_gene"])
    cells = of_cells(raw).groupby("ensembl_id")
    np.testing.assert_array_equal(detection["score"], cells.size()[detection["ensembl_id"]])
    np.testing.assert_allclose(mean_rank["score"], -cells["rank"].mean()[mean_rank["ensembl_id"]])
    best = mean_rank.iloc[0]["ensembl_id"]
    assert best == cells["rank"].mean().idxmin(), "the gene nearest the top scores highest"


def wilcoxon(groups, z):
    """Return tests of genes g0, g1, ... against the rest and vehicle; z [groups, genes]."""
    rows = []
    for i, group in enumerate(groups):
        for j, value in enumerate(z[i]):
            common = {"task": "t", "group": group, "ensembl_id": f"g{j}", "symbol": f"S{j}"}
            numbers = {"log2fc": np.sign(value), "auc": 0.5, "p_adj": 10.0 ** -abs(value)}
            sizes = {"n_cells": 10 + i, "n_reference": 5}
            rows.append({**common, **numbers, **sizes, "reference": "rest", "statistic": value})
            rows.append({**common, **numbers, **sizes, "reference": "vehicle", "statistic": 99.0})
    return pd.DataFrame(rows)


def test_differential_expression_counts_with_the_strongest_class():
    frame = wilcoxon(["a", "b", "c"], [[1.0, -5.0, 2.0], [-3.0, 4.0, 0.5], [2.0, 1.0, -2.0]])
    found = wilcoxon_track(frame).set_index("ensembl_id")
    assert found["score"].to_dict() == {"g1": 5, "g0": 3, "g2": 2}
    assert found["rank"].to_dict() == {"g1": 1, "g0": 2, "g2": 3}
    assert found.loc[["g1", "g0"], "direction"].tolist() == [-1, -1]
    assert found.loc["g1", "q"] == pytest.approx(1e-5)
    assert found.loc["g0", "n_cells"] == 11


def test_of_two_classes_the_last_one_gives_the_sign():
    frame = wilcoxon(["low", "high"], [[1.0, -5.0], [-1.0, 5.0]])
    found = wilcoxon_track(frame).set_index("ensembl_id")
    assert found["direction"].to_dict() == {"g1": 1, "g0": -1}
    assert found["n_cells"].eq(11).all()
