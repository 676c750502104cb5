import numpy as np
import pytest
import torch
from hub import hub_trunk, stored
from tiny_study import random_cells, write_model

from keygenes.attention import stream
from keygenes.attention.flow import readout_and_rollout, weights_of_readout
from keygenes.models.batches import padded
from keygenes.models.encoder import load_trunk

CELLS = random_cells(5, seed=2)
SPECIAL = 2  # taken for a special token wherever the mean leaves some out


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    paths = write_model(tmp_path_factory.mktemp("model"), layers=3, spread=0.6)
    return load_trunk(paths["weights"], paths["config"])


def dense(trunk, cell, start):
    """Return readout and rollout of one cell from its whole matrices."""
    layers = stored(hub_trunk(trunk), cell)[0].mean(1).numpy()
    rollout = np.eye(len(cell))
    for a in layers:
        rollout = (a / 2 + np.eye(len(cell)) / 2) @ rollout
    return len(cell) * start @ layers[-1], start @ rollout


@pytest.mark.parametrize("pooling", ["first", "cls", "mean"])
@pytest.mark.parametrize("block", [1, 1 << 19])
def test_both_are_those_of_the_whole_matrices(trunk, monkeypatch, pooling, block):
    monkeypatch.setattr(stream, "BLOCK", block)
    ids, mask = padded(CELLS)
    readout, rollout = readout_and_rollout(trunk, ids, mask, pooling, (SPECIAL,))
    assert readout.shape == rollout.shape == ids.shape
    assert readout.dtype == rollout.dtype == torch.float32
    for i, cell in enumerate(CELLS):
        read = (cell != SPECIAL) if pooling == "mean" else np.arange(len(cell)) == 0
        expected = dense(trunk, cell, read / read.sum())
        for ours, theirs in zip((readout, rollout), expected, strict=True):
            np.testing.assert_allclose(ours[i, : len(cell)], theirs, rtol=1e-4, atol=2e-5)
            assert (ours[i, len(cell) :] == 0).all()
    assert readout.std() > 0.3, "far from uniform, or nothing is shown"


def test_the_rollout_of_a_cell_sums_to_one_and_the_readout_is_one_on_average(trunk):
    ids, mask = padded(CELLS)
    readout, rollout = readout_and_rollout(trunk, ids, mask)
    torch.testing.assert_close(rollout.sum(1), torch.ones(len(CELLS)))
    torch.testing.assert_close(readout.sum(1), mask.sum(1).float())


def test_without_attention_to_others_the_rollout_stays_where_it_started(trunk, monkeypatch):
    """Every query looks only at its own key."""
    ids, mask = padded([np.arange(5, 11)])
    own = 100 * torch.eye(6)[None, None]
    monkeypatch.setattr(
        "keygenes.attention.flow.queries_and_keys", lambda *_: [(own, own), (own, own)]
    )
    readout, rollout = readout_and_rollout(trunk, ids, mask)
    assert rollout.tolist() == [[1, 0, 0, 0, 0, 0]]
    assert readout.tolist() == [[6, 0, 0, 0, 0, 0]]


def test_what_the_classifier_reads():
    ids, mask = padded([np.array([SPECIAL, 5, 6, 7]), np.array([5, 6])])
    assert weights_of_readout(ids, mask).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]
    mean = weights_of_readout(ids, mask, "mean", (SPECIAL,))
    np.testing.assert_allclose(mean, [[0, 1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0, 0]])
