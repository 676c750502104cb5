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
from keygenes.models.evaluate import (
    accuracy_difference,
    confusion_metrics,
    evaluate,
    metric_intervals,
    whole_numbers,
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


def intervals(confusions, strata):
    """Return the 95 % interval of the accuracy."""
    return metric_intervals(np.asarray(confusions)[:, None, None], strata)["accuracy"][1:]


def test_units_are_left_out_within_their_stratum():
    right, wrong = np.diag([4, 4]), np.array([[0, 4], [4, 0]])
    confusions = np.array([right] * 5 + [wrong] * 5)
    # whatever is left out, half of the cells are right: no spread is left
    assert intervals(confusions, ["a"] * 5 + ["b"] * 5) == (0.5, 0.5)
    low, high = intervals(confusions, ["a"] * 10)
    assert low <= 0.3
    assert high >= 0.7


def test_an_interval_over_wells_is_that_of_the_mean_of_wells():
    rng = np.random.default_rng(0)
    hits = rng.binomial(40, rng.beta(7, 3, 200))  # wells of 40 cells that differ
    confusions = np.array([[[h, 40 - h], [0, 0]] for h in hits])
    low, high = intervals(confusions, np.zeros(200))
    shares = hits / 40
    half = 1.972 * shares.std(ddof=1) / np.sqrt(200)  # t of 199 degrees of freedom
    assert low == pytest.approx(shares.mean() - half, abs=1e-4)
    assert high == pytest.approx(shares.mean() + half, abs=1e-4)


def test_models_of_a_fold_that_differ_widen_the_interval():
    confusions = np.zeros((8, 2, 3, 2, 2), int)
    hits = np.array([[20, 30, 40], [25, 35, 36]])  # of 50 cells, by fold and seed
    for well in range(8):
        fold = well % 2
        confusions[well, fold, :, 0, 0] = hits[fold] + well // 4
        confusions[well, fold, :, 0, 1] = 50 - hits[fold] - well // 4
    doses = np.arange(8) // 4
    value, low, high = metric_intervals(confusions, doses)["accuracy"]
    assert value == pytest.approx((hits.mean() + 0.5) / 50)
    means = confusions.sum(2, keepdims=True)  # as if one model had named them
    _, narrow_low, narrow_high = metric_intervals(means, doses)["accuracy"]
    assert high - low > 2 * (narrow_high - narrow_low)
    worse = np.array(confusions)
    worse[..., 0, 0] -= 5 * (confusions[..., 0, 0] > 0)
    worse[..., 0, 1] += 5 * (confusions[..., 0, 0] > 0)
    difference, low, high, p = accuracy_difference(confusions, worse, doses)
    assert (difference, low, high) == pytest.approx((0.1, 0.1, 0.1)), "the same in every model"
    assert p < 0.01


def test_what_was_trained_once_stays_while_models_are_left_out():
    rng = np.random.default_rng(1)
    many = rng.integers(1, 20, (6, 1, 3, 2, 2))
    once = rng.integers(1, 20, (6, 1, 1, 2, 2))
    found = accuracy_difference(many, once, [0] * 6)
    np.testing.assert_allclose(found, accuracy_difference(many, once.repeat(3, 2), [0] * 6))


def test_rounded_matrices_keep_the_sums_of_their_rows():
    assert whole_numbers(np.array([[1 / 3, 2 / 3], [4, 0]])).tolist() == [[0, 1], [4, 0]]
    means = np.random.default_rng(0).multinomial(50, np.full(5, 0.2), (3, 5)).mean(0)
    rounded = whole_numbers(means)
    assert rounded.sum(1).tolist() == [50] * 5
    assert np.abs(rounded - means).max() < 1


def baseline_table(frame, said, classes=CLASSES):
    """Return table 'baseline_predictions' of one baseline."""
    table = predictions_table(frame, np.eye(len(classes))[said], classes)
    return table.assign(baseline="length_only")


WITH_INTERVAL = ["accuracy", "macro_f1", "balanced_accuracy", "quadratic_kappa"]
WITH_INTERVAL += ["mean_absolute_error", "accuracy_over_commonest"]
OF_PAIRS = ["accuracy_over_commonest", "accuracy_gain", "leak"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Score two regimes, trained twice and once, on three folds of a third of the wells each."""
    n, folder = 180, tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(3)
    label = np.resize([0, 0, 1, 2], n)
    well = np.array([f"W{label[i]}{(i // 4) % 6}" for i in range(n)])
    held_out = np.array([int(w[-1]) % 3 for w in well])
    cells = pd.DataFrame({"unit_id": well, "unit": "well", "stratum": label.astype(str)})
    cells.index = [f"c{i}" for i in range(n)]
    predictions, baselines = {}, {}
    for fold in (1, 2, 3):
        splits = [held_out == fold - 1, held_out == fold % 3]
        split = np.select(splits, ["test", "valid"], "train")
        frame = pd.DataFrame({"cell": cells.index, "split": split, "label": label})
        for regime, share, seeds in (("full", 0.8, (1, 2)), ("frozen", 0.4, (1,))):
            for seed in seeds:
                said = np.where(rng.random(n) < share, label, rng.integers(0, 3, n))
                table = predictions_table(frame, np.eye(3)[said], CLASSES)
                path = folder / f"{regime}.fold{fold}.seed{seed}"
                write_table(table.sample(frac=1, random_state=seed), path, "predictions")
                predictions[regime, fold, seed] = read_table(path)
        baselines["grouped", fold] = baseline_table(frame, 1 - label % 2)
    return predictions, cells, *evaluate(predictions, baselines, cells, CLASSES, main="full")


def of_regime(table, regime, fold=None, seed=None):
    """Return the rows of a regime: of a model, of the pool of a seed, or of all."""
    keep = table["regime"] == regime
    for column, key in (("fold", fold), ("seed", seed)):
        keep &= table[column].isna() if key is None else table[column].eq(key).fillna(False)
    return table[keep]


@pytest.mark.slow
def test_every_model_and_split_and_the_pools_of_all_tests(scored):
    predictions, _, metrics, confusion = scored
    assert set(metrics["regime"]) == {"full", "frozen", "majority", "length_only"}
    assert metrics["design"].eq("grouped").all()
    assert set(confusion["regime"]) == {"full", "frozen", "majority"}
    for (regime, fold, seed), table in predictions.items():
        for split in ("train", "valid", "test"):
            part = table[table["split"] == split]
            true, said = part["true"].astype(str), part["predicted"].astype(str)
            rows = of_regime(metrics, regime, fold, seed)
            rows = rows[rows["split"] == split].set_index("metric")
            assert rows["value"]["accuracy"] == pytest.approx(accuracy_score(true, said))
            assert rows["value"]["macro_f1"] == pytest.approx(f1_score(true, said, average="macro"))
            assert rows["n_cells"].eq(60).all()
            assert rows["n_units"].eq(6).all()
            assert rows["unit"].eq("well").all()
            assert rows.loc["accuracy", "covers"] == "wells"
    assert of_regime(metrics, "majority", 1)["split"].nunique() == 3
    assert of_regime(metrics, "majority", 1, 1).empty, "baselines have no seed"


def true_and_said(predictions, regime, seed=None):
    """Return true and predicted classes of all test cells of a regime."""
    tables = [t for (r, _, s), t in predictions.items() if r == regime and seed in (None, s)]
    found = pd.concat([t[t["split"] == "test"] for t in tables])
    return found["true"].astype(str), found["predicted"].astype(str)


def test_a_cell_that_several_models_test_counts_once(scored):
    predictions, _, metrics, confusion = scored
    for seed, covers in ((1, "wells"), (None, "wells and trainings")):
        true, said = true_and_said(predictions, "full", seed)
        rows = of_regime(metrics, "full", None, seed).set_index("metric")
        assert rows["n_cells"].eq(180).all()
        assert rows["n_units"].eq(18).all()
        assert rows.loc[WITH_INTERVAL, "covers"].eq(covers).all()
        assert rows.loc["accuracy", "value"] == pytest.approx((true == said).mean())
        matrix = of_regime(confusion, "full", None, seed)
        matrix = matrix.pivot(index="true", columns="predicted", values="n_cells")
        expected = confusion_matrix(true, said, labels=CLASSES) * 180 / len(true)
        matrix = matrix.loc[CLASSES, CLASSES].to_numpy()
        assert np.abs(matrix - expected).max() < 1
        assert matrix.sum() == 180
    once = of_regime(metrics, "frozen").set_index("metric")
    assert once.loc[WITH_INTERVAL, "covers"].eq("wells").all()
    assert once.loc["accuracy_gain", "covers"] == "wells and trainings", "those of the other side"


def test_every_interval_holds_its_value(scored):
    metrics = scored[2].query("metric != 'classes_named'")
    assert (metrics["ci_low"] <= metrics["value"] + 1e-12).all()
    assert (metrics["value"] <= metrics["ci_high"] + 1e-12).all()
    assert (metrics["ci_low"] < metrics["ci_high"]).mean() > 0.6
    assert metrics.query("metric == 'accuracy'")[["ci_low", "ci_high"]].stack().between(0, 1).all()


def test_learning_is_what_is_beyond_the_commonest_class(scored):
    predictions, _, metrics, _ = scored
    tested = pd.concat(
        table[table["split"] == "test"].assign(fold=fold)
        for (regime, fold, seed), table in predictions.items()
        if (regime, seed) == ("full", 1)
    )
    for key in ((1, 1), (None, 1), (None, None)):
        rows = of_regime(metrics, "full", *key).query("split == 'test'").set_index("metric")
        here = tested if key[0] is None else tested[tested["fold"] == key[0]]
        commonest = here["true"].value_counts(normalize=True).iloc[0]
        over = rows.loc["accuracy_over_commonest"]
        assert over["value"] == pytest.approx(rows.loc["accuracy", "value"] - commonest)
        assert (over["p"] < 0.05) == (over["ci_low"] > 0)
        assert over["ci_low"] > 0 or key == (1, 1), "two wells a class say little"
        assert rows.loc["classes_named", "value"] == 3
    rows = of_regime(metrics, "majority").set_index("metric")
    assert rows.loc["classes_named", "value"] == 1
    assert rows.loc["classes_named", ["ci_low", "covers"]].isna().all()
    assert "accuracy_over_commonest" not in rows.index
    assert not metrics.query("split != 'test'")["metric"].isin([*OF_PAIRS, "classes_named"]).any()


def test_equally_large_classes_are_no_difference_between_wells():
    """Another class is the commonest in each fold's training cells: that is chance."""
    label = np.repeat([0, 1], 40)
    cells = pd.DataFrame({"cell": [f"c{i}" for i in range(80)], "label": label})
    cells["fold"] = np.arange(80) // 10 % 2 + 1
    rng = np.random.default_rng(0)
    predictions, baselines = {}, {}
    for fold in (1, 2):
        test = (cells["fold"] == fold).to_numpy()
        few = ~test & ((label == fold - 1) | (np.arange(80) % 40 < 15))
        split = np.where(test, "test", np.where(few, "train", "valid"))
        said = np.where(rng.random(80) < 0.8, label, 1 - label)
        frame = cells.assign(split=split)
        predictions["full", fold, 1] = predictions_table(frame, np.eye(2)[said], CLASSES[:2])
        table = predictions_table(frame, np.eye(2)[label], CLASSES[:2])
        baselines["grouped", fold] = table.assign(baseline="length_only")
    units = pd.DataFrame(
        {
            "unit_id": [f"W{i // 10}" for i in range(80)],
            "unit": "well",
            "stratum": np.where(label, "25", "0"),
        },
        index=cells["cell"],
    )
    metrics, _ = evaluate(predictions, baselines, units, CLASSES[:2])
    pooled = metrics[metrics["fold"].isna() & metrics["seed"].isna()].set_index("metric")
    full = pooled[pooled["regime"] == "full"]
    over, own = full.loc["accuracy_over_commonest"], full.loc["accuracy"]
    assert over["value"] == pytest.approx(own["value"] - 0.5)
    assert over["ci_high"] - over["ci_low"] == pytest.approx(own["ci_high"] - own["ci_low"])


def names_of(said, label, split="test"):
    """Return predictions and baselines of one model, and its cells in a unit per class."""
    frame = pd.DataFrame({"cell": [f"c{i}" for i in range(len(label))]})
    frame = frame.assign(split=split, label=label)
    table = predictions_table(frame, np.eye(2)[said], CLASSES[:2])
    return {("full", 1, 1): table}, frame


@pytest.mark.parametrize(("units", "known"), [(2, True), (1, False)])
def test_single_units_are_held_against_their_neighbours(units, known):
    label = np.arange(20) % 2
    predictions, frame = names_of(np.where(np.arange(20) < 8, label, 0), label)
    baselines = {("grouped", 1): baseline_table(frame, 1 - label, CLASSES[:2])}
    baselines["grouped", 1].loc[0, "split"] = "train"
    cells = pd.DataFrame({"unit_id": (label % units).astype(str), "unit": "well"}, frame.cell)
    cells["stratum"] = cells["unit_id"]
    metrics, _ = evaluate(predictions, baselines, cells, CLASSES[:2], main="full")
    metrics = metrics.query("metric != 'classes_named'")
    assert metrics["value"].notna().all()
    assert {"accuracy", "accuracy_gain"} <= set(metrics["metric"])
    row = metrics[(metrics["regime"] == "full") & (metrics["metric"] == "accuracy")].iloc[-1]
    assert np.isfinite(row["ci_low"]) == known
    if not known:
        assert metrics[["ci_low", "ci_high", "p", "covers"]].isna().all(axis=None)


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
    predictions, frame = names_of(label, label, np.repeat(["train", "test"], [10, 20]))
    cells = pd.DataFrame({"unit_id": frame["cell"], "unit": "cell", "stratum": "s"})
    cells.index = cells["unit_id"]
    baselines = {("grouped", 1): baseline_table(frame, label, CLASSES[:2])}
    metrics, _ = evaluate(predictions, baselines, cells, CLASSES[:2])
    value = metrics.query("regime == 'majority' and split == 'test' and metric == 'accuracy'")
    assert value["value"].eq(0).all()
    value = metrics.query("regime == 'full' and metric == 'accuracy'")
    assert value["value"].eq(1).all()
    assert value["covers"].eq("cells").all()


def two_designs(share, *, n_wells=24, per_well=20):
    """Score names that are right for a share of the cells, by design: {(name, design): share}."""
    rng = np.random.default_rng(1)
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
                predictions[name, fold, 1] = table
    metrics, _ = evaluate(
        predictions,
        baselines,
        cells,
        ["a", "b"],
        designs={"full_random": "random"},
        main="full",
        twins={"full_random": "full"},
    )
    return metrics.set_index(["regime", "design", "metric", "split"])


SHARES = {
    ("full", "grouped"): 0.7,
    ("frozen", "grouped"): 0.7,
    ("length_only", "grouped"): 0.5,
    ("full_random", "random"): 0.9,
    ("length_only", "random"): 0.5,
}


def test_a_gain_is_paired_and_a_leak_is_random_less_grouped():
    metrics = two_designs(SHARES).xs("test", level="split")
    pooled = metrics[metrics["fold"].isna() & metrics["seed"].isna()]
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


@pytest.mark.slow
def test_only_the_pool_has_gains_and_leaks_and_only_differences_have_p():
    metrics = two_designs(SHARES).reset_index()
    of_pool = metrics[metrics["metric"].isin(["accuracy_gain", "leak"])]
    assert of_pool[["fold", "seed"]].isna().all(axis=None)
    of_two = metrics["metric"].isin(OF_PAIRS)
    assert metrics.loc[of_two, "p"].between(0, 1).all()
    assert metrics.loc[~of_two, "p"].isna().all()


def test_a_cell_that_two_folds_test_is_one_cell_of_its_well():
    rows = two_designs(SHARES).reset_index().query("regime == 'full_random' and split == 'test'")
    rows = rows[(rows["metric"] == "accuracy") & (rows["fold"].notna() | rows["seed"].isna())]
    rows = rows.set_index(rows["fold"].fillna(0))
    assert rows.loc[[1, 2], "n_cells"].tolist() == [96, 96]
    assert 96 < rows.loc[0, "n_cells"] < 192
    assert rows["unit"].eq("well").all()


def test_the_tables_fit_their_schemas(scored, tmp_path):
    _, _, metrics, confusion = scored
    write_table(metrics, tmp_path / "metrics", "metrics")
    write_table(confusion, tmp_path / "confusion", "confusion")
    back = read_table(tmp_path / "metrics")
    assert {str(back[column].dtype) for column in ("fold", "seed")} == {"Int64"}
    assert not back.duplicated(["regime", "fold", "seed", "split", "metric", "design"]).any()
