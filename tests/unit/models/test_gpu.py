"""What a GPU may change, and how much. Skipped where torch sees none."""

import numpy as np
import pytest
import torch
from tiny_study import write_model, write_study

from keygenes.core.jobs import Compute
from keygenes.core.runs import Run
from keygenes.core.tables import read_table
from keygenes.models.finetune import finetune

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


def losses(study, folder, device, precision):
    outputs = ("weights", "config", "history", "predictions", "loading")
    suffix = {"weights": "safetensors", "config": "json", "loading": "json"}
    finetune(
        **study,
        **{f"out_{name}": folder / f"{name}.{suffix.get(name, 'parquet')}" for name in outputs},
        task="level",
        run=Run(1, 1),
        patterns=["*"],
        options=OPTIONS,
        max_length=24,
        compute=Compute(200, device=device, precision=precision),
    )
    return read_table(folder / "history.parquet")["valid_loss"].to_numpy()


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("auto", 5e-2)])
def test_training_on_a_gpu_follows_the_cpu(tmp_path, precision, tolerance):
    study = write_study(tmp_path / "study")
    base = tmp_path / "base"
    study.update(write_model(base))
    # hidden dropout draws other masks on a GPU too
    text = (base / "config.json").read_text()
    (base / "config.json").write_text(
        text.replace('"hidden_dropout_prob": 0.1', '"hidden_dropout_prob": 0.0')
    )
    assert '"hidden_dropout_prob": 0.0' in (base / "config.json").read_text()
    expected = losses(study, tmp_path / "cpu", "cpu", "float32")
    np.testing.assert_allclose(
        losses(study, tmp_path / "gpu", "cuda", precision), expected, rtol=tolerance
    )
