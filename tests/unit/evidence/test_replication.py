import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence
from two_studies import FREE, N_GENES, PLANTED, gene_ids, genes_of, primary_of

from keygenes.core.errors import InputError
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.rankings import rank_biased_overlap
from keygenes.evidence.replication import (
    chance_overlap,
    difference_interval,
    not_in_both,
    overlap_interval,
    pooled_tracks,
    primary_beside,
    replication,
    same_track,
)
from keygenes.evidence.tracks import track

NAMES = ("one", "other")
VALUES = ["rbo", "rbo_low", "rbo_high", "spearman", "partial", "n_genes", "difference"]


@pytest.fixture(scope="module")
def table():
    return replication(genes_of(1), genes_of(2), NAMES, n_bootstrap=100)


def itself(table, regime="full"):
    same = same_track(table)
    return same[(same["regime"] == regime) | same["regime"].isna()].set_index("track_a")


@pytest.mark.slow
def test_only_the_planted_track_repeats_itself(table):
    same = itself(table)
    planted, free = same.loc[PLANTED], same.loc[FREE]
    assert planted["rbo"] > 0.6 and planted["difference_low"] > 0.3
    assert planted["spearman"] > 0.95 and planted["partial"] > 0.95
    assert free["rbo_low"] < free["rbo_chance"] < free["rbo_high"] + 0.05
    assert free["spearman_low"] < 0 < free["spearman_high"]
    assert free["difference"] < 0.1
    # The total follows how many cells have a gene: it agrees across studies, and not given that.
    total = same.loc["attention_total"]
    assert total["spearman"] > 0.9 and abs(total["partial"]) < 0.2
    assert total["nearest_track"] == "detection" and total["difference_high"] < 0
    assert (same["n_genes"] == N_GENES).all()


@pytest.mark.slow
def test_a_study_agrees_wholly_with_itself():
    genes = genes_of(1)
    same = same_track(replication(genes, genes, NAMES, n_bootstrap=50))
    assert np.allclose(same["rbo"], 1) and np.allclose(same["spearman"], 1)
    assert np.allclose(same[["rbo_low", "rbo_high"]], 1)
    within = same["nearest_rbo"].dropna()
    assert len(within) and (within < 1).all()


@pytest.mark.slow
def test_rows_are_of_both_comparisons_and_fit_the_schema(table, tmp_path):
    write_table(table.assign(task="level"), tmp_path / "replication.parquet", "replication")
    kept = read_table(tmp_path / "replication.parquet")
    assert list(kept.columns) == TABLES["replication"].names
    n = 3  # tracks of a model; as many need none, and the random one is left out
    across, within = (kept[kept["comparison"] == kind] for kind in ("across", "within"))
    assert len(across) == n * n + 2 * ((2 * n) ** 2 - n * n)
    assert len(within) == 2 * (n + 2 * (n * (2 * n - 1) - n))
    assert "random" not in set(kept["track_a"].astype(str))
    assert (within["study_a"].astype(str) == within["study_b"].astype(str)).all()
    keys = ["comparison", "study_a", "study_b", "regime", "track_a", "track_b"]
    assert not kept[keys].astype(str).duplicated().any()


@pytest.mark.slow
def test_the_order_of_rows_and_other_regimes_change_no_number(table):
    shuffled = genes_of(2).sample(frac=1, random_state=3)
    less = genes_of(1)
    less = less[less["regime"] != "frozen"]
    other = itself(replication(less, shuffled, NAMES, n_bootstrap=100))
    assert set(itself(table).index) == set(other.index)
    pd.testing.assert_frame_equal(itself(table)[VALUES].loc[other.index], other[VALUES])


@pytest.mark.slow
def test_rows_of_single_trainings_are_not_read(table):
    pooled = [genes[genes["seed"].isna()] for genes in (genes_of(1), genes_of(2))]
    pd.testing.assert_frame_equal(table, replication(*pooled, NAMES, n_bootstrap=100))


def test_overlap_counts_shared_genes_alone_ranked_anew():
    ids = gene_ids(30)
    values = np.arange(30.0)
    a = track("wilcoxon", ids[:25], values[:25], 5)
    b = track("wilcoxon", ids[5:], values[5:], 5)
    a, b = (frame.assign(symbol="") for frame in (a, b))
    (row,) = same_track(replication(a, b, NAMES, n_bootstrap=20)).to_dict("records")
    assert row["n_genes"] == 20
    assert row["rbo"] == pytest.approx(1) and row["spearman"] == pytest.approx(1)
    assert np.isnan(row["partial"]) and np.isnan(row["difference"])


def test_chance_is_what_unrelated_orders_have():
    rng = np.random.default_rng(0)
    n = 300
    drawn = [
        rank_biased_overlap(rng.permutation(n) + 1, rng.permutation(n) + 1) for _ in range(2000)
    ]
    assert np.mean(drawn) == pytest.approx(chance_overlap(n), abs=4 * np.std(drawn) / 2000**0.5)
    assert chance_overlap(1) == pytest.approx(1)


@pytest.mark.slow
def test_the_interval_of_overlap_holds_the_overlap_of_new_genes():
    # Studies of other genes with the same noise: the interval of each covers the common mean.
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        true = rng.normal(size=600)
        pair = []
        for name in NAMES:
            frame = track("wilcoxon", gene_ids(600), true + rng.normal(0, 0.3, 600), 5)
            pair.append(pooled_tracks(frame, name, gene_ids(600))["wilcoxon", None])
        both = rank_biased_overlap(*(one.rank for one in pair))
        found.append((both, *overlap_interval(*pair, 100)))
    value, low, high = np.array(found).T
    covered = (low <= value.mean()) & (value.mean() <= high)
    assert covered.mean() >= 0.85


def test_a_difference_adds_the_squares_of_its_parts():
    assert difference_interval((0.5, 0.2, 0.6), (0.1, 0.1, 0.5)) == pytest.approx((0.4, -0.1, 0.5))


@pytest.mark.slow
def test_studies_that_name_genes_otherwise_are_refused():
    mouse = genes_of(2, ids=gene_ids(start="ENSMUSG"))
    with pytest.raises(InputError) as error:
        replication(genes_of(1), mouse, NAMES)
    assert_sentence(error, "config key 'studies'", "0 genes", "ENSMUSG00000000000")


@pytest.mark.slow
def test_what_one_study_alone_has_is_named():
    a, b = genes_of(1), genes_of(2, regimes=("full", "last_layer"))
    b = b[b["track"] != FREE]
    assert not_in_both(a, b, NAMES) == {"one": ["frozen", FREE], "other": ["last_layer"]}
    assert not_in_both(a, a, NAMES) == {}


def test_primary_tests_stand_side_by_side():
    beside = primary_beside(primary_of(outcome="supported", effect=0.2), None, NAMES)
    rows = beside.set_index("quantity")
    assert list(rows.index) == TABLES["primary"].names
    assert rows.loc["outcome", "one"] == "supported" and rows.loc["effect", "one"] == 0.2
    assert rows["other"].isna().all()
