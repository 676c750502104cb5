import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
)

from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import predictions_table
from keygenes.models.evaluate import confusion_metrics, evaluate, resample, two_sided_p

CLASSES = ["low", "mid", "high"]


def random_labels(n=300, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    return true, np.where(rng.random(n) < 0.6, true, rng.integers(0, 3, n))


@pytest.mark.parametrize("classes", [3, 2], ids=["all classes", "a class no cell has"])
def test_the_metrics_are_those_of_scikit_learn(classes):
    true, predicted = random_labels(classes=classes)
    metrics = confusion_metrics(confusion_matrix(true, predicted, labels=[0, 1, 2]))
    seen = list(range(classes))
    f1 = f1_score(true, predicted, labels=seen, average="macro", zero_division=0)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert metrics["macro_f1"] == pytest.approx(f1)
    recalls = [(predicted[true == c] == c).mean() for c in seen]
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    kappa = cohen_kappa_score(true, predicted, labels=[0, 1, 2], weights="quadratic")
    assert metrics["quadratic_kappa"] == pytest.approx(kappa)
    assert metrics["mean_absolute_error"] == pytest.approx(np.abs(true - predicted).mean())
    if classes == 3:
        expected = balanced_accuracy_score(true, predicted)
        assert metrics["balanced_accuracy"] == pytest.approx(expected)


def test_metrics_by_hand_and_many_matrices_at_once():
    one, other = [[3, 1], [2, 4]], [[0, 0], [1, 1]]
    metrics = confusion_metrics(np.array([one, other]))
    assert metrics["accuracy"].tolist() == [0.7, 0.5]
    assert metrics["balanced_accuracy"] == pytest.approx([(3 / 4 + 4 / 6) / 2, 0.5])
    assert metrics["macro_f1"] == pytest.approx([(6 / 9 + 8 / 11) / 2, 2 / 3])
    assert metrics["mean_absolute_error"] == pytest.approx([0.3, 0.5])
    assert confusion_metrics(np.zeros((2, 2)))["accuracy"] == 0


def test_a_prediction_of_one_class_alone_has_no_kappa():
    assert confusion_metrics([[5, 0], [3, 0]])["quadratic_kappa"] == 0
    assert confusion_metrics([[5, 0], [0, 0]])["quadratic_kappa"] == 0


def intervals(confusions, strata, n_bootstrap):
    """Return the 95 % interval of the accuracy."""
    units = [f"W{i}" for i in range(len(confusions))]
    draws = confusion_metrics(resample(np.asarray(confusions), units, strata, n_bootstrap))
    return tuple(np.quantile(draws["accuracy"], [0.025, 0.975]))


def test_units_are_drawn_within_their_stratum():
    right, wrong = np.diag([4, 4]), np.array([[0, 4], [4, 0]])
    confusions = np.array([right] * 5 + [wrong] * 5)
    strata = ["a"] * 5 + ["b"] * 5
    # whatever is drawn, half of the cells are right: no spread is left
    assert intervals(confusions, strata, 200) == (0.5, 0.5)
    low, high = intervals(confusions, ["a"] * 10, 200)
    assert low <= 0.3
    assert high >= 0.7


def test_an_interval_over_wells_is_that_of_the_mean_of_wells():
    rng = np.random.default_rng(0)
    hits = rng.binomial(40, rng.beta(7, 3, 200))  # wells of 40 cells that differ
    confusions = np.array([[[h, 40 - h], [0, 0]] for h in hits])
    low, high = intervals(confusions, np.zeros(200), 4000)
    shares = hits / 40
    half = 1.96 * shares.std() / np.sqrt(200)
    assert low == pytest.approx(shares.mean() - half, abs=0.004)
    assert high == pytest.approx(shares.mean() + half, abs=0.004)
    by_cell = 1.96 * np.sqrt(shares.mean() * (1 - shares.mean()) / 8000)
    assert high - low > 2 * by_cell, "wider than if cells were independent"


def test_the_same_units_are_drawn_alike_and_others_are_not():
    confusions = np.random.default_rng(0).integers(0, 9, (12, 3, 3))
    units = [f"W{i}" for i in range(12)]
    first = resample(confusions, units, [0] * 12, 100)
    np.testing.assert_array_equal(resample(2 * confusions, units, [0] * 12, 100), 2 * first)
    side_by_side = np.stack([confusions, confusions[::-1]], 1)
    np.testing.assert_array_equal(resample(side_by_side, units, [0] * 12, 100)[:, 0], first)
    other = resample(confusions, [f"V{i}" for i in range(12)], [0] * 12, 100)
    assert (other != first).any()


def test_the_p_of_a_difference():
    draws = np.r_[np.full(990, 0.1), np.full(9, -0.1)]
    assert two_sided_p(draws) == pytest.approx(0.02)
    assert two_sided_p(-draws) == pytest.approx(0.02)
    assert two_sided_p(np.full(999, 0.1)) == pytest.approx(0.002)
    assert two_sided_p(np.zeros(999)) == 1


def baseline_table(frame, said, classes=CLASSES):
    """Return table 'baseline_predictions' of one baseline."""
    table = predictions_table(frame, np.eye(len(classes))[said], classes)
    return table.assign(baseline="length_only")


@pytest.fixture
def scored(tmp_path):
    """Score two regimes and three seeds that hold out a third of the wells each."""
    n = 180
    rng = np.random.default_rng(3)
    label = np.resize([0, 0, 1, 2], n)
    well = np.array([f"W{label[i]}{(i // 4) % 6}" for i in range(n)])
    fold = np.array([int(w[-1]) % 3 for w in well])
    cells = pd.DataFrame({"unit_id": well, "unit": "well", "stratum": label.astype(str)})
    cells.index = [f"c{i}" for i in range(n)]
    predictions, baselines = {}, {}
    for regime, share in (("full", 0.8), ("frozen", 0.4)):
        for seed in (1, 2, 3):
            split = np.where(fold == seed - 1, "test", np.where(fold == seed % 3, "valid", "train"))
            frame = pd.DataFrame({"cell": cells.index, "split": split, "label": label})
            said = np.where(rng.random(n) < share, label, rng.integers(0, 3, n))
            table = predictions_table(frame, np.eye(3)[said], CLASSES)
            path = tmp_path / f"{regime}{seed}"
            write_table(table.sample(frac=1, random_state=seed), path, "predictions")
            predictions[regime, seed] = read_table(path)
            baselines["grouped", seed] = baseline_table(frame, 1 - label % 2)
    tables = evaluate(predictions, baselines, cells, CLASSES, n_bootstrap=300, main="full")
    return predictions, cells, *tables


def test_every_regime_seed_and_split_and_the_pool_of_all_tests(scored):
    predictions, cells, metrics, confusion = scored
    names = ["full", "frozen", "majority", "length_only"]
    assert set(metrics["regime"]) == set(names)
    assert len(metrics) == 4 * (3 * 3 + 1) * 5 + 3
    assert metrics["design"].eq("grouped").all()
    assert list(dict.fromkeys(confusion["regime"])) == names[:3]
    for (regime, seed), table in predictions.items():
        for split in ("train", "valid", "test"):
            part = table[table["split"] == split]
            true, said = part["true"].astype(str), part["predicted"].astype(str)
            rows = metrics[(metrics["regime"] == regime) & (metrics["seed"] == seed)]
            rows = rows[rows["split"] == split].set_index("metric")
            assert rows["value"]["accuracy"] == pytest.approx(accuracy_score(true, said))
            assert rows["value"]["macro_f1"] == pytest.approx(f1_score(true, said, average="macro"))
            assert rows["n_cells"].eq(60).all()
            assert rows["n_units"].eq(6).all()
            assert rows["unit"].eq("well").all()
    pooled = metrics[metrics["seed"].isna() & (metrics["regime"] == "full")].set_index("metric")
    assert pooled["n_cells"].eq(180).all()
    assert pooled["n_units"].eq(18).all()
    tests = pd.concat(t[t["split"] == "test"] for (r, _), t in predictions.items() if r == "full")
    true, said = tests["true"].astype(str), tests["predicted"].astype(str)
    assert pooled["value"]["accuracy"] == pytest.approx((true == said).mean())
    expected = confusion_matrix(true, said, labels=CLASSES)
    rows = confusion[confusion["seed"].isna() & (confusion["regime"] == "full")]
    matrix = rows.pivot(index="true", columns="predicted", values="n_cells")
    np.testing.assert_array_equal(matrix.loc[CLASSES, CLASSES], expected)


def test_every_interval_holds_its_value(scored):
    metrics = scored[2]
    assert (metrics["ci_low"] <= metrics["value"] + 1e-12).all()
    assert (metrics["value"] <= metrics["ci_high"] + 1e-12).all()
    assert (metrics["ci_low"] < metrics["ci_high"]).mean() > 0.6


def test_one_unit_per_stratum_leaves_no_interval_and_no_p():
    label = np.arange(20) % 2
    frame = pd.DataFrame({"cell": [f"c{i}" for i in range(20)], "split": "test", "label": label})
    said = np.where(np.arange(20) < 8, label, 0)
    predictions = {("full", 1): predictions_table(frame, np.eye(2)[said], CLASSES[:2])}
    baselines = {("grouped", 1): baseline_table(frame, 1 - label, CLASSES[:2])}
    baselines["grouped", 1].loc[0, "split"] = "train"
    cells = pd.DataFrame({"unit_id": label.astype(str), "stratum": label.astype(str)}, frame.cell)
    cells["unit"] = "replicate"  # a single one, of both classes
    metrics, _ = evaluate(predictions, baselines, cells, CLASSES[:2], n_bootstrap=50, main="full")
    assert metrics["value"].notna().all()
    assert {"accuracy", "accuracy_gain"} <= set(metrics["metric"])
    assert metrics[["ci_low", "ci_high", "p"]].isna().all(axis=None)


def test_the_majority_is_the_commonest_training_class(scored):
    _, _, metrics, confusion = scored
    rows = metrics.query("regime == 'majority' and split == 'test'")
    accuracy = rows[rows["metric"] == "accuracy"]
    assert len(accuracy) == 4
    assert accuracy["value"].to_numpy() == pytest.approx(0.5, abs=0.1)
    balanced = rows.loc[rows["metric"] == "balanced_accuracy", "value"]
    assert balanced.to_numpy() == pytest.approx(1 / 3)
    said = confusion[(confusion["regime"] == "majority") & (confusion["n_cells"] > 0)]
    assert set(said["predicted"]) == {"low"}


def test_the_majority_comes_from_training_cells_only():
    # 'a' is commonest overall and in the test cells, 'b' among the training cells
    label = np.array([1] * 6 + [0] * 4 + [0] * 20)
    split = np.array(["train"] * 10 + ["test"] * 20)
    cells = pd.DataFrame({"unit_id": [f"c{i}" for i in range(30)], "unit": "cell", "stratum": "s"})
    cells.index = cells["unit_id"]
    frame = pd.DataFrame({"cell": cells.index, "split": split, "label": label})
    table = predictions_table(frame, np.eye(2)[label], ["a", "b"])
    baselines = {("grouped", 1): baseline_table(frame, label, ["a", "b"])}
    metrics, _ = evaluate({("full", 1): table}, baselines, cells, ["a", "b"], n_bootstrap=100)
    value = metrics.query("regime == 'majority' and split == 'test' and metric == 'accuracy'")
    assert value["value"].eq(0).all()
    assert metrics.query("regime == 'full' and metric == 'accuracy'")["value"].eq(1).all()


def test_wells_are_drawn_within_their_own_dose():
    # all cells of dose 25 are named right, all of dose 0 wrong: no draw within doses differs
    wells = ["W9", "W2", "W7", "W1", "W8", "W3"]
    doses = ["25.0", "0.0", "25.0", "0.0", "0.0", "25.0"]
    cells = pd.DataFrame({"unit_id": np.repeat(wells, 4), "unit": "well"})
    cells["stratum"] = np.repeat(doses, 4)
    cells.index = [f"c{i}" for i in range(24)]
    label = np.resize([0, 1], 24)
    said = np.where(cells["stratum"] == "25.0", label, 1 - label)
    parts = []
    for split in ("test", "train"):
        frame = pd.DataFrame({"cell": cells.index, "split": split, "label": label})
        parts.append(predictions_table(frame, np.eye(2)[said], ["a", "b"]))
    table = pd.concat(parts)
    baselines = {("grouped", 1): table.assign(baseline="length_only")}
    metrics, _ = evaluate({("full", 1): table}, baselines, cells, ["a", "b"], n_bootstrap=200)
    rows = metrics[(metrics["regime"] == "full") & (metrics["metric"] == "accuracy")]
    assert rows["value"].eq(0.5).all()
    assert rows["ci_low"].eq(0.5).all()
    assert rows["ci_high"].eq(0.5).all()


def two_designs(share, *, seed=1, n_wells=24, per_well=20):
    """Score names that are right for a share of the cells, by design: {(name, design): share}."""
    rng = np.random.default_rng(seed)
    n = n_wells * per_well
    wells = np.repeat([f"W{i}" for i in range(n_wells)], per_well)
    cells = pd.DataFrame({"unit_id": wells, "unit": "well", "stratum": "s"})
    cells.index = [f"c{i}" for i in range(n)]
    label = np.resize([0, 1], n)
    hard = np.repeat(rng.random(n_wells), per_well)  # wells differ, for all names alike
    predictions, baselines = {}, {}
    for fold in (1, 2):
        test = {
            "grouped": np.arange(n) // per_well % 2 == fold - 1,
            "random": rng.permutation(n) < n // 5,
        }
        for (name, design), right in share.items():
            split = np.where(test[design], "test", "train")
            frame = pd.DataFrame({"cell": cells.index, "split": split, "label": label})
            hit = rng.random(n) < np.clip(right + 0.3 * (hard - 0.5), 0, 1)
            table = predictions_table(frame, np.eye(2)[np.where(hit, label, 1 - label)], ["a", "b"])
            if name == "length_only":
                baselines[design, fold] = table.assign(baseline=name)
            else:
                predictions[name, fold] = table
    metrics, _ = evaluate(
        predictions,
        baselines,
        cells,
        ["a", "b"],
        n_bootstrap=400,
        designs={"full_random": "random"},
        main="full",
        twins={"full_random": "full"},
    )
    return metrics.set_index(["regime", "design", "metric", "split", "seed"])


SHARES = {
    ("full", "grouped"): 0.7,
    ("frozen", "grouped"): 0.7,
    ("length_only", "grouped"): 0.5,
    ("full_random", "random"): 0.9,
    ("length_only", "random"): 0.5,
}


def test_a_gain_is_paired_and_a_leak_is_random_less_grouped():
    metrics = two_designs(SHARES)
    pooled = metrics.xs("test", level="split")
    pooled = pooled[pooled.index.get_level_values("seed").isna()].droplevel("seed")
    accuracy = {key[:2]: row.value for key, row in pooled.iterrows() if key[2] == "accuracy"}
    gain = pooled.loc["length_only", "grouped", "accuracy_gain"]
    difference = accuracy["full", "grouped"] - accuracy["length_only", "grouped"]
    assert gain["value"] == pytest.approx(difference)
    assert gain["p"] < 0.02
    assert gain["ci_low"] > 0
    # what makes a well hard for both regimes is gone from their difference
    same = pooled.loc["frozen", "grouped", "accuracy_gain"]
    assert same["ci_low"] < 0 < same["ci_high"]
    assert same["p"] > 0.05
    wide = pooled.loc["frozen", "grouped", "accuracy"]
    assert same["ci_high"] - same["ci_low"] < 1.3 * (wide["ci_high"] - wide["ci_low"])
    # of the split by cell, the twin of the main regime is what the others are held against
    assert ("length_only", "random", "accuracy_gain") in pooled.index
    assert ("full_random", "random", "accuracy_gain") not in pooled.index
    leak = pooled.loc["full_random", "random", "leak"]
    difference = accuracy["full_random", "random"] - accuracy["full", "grouped"]
    assert leak["value"] == pytest.approx(difference)
    assert leak["ci_low"] > 0
    assert leak["p"] < 0.02
    none = pooled.loc["length_only", "random", "leak"]
    assert none["ci_low"] < 0 < none["ci_high"]
    assert set(leak.index) == set(gain.index)


def test_only_the_pool_has_differences_and_only_they_have_p():
    metrics = two_designs(SHARES).reset_index()
    of_two = metrics["metric"].isin(["accuracy_gain", "leak"])
    assert metrics.loc[of_two, "seed"].isna().all()
    assert metrics.loc[of_two, "p"].between(0, 1).all()
    assert metrics.loc[~of_two, "p"].isna().all()


def test_a_cell_that_two_seeds_test_is_one_cell_of_its_well():
    rows = two_designs(SHARES).reset_index().query("regime == 'full_random' and split == 'test'")
    by_seed = rows[rows["seed"].notna()].drop_duplicates("seed")["n_cells"]
    pooled = rows.loc[rows["seed"].isna(), "n_cells"].iloc[0]
    assert by_seed.tolist() == [96, 96]
    assert 96 < pooled < 192
    assert rows["unit"].eq("well").all()


def test_the_tables_fit_their_schemas(scored, tmp_path):
    _, _, metrics, confusion = scored
    write_table(metrics, tmp_path / "metrics", "metrics")
    write_table(confusion, tmp_path / "confusion", "confusion")
    back = read_table(tmp_path / "metrics")
    assert str(back["seed"].dtype) == "Int64"
    assert back["seed"].isna().sum() == 4 * 5 + 3
