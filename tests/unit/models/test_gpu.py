"""What a GPU may change, and how much. Skipped where torch sees none."""

import os

import numpy as np
import pytest
import torch
from tiny_study import model_files, random_cells, task_fold, write_model, write_study

from keygenes.attention.expected import Sizes
from keygenes.attention.sums import Subset, add_attention, sums_of_model
from keygenes.core.jobs import Compute
from keygenes.core.runs import Run
from keygenes.core.tables import read_table
from keygenes.models.encoder import load_trunk
from keygenes.models.finetune import Regime, finetune
from keygenes.models.passes import Passes

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

OPTIONS = {
    "epochs": 3,
    "batch_size": 6,
    "learning_rate": 2e-3,
    "weight_decay": 0.001,
    "warmup_steps": 500,
    "warmup_fraction": 0.1,
    "max_grad_norm": 1.0,
    "attention_dropout": 0.0,  # dropout draws other masks on a GPU
    "pooling": None,
    "keep_epoch": "last",
    "converge": None,
}


HEAD = ["bert.pooler.*", "classifier.*"]
REGIMES = {"full": ["*"], "last_layer": ["bert.encoder.layer.{last}.*", *HEAD], "frozen": HEAD}


def losses(
    study, folder, device, precision="float32", patterns=None, deterministic=False, **options
):
    outputs = ("weights", "config", "history", "predictions", "loading")
    suffix = {"weights": "safetensors", "config": "json", "loading": "json"}
    cache = {"max_gb": 1, "dtype": "float32"}
    finetune(
        files=task_fold(study),
        model_files=model_files(study),
        out={name: folder / f"{name}.{suffix.get(name, 'parquet')}" for name in outputs},
        run=Run(1, 1),
        regime=Regime(patterns or REGIMES["full"], {**OPTIONS, **options}, cache=cache),
        compute=Compute(200, 1, device, precision, deterministic),
    )
    return read_table(folder / "history.parquet")["valid_loss"].to_numpy()


@pytest.fixture
def study(tmp_path):
    """Return a study whose model drops nothing out: dropout draws other masks on a GPU."""
    study, base = write_study(tmp_path / "study"), tmp_path / "base"
    study.update(write_model(base))
    text = (base / "config.json").read_text()
    (base / "config.json").write_text(
        text.replace('"hidden_dropout_prob": 0.1', '"hidden_dropout_prob": 0.0')
    )
    assert '"hidden_dropout_prob": 0.0' in (base / "config.json").read_text()
    return study


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("auto", 5e-2)])
def test_training_on_a_gpu_follows_the_cpu(study, tmp_path, precision, tolerance):
    expected = losses(study, tmp_path / "cpu", "cpu")
    found = losses(study, tmp_path / "gpu", "cuda", precision)
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("patterns", REGIMES.values(), ids=REGIMES)
def test_every_regime_learns_the_same_there(study, tmp_path, patterns, pooling):
    options = {"patterns": patterns, "pooling": pooling}
    expected = losses(study, tmp_path / "cpu", "cpu", **options)
    assert np.ptp(expected) > 0
    found = losses(study, tmp_path / "gpu", "cuda", **options)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_replayed_passes_are_those_that_are_made(study, tmp_path, monkeypatch):
    """With dropout, which draws anew in every replay."""
    text = (tmp_path / "base" / "config.json").read_text()
    (tmp_path / "base" / "config.json").write_text(
        text.replace('"hidden_dropout_prob": 0.0', '"hidden_dropout_prob": 0.3')
    )
    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(graph), replay(graph))
    )
    found = losses(study, tmp_path / "a", "cuda")
    assert len(replays) > 2 * len(set(replays)) > 0
    monkeypatch.setattr("keygenes.models.train.kind_of_passes", lambda *_: Passes)
    expected = losses(study, tmp_path / "b", "cuda")
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_attention_is_summed_to_the_same_bytes(study):
    trunk = load_trunk(study["weights"], study["config"]).to("cuda")
    cells, codes = random_cells(40, seed=3), np.arange(40) % 2
    sizes = Sizes(np.array([len(cell) for cell in cells]), np.ones(40))
    first, second = (sums_of_model(trunk, 2, 2, max_length=24) for _ in range(2))
    for sums in (first, second):
        add_attention(sums, trunk, Subset("test", cells, sizes, codes, codes), batch_tokens=200)
    for name, total in first.totals.items():
        assert torch.equal(total, second.totals[name]), name
    assert first.count("cells") == 40


def test_training_gives_the_same_bytes_where_they_are_asked_for(study, tmp_path):
    try:
        weights = []
        for name in "ab":
            losses(study, tmp_path / name, "cuda", "auto", deterministic=True)
            weights.append((tmp_path / name / "weights.safetensors").read_bytes())
        assert weights[0] == weights[1]
    finally:  # a job has its process to itself
        torch.set_deterministic_debug_mode("default")
        torch.backends.cuda.enable_flash_sdp(True)
        torch.backends.cuda.enable_mem_efficient_sdp(True)
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
