import numpy as np
import pandas as pd
import pytest
import scipy.stats
from evidence_tables import GENES, HEADS, LAYERS, attributions, raw_attention, statistics

from keygenes.evidence.moderated import moderated_t
from keygenes.evidence.tracks import (
    counted_once,
    expression_tests,
    expression_tracks,
    gene_totals,
    interval_over_cells,
    logistic_track,
    model_track,
    permuted_genes,
    random_track,
    track,
    track_scores,
    with_permuted,
)
from keygenes.evidence.well_sums import ratio_interval, well_groups, well_matrices


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
    assert frame["permuted_sd"].isna().all()


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


def matrices(raw, columns=("sum", "sum_residual")):
    return well_matrices([statistics(raw)["by_well"]], columns)


GROUPS = {
    "W1": "contrast",
    "W3": "contrast",
    "W5": "contrast",
    "W0": "reference",
    "W2": "reference",
}


def test_sums_per_well_as_matrices(raw):
    table = statistics(raw)["by_well"].astype({"well": "category", "ensembl_id": "category"})
    found = well_matrices([table, table], ["sum"])
    assert found["wells"].tolist() == [f"W{i}" for i in range(6)]
    wide = table.astype({"well": str, "ensembl_id": str})
    wide = wide.pivot_table(index="well", columns="ensembl_id", values="sum", fill_value=0)
    assert found["genes"].tolist() == list(wide.columns)
    np.testing.assert_allclose(found["sum"], 2 * wide.to_numpy(), err_msg="two folds added up")
    other = table[table["ensembl_id"] == GENES[2]]
    part = well_matrices([other, table], ["n_cells"])
    assert part["n_cells"].shape == (6, wide.shape[1]), "a gene that one fold lacks"


def test_the_tracks_of_attention(raw):
    places = LAYERS * HEADS
    total, received, residual = (
        model_track(name, matrices(raw), places, GROUPS, regime="full", seed=None)
        for name in ("attention_total", "attention_received", "attention_residual")
    )
    cells = of_cells(raw).groupby("ensembl_id")
    sums = cells["total"].sum().sort_values(ascending=False)
    assert total["ensembl_id"].tolist() == list(sums.index)
    np.testing.assert_allclose(total["score"], sums)
    assert total["regime"].eq("full").all()
    # nine cells are too few for a mean
    n = cells.size()
    assert n[GENES[-1]] == 9
    assert set(received["ensembl_id"]) == set(n.index[n >= 10])
    assert received["rank"].tolist() == list(range(1, len(received) + 1))
    np.testing.assert_allclose(received["score"], cells["mean"].mean()[received["ensembl_id"]])
    means = np.log2(of_cells(raw).set_index("ensembl_id")["mean"]).groupby("ensembl_id").mean() - 1
    np.testing.assert_allclose(residual["score"], means[residual["ensembl_id"]])
    first = received.iloc[0]
    per_well = raw[raw["ensembl_id"] == first["ensembl_id"]]
    per_well = per_well.groupby(["well", "cell"])["received"].mean().groupby("well")
    _, low, high = ratio_interval(
        per_well.sum().to_numpy()[:, None], per_well.size().to_numpy(float)[:, None]
    )
    assert first["ci_low"] == pytest.approx(low[0])
    assert first["ci_high"] == pytest.approx(high[0])
    assert first["n_wells"] == 6
    means = per_well.mean()
    assert first["effect"] == pytest.approx(
        means[["W1", "W3", "W5"]].mean() - means[["W0", "W2"]].mean()
    )
    assert first["direction"] == np.sign(first["effect"])
    # every cell of class high has more attention on its later ranks: half of the wells
    assert received["p"].between(0, 1).all()
    assert (received["q"] >= received["p"]).all()


def test_p_is_the_moderated_t_of_well_means(raw):
    found = model_track("attention_received", matrices(raw), 1, GROUPS, regime="r", seed=None)
    sums = matrices(raw)
    counts = np.where(sums["n_cells"] > 0, sums["n_cells"], np.nan)
    means = pd.DataFrame(sums["sum"] / counts, sums["wells"], sums["genes"])
    means = means[found["ensembl_id"].sort_values()]
    test = moderated_t(means.loc[["W1", "W3", "W5"]].to_numpy(), means.loc[["W0", "W2"]].to_numpy())
    np.testing.assert_allclose(found.sort_values("ensembl_id")["p"], test["p"])


def test_a_seed_alone_has_no_p(raw):
    found = model_track("attention_received", matrices(raw), 1, None, regime="r", seed=2)
    assert found["p"].isna().all()
    assert found["seed"].eq(2).all()


def test_effects_on_the_total_are_per_cell_of_a_well(raw):
    """A well of twice as many cells of the same kind must not look different."""
    table = statistics(raw)["by_well"]
    doubled = table["well"].isin(["W1", "W3", "W5"])
    columns = ["n_cells", "sum"]
    more = table.assign(**{c: table[c] * np.where(doubled, 2, 1) for c in columns})
    plain, large = (
        model_track("attention_total", well_matrices([t], ["sum"]), 6, GROUPS).set_index(
            "ensembl_id"
        )
        for t in (table, more)
    )
    pd.testing.assert_series_equal(plain["p"], large["p"].reindex(plain.index))
    assert (large["score"] > plain["score"].reindex(large.index)).all()


def test_the_residual_needs_two_wells(raw):
    one = raw[(raw["well"] == "W1") | (raw["ensembl_id"] != GENES[0])]
    one = pd.concat([one.assign(cell=one["cell"] + 100 * i) for i in range(3)])
    sums = matrices(one)
    scores = dict(zip(sums["genes"], track_scores("attention_residual", sums, 1), strict=True))
    received = dict(zip(sums["genes"], track_scores("attention_received", sums, 1), strict=True))
    assert np.isnan(scores[GENES[0]])
    assert received[GENES[0]] > 0
    assert np.isfinite(scores[GENES[1]])


def test_an_attribution_scores_by_size_and_points_by_sign(raw):
    sums = well_matrices([attributions(raw, ["occlusion"])], ["sum", "sum_absolute"])
    found = model_track("occlusion", sums, 1, GROUPS, regime="full", seed=None)
    cells = sums["n_cells"].sum(0)
    place = {gene: i for i, gene in enumerate(sums["genes"])}
    at = [place[gene] for gene in found["ensembl_id"]]
    np.testing.assert_allclose(found["score"], (sums["sum_absolute"].sum(0) / cells)[at])
    np.testing.assert_array_equal(found["direction"], np.sign(sums["sum"].sum(0))[at])
    wells = sums["sum"] / np.where(sums["n_cells"] > 0, sums["n_cells"], np.nan)
    wells = wells[:, at]
    effect = np.nanmean(wells[[1, 3, 5]], 0) - np.nanmean(wells[[0, 2]], 0)
    np.testing.assert_allclose(found["effect"], effect)
    assert set(found["ensembl_id"]) == set(sums["genes"][cells >= 9]), "half of 18 cells"


def test_without_wells_there_is_no_p_and_the_interval_is_over_cells(raw):
    raw = raw.assign(well="all")
    found = model_track("attention_received", matrices(raw), 1, {}, regime="r", seed=None)
    assert found[["p", "q", "effect", "ci_low"]].isna().all().all()
    totals = gene_totals(statistics(raw)["by_gene"])
    low, high = interval_over_cells(totals, found["ensembl_id"])
    cells = of_cells(raw).groupby("ensembl_id")["mean"]
    row = found.iloc[3]
    half = 1.959964 * cells.std()[row["ensembl_id"]] / np.sqrt(row["n_cells"])
    assert high[3] - row["score"] == pytest.approx(half, rel=1e-5)
    assert row["score"] - low[3] == pytest.approx(half, rel=1e-5)


def obs_of(wells, **columns):
    return pd.DataFrame({"well": wells, **columns})


def test_contrast_wells_are_the_last_class_and_reference_wells_untreated():
    labels = pd.Categorical(["low", "low", "low", "high", "high", None], ["low", "high"])
    vehicle = np.array([True, True, False, False, False, False])
    obs = obs_of(["A", "A", "B", "C", "D", "E"])
    assert well_groups(obs, labels, vehicle) == {
        **{"A": "reference", "C": "contrast", "D": "contrast"}
    }
    # untreated cells are the last class, or there are none: the first class
    expected = {"A": "reference", "B": "reference", "C": "contrast", "D": "contrast"}
    assert well_groups(obs, labels, np.array(labels == "high")) == expected
    assert well_groups(obs, labels, np.zeros(6, bool)) == expected
    mixed = obs_of(["A", "A", "B", "C", "B", "E"])
    assert "B" not in well_groups(mixed, labels, vehicle), "a well of both"
    assert well_groups(obs.drop(columns="well"), labels, vehicle) == {}
    assert well_groups(obs.assign(well="all"), labels, vehicle) == {}


def test_the_null_of_a_gene_is_its_score_under_dealt_labels(raw):
    """Three relabellings, whose attention is one, two and three times the true one's."""
    frame = model_track("attention_total", matrices(raw), 6, None, regime="r", seed=None)
    dealt = pd.concat(
        frame[["track", "ensembl_id"]].assign(
            relabelling=b, seed=1, score=(b or 9) * frame["score"]
        )
        for b in range(4)
    )
    null = permuted_genes(dealt)
    found = with_permuted(frame, null["attention_total"])
    np.testing.assert_allclose(found["permuted_mean"], 2 * found["score"])
    np.testing.assert_allclose(found["permuted_sd"], found["score"])
    pd.testing.assert_frame_equal(with_permuted(frame, None), frame)
    one = permuted_genes(dealt[dealt["relabelling"] < 2])["attention_total"]
    assert one["permuted_sd"].isna().all(), "of one there is no spread"


def test_a_cell_counts_once_however_often_its_fold_was_trained(raw):
    """Three trainings of two folds; the sums of a training are 1, 2 and 3 times the first one's."""
    folds = {1: raw[raw["well"] < "W3"], 2: raw[raw["well"] >= "W3"]}
    runs = {
        (fold, seed): statistics(part.assign(received=seed * part["received"]))
        for fold, part in folds.items()
        for seed in (1, 2, 3)
    }
    by_well = [tables["by_well"] for tables in runs.values()]
    pooled = well_matrices(by_well, ["sum"], [fold for fold, _ in runs])
    alone = matrices(raw)
    np.testing.assert_array_equal(pooled["n_cells"], alone["n_cells"], "whole, to the last bit")
    np.testing.assert_allclose(pooled["sum"], 2 * alone["sum"])
    totals = gene_totals(counted_once({run: tables["by_gene"] for run, tables in runs.items()}), 6)
    one = gene_totals(statistics(raw)["by_gene"], 6)
    np.testing.assert_allclose(totals["total"], 2 * one["total"])
    same = ["n_cells", "rank_mean"]
    pd.testing.assert_frame_equal(totals[same], one[same])
    first, pool = (
        model_track("attention_total", sums, 6, GROUPS, regime="r", seed=None)
        for sums in (alone, pooled)
    )
    np.testing.assert_allclose(pool["score"], 2 * first["score"])
    np.testing.assert_allclose(pool["p"], first["p"], err_msg="well means averaged over seeds")
    pd.testing.assert_series_equal(pool["n_cells"], first["n_cells"])


def test_cells_that_one_training_rejects_count_in_part_and_are_shown_whole():
    table = pd.DataFrame({"well": ["A", "B"], "ensembl_id": "g", "n_cells": [20, 20]})
    table = table.assign(sum=[40.0, 20.0], sum_absolute=[40.0, 20.0])
    fewer = table.assign(n_cells=[19, 20], sum_absolute=[57.0, 40.0])
    found = well_matrices([table, table, fewer], ["sum", "sum_absolute"], [1, 1, 1])
    frame = model_track("occlusion", found, 1, None, regime="r", seed=None)
    assert frame["n_cells"].tolist() == [40]
    assert frame["score"].tolist() == pytest.approx([(2 * 60 + 97) / (2 * 40 + 39)])


def test_a_sparse_logistic_regression_is_averaged_over_folds():
    def table(scores, signs):
        return pd.DataFrame(
            {
                "baseline": "bag_of_genes_l1",
                "ensembl_id": list(scores),
                "score": list(scores.values()),
                "direction": signs,
            }
        )

    tables = [table({"a": 2.0, "b": 1.0}, [1, -1]), table({"a": 1.0, "c": 4.0}, [-1, 1])]
    pooled = logistic_track(tables, pd.Series({"a": 50, "b": 7}))
    assert pooled["seed"].isna().all()
    pooled = pooled.set_index("ensembl_id")
    assert pooled["score"].to_dict() == {"a": 1.5, "b": 0.5, "c": 2}
    assert pooled["direction"].to_dict() == {"a": 1, "b": -1, "c": 1}
    assert pooled["n_cells"].to_dict() == {"a": 50, "b": 7, "c": 0}


def test_random_scores_are_the_same_whatever_the_order():
    ids = [f"g{i:03d}" for i in range(200)]
    first, again = random_track(ids, 1), random_track(ids[::-1], 1)
    assert first["ensembl_id"].tolist() == again["ensembl_id"].tolist()
    assert scipy.stats.kstest(first["score"], "uniform").pvalue > 0.01


def test_detection_and_mean_rank(raw):
    detection, mean_rank = expression_tracks(gene_totals(statistics(raw)["by_gene"]))
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
            numbers = {"log2fc": np.sign(value), "auc": 0.5, "p": 0.1, "p_adj": 10.0 ** -abs(value)}
            sizes = {"n_cells": 10 + i, "n_reference": 5}
            rows.append({**common, **numbers, **sizes, "reference": "rest", "statistic": value})
            rows.append({**common, **numbers, **sizes, "reference": "vehicle", "statistic": 99.0})
    return pd.DataFrame(rows)


def test_differential_expression_counts_with_the_strongest_class():
    frame = wilcoxon(["a", "b", "c"], [[1.0, -5.0, 2.0], [-3.0, 4.0, 0.5], [2.0, 1.0, -2.0]])
    found = expression_tests("wilcoxon", frame).set_index("ensembl_id")
    assert found["score"].to_dict() == {"g1": 5, "g0": 3, "g2": 2}
    assert found["rank"].to_dict() == {"g1": 1, "g0": 2, "g2": 3}
    assert found.loc[["g1", "g0"], "direction"].tolist() == [-1, -1]
    assert found[["p", "q"]].isna().all().all(), "cells are no replicates of each other"
    assert found.loc["g0", "n_cells"] == 11


def test_of_two_classes_the_last_one_gives_the_sign():
    frame = wilcoxon(["low", "high"], [[1.0, -5.0], [-1.0, 5.0]])
    found = expression_tests("wilcoxon", frame).set_index("ensembl_id")
    assert found["direction"].to_dict() == {"g1": 1, "g0": -1}
    assert found["n_cells"].eq(11).all()


def test_pseudobulk_and_mean_difference_have_a_strongest_class_of_their_own():
    frame = wilcoxon(["a", "b", "c"], [[1.0, -5.0], [-3.0, 4.0], [2.0, 1.0]])
    frame["log2fc"] = np.where(frame["group"] == "c", 9.0, 0.1) * np.sign(frame["log2fc"])
    found = expression_tests("mean_difference", frame, by="log2fc").set_index("ensembl_id")
    assert found["score"].to_dict() == {"g0": 9, "g1": 9}
    assert found["p"].isna().all(), "not a test"
    wells = frame.drop(columns=["n_cells", "auc"]).assign(n_wells=6, n_reference=12, p=0.1)
    wells.loc[wells["ensembl_id"] == "g1", "statistic"] = np.nan
    found = expression_tests("pseudobulk", wells, n_cells={"a": 1, "b": 2, "c": 3})
    assert found["ensembl_id"].tolist() == ["g0"], "a gene without a statistic is left out"
    row = found.iloc[0]
    assert (row["score"], row["n_wells"], row["n_cells"]) == (3, 18, 2)
    assert row["p"] == row["q"] == pytest.approx(0.3), "the best of three tests"
    empty = expression_tests("pseudobulk", wells.iloc[:0], n_cells={})
    assert empty.empty
