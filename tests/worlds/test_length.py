"""Classes that differ in the length of their cells alone: who sees through it, who is fooled."""

import numpy as np
import pandas as pd
import pytest
from tiny_study import task_fold
from world_study import CHEAP, accuracy, run_world

from keygenes.models.baselines import EqualDepth, fit_baselines

SEEDS, N_FOLDS = (0, 1, 2), 6
OF_ATTENTION = ["attention_total", "attention_received", "attention_residual", "norm_pair"]


def right_by_baseline(paths, folder):
    """Return whether baselines predict the test cells right: DataFrame [n_cells, n_baselines]."""
    folds = []
    for fold in range(1, N_FOLDS + 1):
        predictions, _ = fit_baselines(
            task_fold(paths, fold),
            paths["counts"],
            paths["vocabulary"],
            equal_depth=EqualDepth(None, 0),
            threads=1,
        )
        folds.append(predictions)
    table = pd.concat(folds).astype({"baseline": str, "true": str, "predicted": str})
    table = table[table["split"] == "test"]
    table["right"] = table["true"] == table["predicted"]
    return table.pivot(index="cell", columns="baseline", values="right").astype(float)


def standard_error(differences):
    """Return the standard error of the mean of paired differences."""
    return np.std(differences, ddof=1) / np.sqrt(len(differences))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Return, per seed, tracks, predictions and the cells that each baseline has right."""
    found = {}
    for seed in SEEDS:
        folder = tmp_path_factory.mktemp(f"length{seed}")
        options = {"n_replicates": N_FOLDS, "n_folds": N_FOLDS, "seed": seed}
        frame, predictions, paths = run_world(
            folder / "world", "length", tracks=[*CHEAP, "norm_pair"], costly_cells=0, **options
        )
        found[seed] = frame, predictions, right_by_baseline(paths, folder)
    return found


@pytest.mark.slow
def test_nothing_beats_the_length_of_a_cell(worlds):
    right = pd.concat([one[2] for one in worlds.values()])
    length = right.pop("length_only")
    assert length.mean() > 0.75
    for name in right:
        difference = right[name] - length
        assert difference.mean() < 2 * standard_error(difference), name
    for _, predictions, of_baselines in worlds.values():
        assert 0.6 < accuracy(predictions) < of_baselines["length_only"].mean()


@pytest.mark.slow
def test_attention_corrected_for_length_sees_nothing_and_the_total_is_fooled(worlds, capsys):
    frame = pd.concat([one[0] for one in worlds.values()])
    frame = frame[frame["p"].notna()].astype({"track": str})
    share = (frame["p"] < 0.05).groupby(frame["track"]).mean()
    with capsys.disabled():
        print(f"\nShare of genes at p < 0.05, cells of two lengths, {len(SEEDS)} worlds")
        print(share.sort_values().round(3).to_string())
    assert share["attention_residual"] <= 0.05
    assert share["attention_total"] > 0.5
    assert share["attention_residual"] < share["attention_received"] < share["attention_total"]
    assert (frame.loc[frame["track"] == "attention_residual", "q"] < 0.05).sum() == 0
