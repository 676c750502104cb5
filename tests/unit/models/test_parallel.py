"""Processes that share each batch train the model that one process trains."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from messages import assert_sentence
from stated import logged
from test_finetune import FROZEN, OPTIONS, OUTPUTS, tuned
from tiny_study import write_model, write_study

from keygenes.core.errors import InputError
from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table
from keygenes.models import finetune as module
from keygenes.models.parallel import run_together


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a study whose model drops nothing out: processes draw other masks."""
    folder = tmp_path_factory.mktemp("study")
    paths = {**write_study(folder, n_cells=62), **write_model(folder / "base")}
    config = json.loads(paths["config"].read_text())
    config["hidden_dropout_prob"] = config["attention_probs_dropout_prob"] = 0.0
    paths["config"].write_text(json.dumps(config))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patterns", "cache"),
    [(["*"], None), (["bert.encoder.layer.1.*", *FROZEN], {"max_gb": 1, "dtype": "float32"})],
    ids=["full", "last layer, cached"],
)
def test_two_processes_learn_what_one_does(study, tmp_path, monkeypatch, patterns, cache):
    options = {**OPTIONS, "batch_size": 37}  # the last batch has one cell: none for the second
    more = {"patterns": patterns, "cache": cache, "options": options}
    tuned(study, tmp_path / "one", **more)
    single = module.finetune
    monkeypatch.setattr(
        "test_finetune.finetune", lambda **settings: run_together(single, 2, **settings)
    )
    before = dict(os.environ)
    tuned(study, tmp_path / "two", **more)
    assert dict(os.environ) == before
    assert not torch.distributed.is_initialized()
    one, two = (read_table(tmp_path / name / "history.parquet") for name in ("one", "two"))
    assert len(read_table(tmp_path / "one/predictions.parquet")) == 62
    for column in ("train_loss", "valid_loss"):
        np.testing.assert_allclose(two[column], one[column], atol=1e-5, rtol=0)
    assert two["step"].tolist() == one["step"].tolist() == [2, 4, 6]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(OUTPUTS)


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_job(study, tmp_path, monkeypatch):
    single = module.finetune
    monkeypatch.setattr(
        "test_finetune.finetune", lambda **settings: run_together(single, 2, **settings)
    )
    with pytest.raises(InputError):
        tuned(study, tmp_path, options={**OPTIONS, "learning_rate": 1e38, "epochs": 6})
    assert not torch.distributed.is_initialized()
    assert torch.multiprocessing.active_children() == []


def test_a_process_too_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError) as error:
        run_together(print, 2, compute=Compute(device="cuda"))
    assert_sentence(error, "config key 'compute.processes'", "2, but this job sees 1 GPU")


def test_one_process_is_no_group():
    assert run_together(dict, 1, compute=Compute()) == {"compute": Compute()}


def finetune_that_dies(*, after, group, **settings):
    """Fine-tune, and let the second process be killed once the file `after` is there."""

    def die():
        while not after.exists():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGKILL)

    if group.rank == 1:
        threading.Thread(target=die, daemon=True).start()
    module.finetune(**settings, group=group)


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_the_next_one_resumes(
    study, tmp_path, monkeypatch, caplog
):
    options = {**OPTIONS, "epochs": 40, "batch_size": 20}
    single, after = module.finetune, tmp_path / "b" / "resume.pt"

    def together(function, **more):
        return lambda **settings: run_together(function, 2, **more, **settings)

    monkeypatch.setattr("test_finetune.finetune", together(single))
    whole = tuned(study, tmp_path / "a", options=options)
    monkeypatch.setattr("test_finetune.finetune", together(finetune_that_dies, after=after))
    with pytest.raises(InputError) as error:
        tuned(study, tmp_path / "b", options=options)
    assert_sentence(error, "'compute.processes', process 1", "signal 9", "it resumes after")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["resume.pt"]
    assert not torch.distributed.is_initialized()
    monkeypatch.setattr("test_finetune.finetune", together(single))
    with caplog.at_level("INFO", "keygenes"):
        assert tuned(study, tmp_path / "b", options=options) == whole
    assert logged(caplog, "resum")


class DiesWhenRead:
    """What kills the process that unpickles it: one that has not joined the others yet."""

    def __setstate__(self, state):
        os.kill(os.getpid(), signal.SIGKILL)

    def __getstate__(self):
        return {"any": 1}


WAITS_FOR_EVER = """
import logging
from keygenes.core.jobs import Compute
from keygenes.models import parallel
from test_parallel import DiesWhenRead
if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    parallel.PATIENCE = 1.0
    parallel.run_together(print, 2, compute=Compute(), dies=DiesWhenRead())
"""


@pytest.mark.slow
def test_a_process_that_is_killed_before_it_joins_is_not_waited_for(tmp_path):
    (tmp_path / "waits.py").write_text(WAITS_FOR_EVER)
    path = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, tmp_path / "waits.py"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 1
    assert_sentence(run.stderr.strip().splitlines()[-1], "'compute.processes', process 1")
