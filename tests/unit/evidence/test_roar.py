import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.roar import (
    FRACTIONS,
    hits_without,
    matched_genes,
    ranked_genes,
    remove_and_retrain,
    remove_genes,
    training_difference,
)

N_GENES, N_WELLS, PER_WELL = 100, 12, 30
KEY = np.arange(40, 45)  # the genes that carry the class


def world(seed=0):
    """Return counts, labels, wells and folds: five of a hundred genes differ."""
    rng = np.random.default_rng(seed)
    n = N_WELLS * PER_WELL
    wells = np.repeat(np.arange(N_WELLS), PER_WELL)
    labels = wells % 2
    rates = np.tile(np.geomspace(0.2, 6, N_GENES)[::-1], (n, 1))
    rates[np.ix_(labels == 1, KEY)] *= 4
    counts = rng.poisson(rates)
    folds = []
    for fold in range(3):
        test = wells // 2 % 3 == fold
        valid = ~test & (wells // 6 == 1) & (rng.random(n) < 0.5)
        folds.append((~test & ~valid, valid, test))
    return counts, labels, wells, folds


def removed_from(ranked, seed=0, **options):
    counts, labels, wells, folds = world(seed)
    options = {"n_random": 3, **options}
    names = np.array([f"W{w}" for w in wells])
    table = remove_and_retrain(
        np.log1p(counts).astype(np.float32),
        labels,
        folds,
        ranked,
        names,
        labels.astype(str),
        **options,
    )
    return table.set_index(["track", "fraction"])


def test_one_unit_in_all_leaves_no_interval():
    counts, labels, _, folds = world(0)
    units = np.full(len(labels), "all")
    table = remove_and_retrain(
        *(np.log1p(counts[:, :60]).astype(np.float32), labels, folds[:1], {}, units, units),
        n_random=1,
    )
    assert table["accuracy"].notna().all()
    assert table[["ci_low", "ci_high", "drop_low", "drop_high", "p"]].isna().all(axis=None)


@pytest.mark.slow
def test_only_the_key_genes_are_missed():
    others = np.setdiff1d(np.arange(N_GENES), KEY)
    order = np.random.default_rng(1).permutation(others)
    ranked = {"right": np.r_[KEY, order], "wrong": np.r_[order, KEY]}
    table = removed_from(ranked)
    assert table.loc[("right", 0), "accuracy"] > 0.95
    assert table.loc[("right", 0.05), "accuracy"] < 0.65
    assert table.loc[("right", 0.05), "drop_low"] > 0.1
    assert table.loc[("right", 0.05), "p"] < 0.05
    assert table.loc[("wrong", 0.2), "accuracy"] > 0.95
    assert (table.loc["wrong", "drop"].dropna() < 0.05).all()
    # what the classes differ by among the training cells is found without being told
    assert table.loc[("training_difference", 0.05), "accuracy"] < 0.65
    assert table["n_cells"].eq(N_WELLS * PER_WELL).all()
    assert table["n_units"].eq(N_WELLS).all()
    assert table.loc["right", "n_removed"].tolist() == [0, 1, 2, 5, 10, 20]


@pytest.mark.slow
def test_a_track_without_enough_genes_has_no_row():
    table = removed_from({"short": np.arange(6)}, n_random=1)
    assert table.loc["short"].index.tolist() == [0, 0.01, 0.02, 0.05]


def test_matched_genes_are_as_widely_detected_and_may_be_the_same():
    detection = np.random.default_rng(0).permutation(np.linspace(0.01, 1, 200))
    order = np.argsort(-detection)
    decile = np.empty(200, int)
    decile[order] = np.arange(200) // 20
    removed = np.r_[order[:3], order[65:70], order[199:]]
    draws = [matched_genes(removed, detection, np.random.default_rng(s)) for s in range(50)]
    for genes in draws:
        assert len(set(genes)) == 9
        np.testing.assert_array_equal(np.sort(decile[genes]), np.sort(decile[removed]))
    assert len({tuple(genes) for genes in draws}) > 40
    assert any(np.isin(removed, genes).any() for genes in draws)
    # a track that is detection itself removes whole deciles, and so does its match
    whole = matched_genes(order[:40], detection, np.random.default_rng(0))
    np.testing.assert_array_equal(whole, np.sort(order[:40]))


def test_removing_is_the_same_as_setting_to_zero():
    counts, labels, _, folds = world()
    train, test = np.flatnonzero(folds[0][0]), np.flatnonzero(folds[0][2])
    matrix = np.log1p(counts).astype(float)
    removed = np.r_[KEY[:3], 7]
    left_out = hits_without(matrix, labels, train, test, removed, 0.1)
    zeroed = matrix.copy()
    zeroed[:, removed] = 0
    nothing = hits_without(zeroed, labels, train, test, np.empty(0, int), 0.1)
    assert (left_out == nothing).mean() > 0.99


def test_the_training_difference_never_sees_a_test_cell():
    counts, labels, _, folds = world()
    train, _, test = folds[0]
    matrix = np.log1p(counts)
    first = training_difference(matrix, labels, train)
    assert set(first[:5]) == set(KEY)
    changed, other = matrix.copy(), labels.copy()
    changed[test] = 0
    other[test] = 1 - other[test]
    np.testing.assert_array_equal(training_difference(changed, other, train), first)


def evidence(tracks):
    """Return table 'genes' of {(track, regime, seed): ids from the most key on}."""
    frames = [
        pd.DataFrame(
            {"track": t, "regime": r, "seed": s, "ensembl_id": ids, "rank": range(1, len(ids) + 1)}
        ).sample(frac=1, random_state=0)
        for (t, r, s), ids in tracks.items()
    ]
    return pd.concat(frames).reindex(columns=TABLES["genes"].names).astype({"seed": "Int64"})


def test_tracks_are_pooled_ones_of_the_regime_or_of_none():
    ids = ["b", "x", "a", "c"]
    table = evidence(
        {
            ("wilcoxon", None, None): ids,
            ("attention_total", "full", None): ids[::-1],
            ("attention_total", "full", 1): ids,
            ("attention_received", "frozen", None): ids,
        }
    )
    ranked = ranked_genes(table, "full", ["a", "b", "c"])
    assert {name: order.tolist() for name, order in ranked.items()} == {
        "wilcoxon": [1, 0, 2],
        "attention_total": [2, 0, 1],
    }


@pytest.fixture
def study(tmp_path):
    counts, labels, wells, folds = world()
    cells = [f"c{i}" for i in range(len(labels))]
    obs = pd.DataFrame(
        {
            "well": [f"W{w}" for w in wells],
            "dose_um": labels * 25.0,
            "n_counts": counts.sum(1).astype(float),
        },
        cells,
    )
    ids = [f"G{i}" for i in range(N_GENES)]
    matrix = scipy.sparse.csr_matrix(counts.astype(np.float32))
    paths = {name: tmp_path / name for name in ("counts", "labels", "splits", "genes")}
    write_matrix(anndata.AnnData(matrix, obs, pd.DataFrame(index=ids)), paths["counts"])
    names = np.array(["low", "high"])[labels]
    level = pd.Categorical(names, ["low", "high"])
    # a cell without a class takes no part
    level = pd.Categorical.from_codes(
        np.where(np.arange(len(cells)) == 5, -1, level.codes), ["low", "high"]
    )
    write_table(pd.DataFrame({"cell": cells, "level": level}), paths["labels"])
    splits = [
        pd.DataFrame(
            {"cell": cells, "fold": k, "split": np.select(parts, ["train", "valid", "test"], "")}
        ).sample(frac=1, random_state=k)
        for k, parts in enumerate(folds, start=1)
    ]
    write_table(pd.concat(splits).assign(unit="well"), paths["splits"], "splits")
    tracks = {("wilcoxon", None, None): [f"G{i}" for i in np.r_[KEY, np.arange(40)]]}
    write_table(evidence(tracks), paths["genes"], "genes")
    return paths


@pytest.mark.slow
def test_a_job_writes_its_table_and_repeats_it(study, tmp_path):
    written = []
    for run in "ab":
        tables = {name: read_table(study[name]) for name in ("labels", "splits", "genes")}
        labels = tables.pop("labels").set_index("cell")["level"]
        counts, how = read_matrix(study["counts"]), {"n_random": 2, "threads": 1}
        table = remove_genes(counts, labels, **tables, regime="full", **how)
        write_table(table, tmp_path / run, "roar")
        written.append((tmp_path / run).read_bytes())
    assert written[0] == written[1]
    table = read_table(tmp_path / "a")
    assert set(table["track"]) == {"wilcoxon", "training_difference"}
    assert table["seed"].isna().all()
    assert table["regime"].eq("full").all()
    assert table["n_cells"].eq(N_WELLS * PER_WELL - 1).all()
    assert sorted(set(table["fraction"])) == [0, *FRACTIONS]
    missed = table[(table["track"] == "wilcoxon") & (table["fraction"] == 0.05)]
    assert missed["accuracy"].item() < 0.65
