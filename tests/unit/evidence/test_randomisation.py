import numpy as np
import pandas as pd
import pytest
import torch
from planted import MASK, classifier
from tiny_study import random_cells

from keygenes.core.schemas import TABLES
from keygenes.evidence.attribution import integrated_gradients
from keygenes.evidence.cell_scores import one_pass_scores
from keygenes.evidence.collected import collect_randomisation
from keygenes.evidence.randomisation import (
    cell_randomisation,
    randomised,
    similarity,
)
from keygenes.models.batches import padded

STAGES = ["classifier", "pooler", "layer 3", "layer 2", "layer 1"]
TRACKS = ("attention_received", "attention_readout", "rollout", "attention_gradient")


@pytest.fixture(scope="module")
def model():
    return classifier(layers=3, max_length=64)


def scores_of(model, cell):
    ids, mask = padded([cell])
    scores = one_pass_scores(model, ids, mask, TRACKS)
    scores["integrated_gradients"], _ = integrated_gradients(
        model, ids, mask, mask_token=MASK, specials=(0, MASK), n_steps=10, batch_tokens=200
    )
    return {track: found[0] for track, found in scores.items()}


def test_stages_go_from_the_classifier_down(model):
    assert list(model.parts()) == STAGES


def test_each_stage_adds_to_the_ones_before_and_leaves_the_rest(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed, names = (), {id(module): name for name, module in model.named_modules()}
    for stage, part in model.parts().items():
        changed = (*changed, names[id(part)] + ".")
        at_stage = next(m for s, m in randomised(model, 5) if s == stage)
        for key, value in at_stage.state_dict().items():
            same = torch.equal(value, before[key])
            constant = before[key].std() == 0  # biases and layer norms start as they are
            assert same != key.startswith(changed) or constant, (stage, key)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.slow
def test_attention_does_not_notice_a_random_classifier_and_gradients_do(model):
    cells = random_cells(3, seed=1, shortest=20)
    table = cell_randomisation(model, cells, scores_of, seed=5)
    mean = table.groupby(["track", "stage"])["spearman"].mean()
    for track in TRACKS[:3]:
        assert mean[track, "classifier"] == mean[track, "pooler"] == pytest.approx(1)
        assert mean[track, "layer 1"] < 0.9
    for track in ("attention_gradient", "integrated_gradients"):
        assert mean[track, "pooler"] < 0.95
    assert (table.groupby("stage")["depth"].first().loc[STAGES] == [1, 2, 3, 4, 5]).all()
    assert len(table) == 3 * 5 * 5


@pytest.mark.slow
def test_the_seed_decides_the_random_weights(model):
    cells = random_cells(1, seed=1, shortest=20)
    first, again, other = (cell_randomisation(model, cells, scores_of, seed=s) for s in (5, 5, 6))
    pd.testing.assert_frame_equal(first, again)
    assert not np.allclose(first["spearman"], other["spearman"])


def test_magnitudes_are_compared():
    assert similarity([1.0, -3.0, 2.0], [-1.0, 3.0, -2.0]) == pytest.approx(1)
    assert similarity([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert np.isnan(similarity([1.0, 1.0], [1.0, 2.0]))


def test_folds_of_a_seed_and_all_seeds_are_collected():
    def table(cells, value):
        return pd.DataFrame(
            {"cell": cells, "track": "rollout", "stage": "pooler", "depth": 2, "spearman": value}
        )

    runs = {
        ("full", 1, 1): table(["c0", "c1"], [0.2, 0.4]),
        ("full", 2, 1): table(["c2"], [0.7]),
        ("full", 1, 2): table(["c0", "c1"], [0.4, 0.6]),
        ("full", 2, 2): table(["c2"], [0.9]),
    }
    units = pd.DataFrame(
        {"unit_id": ["a", "a", "b"], "stratum": "0", "is_well": True}, index=["c0", "c1", "c2"]
    )
    found = collect_randomisation(runs, units)
    assert set(found.columns) == set(TABLES["randomisation"].names)
    found = found.set_index(found["seed"].fillna(0))
    assert found.loc[1, "spearman"] == pytest.approx(1.3 / 3)
    assert found.loc[1, "sd"] == pytest.approx(np.std([0.2, 0.4, 0.7], ddof=1))
    assert found.loc[2, "spearman"] == pytest.approx(1.9 / 3)
    pool = found.loc[0]
    assert pool["spearman"] == pytest.approx(1.6 / 3)
    assert (found["n_cells"] == 3).all(), "a cell that two seeds look at is one cell"
    assert (found["n_wells"] == 2).all()
    assert (found["ci_low"] < found["spearman"]).all()
    assert found[["ci_low", "ci_high"]].stack().between(-1, 1).all()
    empty = {key: t.iloc[:0] for key, t in runs.items()}
    assert collect_randomisation(empty, units).empty
