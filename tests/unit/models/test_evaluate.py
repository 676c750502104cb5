import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from keygenes.core.tables import read_table, write_table
from keygenes.models.cells import predictions_table
from keygenes.models.evaluate import (
    bootstrap_intervals,
    confusion_metrics,
    evaluate,
    unit_confusions,
)

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
    if classes == 3:
        expected = balanced_accuracy_score(true, predicted)
        assert metrics["balanced_accuracy"] == pytest.approx(expected)


def test_metrics_by_hand_and_many_matrices_at_once():
    one, other = [[3, 1], [2, 4]], [[0, 0], [1, 1]]
    metrics = confusion_metrics(np.array([one, other]))
    assert metrics["accuracy"].tolist() == [0.7, 0.5]
    assert metrics["balanced_accuracy"] == pytest.approx([(3 / 4 + 4 / 6) / 2, 0.5])
    assert metrics["macro_f1"] == pytest.approx([(6 / 9 + 8 / 11) / 2, 2 / 3])
    assert confusion_metrics(np.zeros((2, 2)))["accuracy"] == 0


def test_confusions_per_unit_add_up_to_the_whole():
    true, predicted = random_labels()
    units = np.random.default_rng(1).choice(["b", "a", "c"], 300)
    confusions = unit_confusions(true, predicted, units, 3)
    for matrix, unit in zip(confusions, pd.unique(units), strict=True):
        of_unit = units == unit
        expected = confusion_matrix(true[of_unit], predicted[of_unit], labels=[0, 1, 2])
        np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(
        confusions.sum(0), confusion_matrix(true, predicted, labels=[0, 1, 2])
    )


def test_units_are_drawn_within_their_stratum():
    right, wrong = np.diag([4, 4]), np.array([[0, 4], [4, 0]])
    confusions = np.array([right] * 5 + [wrong] * 5)
    strata = ["a"] * 5 + ["b"] * 5
    # whatever is drawn, half of the cells are right: no spread is left
    assert bootstrap_intervals(confusions, strata, 200)["accuracy"] == (0.5, 0.5)
    low, high = bootstrap_intervals(confusions, ["a"] * 10, 200)["accuracy"]
    assert low <= 0.3
    assert high >= 0.7


def test_an_interval_over_wells_is_that_of_the_mean_of_wells():
    rng = np.random.default_rng(0)
    hits = rng.binomial(40, rng.beta(7, 3, 200))  # wells of 40 cells that differ
    confusions = np.array([[[h, 40 - h], [0, 0]] for h in hits])
    low, high = bootstrap_intervals(confusions, np.zeros(200), 4000)["accuracy"]
    shares = hits / 40
    half = 1.96 * shares.std() / np.sqrt(200)
    assert low == pytest.approx(shares.mean() - half, abs=0.004)
    assert high == pytest.approx(shares.mean() + half, abs=0.004)
    by_cell = 1.96 * np.sqrt(shares.mean() * (1 - shares.mean()) / 8000)
    assert high - low > 2 * by_cell, "wider than if cells were independent"


def test_intervals_repeat():
    confusions = np.random.default_rng(0).integers(0, 9, (12, 3, 3))
    first = bootstrap_intervals(confusions, [0] * 12, 100)
    assert first == bootstrap_intervals(confusions, [0] * 12, 100)


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
    predictions = {}
    for regime, share in (("full", 0.8), ("frozen", 0.4)):
        for seed in (1, 2, 3):
            split = np.where(fold == seed - 1, "test", np.where(fold == seed % 3, "valid", "train"))
            frame = pd.DataFrame({"cell": cells.index, "split": split, "label": label})
            said = np.where(rng.random(n) < share, label, rng.integers(0, 3, n))
            table = predictions_table(frame, np.eye(3)[said], CLASSES)
            path = tmp_path / f"{regime}{seed}"
            write_table(table.sample(frac=1, random_state=seed), path, "predictions")
            predictions[regime, seed] = read_table(path)
    return predictions, cells, *evaluate(predictions, cells, CLASSES, 300)


def test_every_regime_seed_and_split_and_the_pool_of_all_tests(scored):
    predictions, cells, metrics, confusion = scored
    assert len(metrics) == 3 * (3 * 3 + 1) * 3
    assert list(dict.fromkeys(metrics["regime"])) == ["full", "frozen", "majority"]
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
    metrics, _ = evaluate({("full", 1): table}, cells, ["a", "b"], 100)
    value = metrics.query("regime == 'majority' and split == 'test' and metric == 'accuracy'")
    assert value["value"].eq(0).all()
    assert metrics.query("regime == 'full'")["value"].eq(1).all()


def test_wells_are_drawn_within_their_own_dose():
    # all cells of dose 25 are named right, all of dose 0 wrong: no draw within doses differs
    wells = ["W9", "W2", "W7", "W1", "W8", "W3"]
    doses = ["25.0", "0.0", "25.0", "0.0", "0.0", "25.0"]
    cells = pd.DataFrame({"unit_id": np.repeat(wells, 4), "unit": "well"})
    cells["stratum"] = np.repeat(doses, 4)
    cells.index = [f"c{i}" for i in range(24)]
    label = np.resize([0, 1], 24)
    said = np.where(cells["stratum"] == "25.0", label, 1 - label)
    frame = pd.DataFrame({"cell": cells.index, "split": "test", "label": label})
    train = frame.assign(split="train", cell=[f"c{i}" for i in range(24)])
    table = pd.concat(
        predictions_table(part, np.eye(2)[said], ["a", "b"]) for part in (frame, train)
    )
    metrics, _ = evaluate({("full", 1): table}, cells, ["a", "b"], 200)
    rows = metrics[(metrics["regime"] == "full") & (metrics["metric"] == "accuracy")]
    assert rows["value"].eq(0.5).all()
    assert rows["ci_low"].eq(0.5).all()
    assert rows["ci_high"].eq(0.5).all()


def test_the_tables_fit_their_schemas(scored, tmp_path):
    _, _, metrics, confusion = scored
    write_table(metrics, tmp_path / "metrics", "metrics")
    write_table(confusion, tmp_path / "confusion", "confusion")
    back = read_table(tmp_path / "metrics")
    assert str(back["seed"].dtype) == "Int64"
    assert back["seed"].isna().sum() == 9
