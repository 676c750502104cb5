import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from messages import assert_sentence
from stated import logged
from torch.optim.optimizer import register_optimizer_step_pre_hook

from keygenes.core.errors import InputError
from keygenes.models import train as train_module
from keygenes.models.device import Hardware
from keygenes.models.passes import Passes
from keygenes.models.train import (
    Course,
    Losses,
    Training,
    linear_schedule,
    load_checkpoint,
    parameter_groups,
    train,
    warmup_steps,
)

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = (X @ torch.tensor([1.0, -2.0, 0.5]))[:, None]


def records(settings):
    """Return the `Course`, `Training` and `Hardware` that hold some settings."""
    kinds = Course, Training, Hardware
    assert settings.keys() <= {name for kind in kinds for name in kind._fields}
    return [kind(**{k: settings[k] for k in kind._fields if k in settings}) for kind in kinds]


def fitted(tmp_path, *, valid_losses=None, batch_loss=None, model=None, lengths=None, **options):
    """Fit a line; return (model, history, calls). `valid_losses` replaces the true ones."""
    torch.manual_seed(0)
    model = model or torch.nn.Linear(3, 1)
    calls = []

    def loss(batch, rng):
        calls.append(batch)
        return torch.nn.functional.mse_loss(model(X[batch]), Y[batch])

    losses = iter(valid_losses) if valid_losses else None

    def validate():
        value = next(losses) if losses else torch.nn.functional.mse_loss(model(X), Y).item()
        if isinstance(value, Exception):
            raise value
        return value, 0.5

    settings = {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.05,
        "weight_decay": 0.01,
        "warmup": lambda n: 2,
        "max_grad_norm": 1.0,
        "seed": 1,
        "device": torch.device("cpu"),
        "precision": "float32",
        "checkpoint": Path(tmp_path) / "resume.pt",
        "run": ["test"],
        "label": "line",
    }
    lengths = np.full(40, 5) if lengths is None else lengths
    history = train(model, lengths, batch_loss or loss, validate, *records({**settings, **options}))
    return model, history, calls


def test_warm_up_is_the_smaller_of_both_limits():
    assert warmup_steps(1000, 500, 0.1) == 100
    assert warmup_steps(10_000, 500, 0.1) == 500
    assert warmup_steps(9, 500, 0.1) == 0
    assert warmup_steps(100, 0, 0.1) == 0
    assert warmup_steps(3, 500, 0.9) == 2


def test_warm_up_that_fills_the_run_is_refused():
    with pytest.raises(InputError) as error:
        warmup_steps(40, 500, 1.0)
    assert_sentence(error, "config key 'finetune.warmup_steps'", "40 warm-up steps in a run of 40")


def test_the_rate_goes_up_then_down_to_zero():
    factor = linear_schedule(10, 4)
    assert [factor(s) for s in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert [round(factor(s), 6) for s in (7, 10, 11)] == [0.5, 0, 0]
    assert linear_schedule(10, 0)(0) == 1


def test_biases_and_layer_norms_do_not_decay_and_frozen_weights_are_in_no_group():
    model = torch.nn.ModuleDict(
        {"dense": torch.nn.Linear(2, 3), "LayerNorm": torch.nn.LayerNorm(3)}
    )
    model["frozen"] = torch.nn.Linear(5, 5).requires_grad_(False)
    decayed, plain = parameter_groups(model, 0.001)
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 2)]
    assert [tuple(p.shape) for p in plain["params"]] == [(3,), (3,), (3,)]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.001, 0.0)


def test_it_learns_and_says_so(tmp_path):
    _, history, calls = fitted(tmp_path, epochs=20)
    assert history["valid_loss"].iloc[-1] < 0.3 * history["valid_loss"].iloc[0]
    assert history["epoch"].tolist() == list(range(1, 21))
    assert history["step"].tolist() == [5 * e for e in range(1, 21)]
    assert history["learning_rate"].iloc[-1] == 0
    assert history["learning_rate"].iloc[0] == pytest.approx(0.05 * (100 - 5) / 98)
    assert len(calls) == 100
    for epoch in range(20):
        assert sorted(np.concatenate(calls[5 * epoch : 5 * epoch + 5])) == list(range(40))
    orders = {tuple(np.concatenate(calls[i : i + 5])) for i in range(0, 100, 5)}
    assert len(orders) == 20, "another order in every epoch"


def test_the_train_loss_is_the_mean_over_cells_not_batches(tmp_path):
    seen = []

    def batch_loss(batch, rng):
        seen.append(len(batch))
        return model.weight.sum() * 0 + float(len(batch))

    model = torch.nn.Linear(3, 1)
    _, history, _ = fitted(
        tmp_path, model=model, batch_loss=batch_loss, batch_size=15, epochs=1, warmup=lambda n: 0
    )
    assert sorted(seen) == [10, 15, 15]
    assert history["train_loss"][0] == pytest.approx((10 * 10 + 15 * 15 * 2) / 40)


def test_the_best_epoch_s_weights_stay(tmp_path):
    best, history, _ = fitted(tmp_path, valid_losses=[3.0, 1.0, 1.0])
    assert history["best"].tolist() == [False, True, False], "the first of equal epochs"
    two, _, _ = fitted(tmp_path / "b", epochs=3, valid_losses=[3.0, 1.0, 0.5])
    assert not torch.equal(best.weight, two.weight)
    snapshots = []
    model = torch.nn.Linear(3, 1)

    def losses():
        for value in (3.0, 1.0, 2.0):
            snapshots.append(model.weight.detach().clone())
            yield value

    fitted(tmp_path / "c", model=model, valid_losses=losses())
    assert torch.equal(model.weight, snapshots[1])
    assert not torch.equal(snapshots[1], snapshots[2])
    assert not model.training


def test_the_last_epoch_s_weights_stay_where_none_is_to_be_chosen(tmp_path):
    best, _, _ = fitted(tmp_path / "a", valid_losses=[3.0, 1.0, 2.0])
    last, history, _ = fitted(tmp_path / "b", valid_losses=[3.0, 1.0, 2.0], keep="last")
    assert history["best"].tolist() == [False, False, True]
    assert history["valid_loss"].tolist() == [3.0, 1.0, 2.0]
    assert not torch.equal(best.weight, last.weight)
    falling, _, _ = fitted(tmp_path / "c", valid_losses=[3.0, 2.0, 1.0])
    assert torch.equal(last.weight, falling.weight)


def test_training_ends_once_the_loss_has_not_fallen_for_long_enough(tmp_path):
    losses = [3.0, 1.0, 2.0, 1.0, 0.5, 0.1]
    _, history, _ = fitted(tmp_path / "a", valid_losses=losses, epochs=6, patience=2)
    assert history["best"].tolist() == [False, True, False, False]
    _, history, _ = fitted(tmp_path / "b", valid_losses=losses, epochs=6, patience=3)
    assert len(history) == 6
    fitted(tmp_path / "c", checkpoint=None)
    assert not (tmp_path / "c").exists()


def test_gradients_are_clipped(tmp_path):
    def step(max_grad_norm):
        norms = []
        model = torch.nn.Linear(3, 1)

        def look(optimizer, *_):
            grads = [p.grad.flatten() for p in model.parameters()]
            norms.append(torch.cat(grads).norm().item())

        def batch_loss(batch, rng):
            return 1e3 * torch.nn.functional.mse_loss(model(X[batch]), Y[batch])

        options = {"model": model, "batch_loss": batch_loss, "epochs": 1}
        hook = register_optimizer_step_pre_hook(look)
        fitted(tmp_path / str(max_grad_norm), max_grad_norm=max_grad_norm, **options)
        hook.remove()
        return norms

    assert max(step(0.5)) <= 0.5 + 1e-4
    assert min(step(1e9)) > 10


class Recorded(Passes):
    """Passes of a GPU that has recorded some, and no memory left beside them."""

    def __init__(self, *options):
        super().__init__(*options)
        self.recorded = {"a shape": "a recording"}

    def add(self, part, share, rng):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_where_recorded_passes_take_the_memory_they_go_first(tmp_path, monkeypatch, caplog):
    lengths = np.full(40, 5)
    _, expected, calls = fitted(tmp_path / "a", lengths=lengths, batch_tokens=40)
    monkeypatch.setattr(train_module, "kind_of_passes", lambda *_: Recorded)
    _, history, again = fitted(tmp_path / "b", lengths=lengths, batch_tokens=40)
    pd.testing.assert_frame_equal(history, expected)
    assert [len(part) for part in again] == [len(part) for part in calls]  # no halved budget
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "replayed" in record.message


def test_a_step_in_parts_is_the_whole_step(tmp_path):
    lengths = np.random.default_rng(0).integers(3, 9, 40)
    whole, history, _ = fitted(tmp_path / "a", lengths=lengths)
    for i, batch_tokens in enumerate((1, 13, 20, 10_000)):
        model, again, calls = fitted(tmp_path / f"b{i}", lengths=lengths, batch_tokens=batch_tokens)
        for batch in calls:
            assert len(batch) == 1 or len(batch) * lengths[batch].max() <= batch_tokens
        assert sorted(np.concatenate(calls[: len(calls) // 3])) == list(range(40))
        torch.testing.assert_close(model.weight, whole.weight, atol=1e-6, rtol=0)
        np.testing.assert_allclose(again["train_loss"], history["train_loss"], rtol=1e-6)
        assert again["step"].equals(history["step"]), "as many steps as ever"
    assert len(calls) == 15, "a batch within the budget is not cut"


MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate"),
]


@pytest.mark.slow
@pytest.mark.parametrize("error", MEMORY)
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_out_of_memory_halves_what_goes_through_at_once(tmp_path, caplog, error, where):
    whole, history, _ = fitted(tmp_path / "a")
    model = torch.nn.Linear(3, 1)
    torch.manual_seed(0)
    model.reset_parameters()
    failed = []

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise error

    def batch_loss(batch, rng):
        loss = torch.nn.functional.mse_loss(model(X[batch]), Y[batch])
        if len(batch) <= 3:  # 3 cells of 5 tokens fit
            return loss
        failed.append(len(batch))
        if where == "forward":
            raise error
        return Fails.apply(loss) + loss  # some gradients are there already when it fails

    with caplog.at_level(logging.WARNING, "keygenes"):
        _, again, _ = fitted(tmp_path / "b", model=model, batch_loss=batch_loss, batch_tokens=40)
    assert failed == [8, 4], "once, then it is remembered"
    assert logged(caplog, 40, 20, "compute.batch_tokens")
    torch.testing.assert_close(model.weight, whole.weight, atol=1e-6, rtol=0)
    np.testing.assert_allclose(again["valid_loss"], history["valid_loss"], rtol=1e-5)


def test_a_cell_too_large_for_memory_and_other_errors(tmp_path):
    def fails(error):
        def batch_loss(batch, rng):
            raise error

        return batch_loss

    with pytest.raises(InputError) as raised:
        fitted(tmp_path, batch_loss=fails(MEMORY[0]), batch_tokens=40)
    assert_sentence(raised, "'tokens.max_length'", "a cell of 5 tokens", "lower it")
    with pytest.raises(torch.OutOfMemoryError):
        fitted(tmp_path, batch_loss=fails(MEMORY[0]))  # a loss that must not be cut
    with pytest.raises(RuntimeError, match="shape"):
        fitted(tmp_path, batch_loss=fails(RuntimeError("shape")), batch_tokens=40)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite(tmp_path, value):
    model = torch.nn.Linear(3, 1)
    with pytest.raises(InputError) as error:
        fitted(
            tmp_path,
            model=model,
            learning_rate=1e-3,
            batch_loss=lambda batch, rng: model.weight.square().sum() * value,
        )
    found, batch = f"a loss of {value}", "batch_size, which is 8"
    told = ("lower learning_rate, which is 0.001", batch)
    assert_sentence(error, "line, epoch 1, step 1 of 15", found, *told)
    with pytest.raises(InputError) as error:
        fitted(tmp_path, valid_losses=[1.0, value])
    assert_sentence(error, "line, validation after epoch 2 (step 10)", found, batch)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, caplog, epoch):
    whole, history, _ = fitted(tmp_path / "whole")
    losses = [*history["valid_loss"][: epoch - 1], KeyboardInterrupt()]
    stopped = [*losses[:-1], RuntimeError("killed")]
    with pytest.raises(RuntimeError, match="killed"):
        fitted(tmp_path / "broken", valid_losses=stopped)
    with caplog.at_level(logging.INFO, "keygenes"):
        resumed, again, calls = fitted(tmp_path / "broken")
    assert epoch == 1 or logged(caplog, "epoch", epoch - 1)
    assert len(calls) == 5 * (3 - epoch + 1), "finished epochs are not computed again"
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)
    assert again.equals(history)


def test_a_finished_run_s_checkpoint_needs_no_step_more(tmp_path):
    whole, history, _ = fitted(tmp_path)
    again, same, calls = fitted(tmp_path)
    assert calls == []
    assert torch.equal(again.weight, whole.weight)
    assert same.equals(history)


@pytest.mark.parametrize(
    "change", [{"run": ["other"]}, {"learning_rate": 0.06}, {"seed": 2}, {"epochs": 4}]
)
def test_the_checkpoint_of_another_run_is_ignored(tmp_path, caplog, change):
    fitted(tmp_path)
    with caplog.at_level(logging.INFO, "keygenes"):
        _, _, calls = fitted(tmp_path, **change)
    assert logged(caplog, str(tmp_path / "resume.pt"))
    assert len(calls) == 5 * change.get("epochs", 3)


def test_a_damaged_checkpoint_is_ignored(tmp_path, caplog):
    assert load_checkpoint(tmp_path / "resume.pt", "x") is None
    (tmp_path / "resume.pt").write_bytes(b"half")
    with caplog.at_level(logging.WARNING, "keygenes"):
        assert load_checkpoint(tmp_path / "resume.pt", "x") is None
    assert logged(caplog, str(tmp_path / "resume.pt"))


def test_without_validation_the_last_epoch_stays_also_after_a_stop(tmp_path, caplog):
    settings = {
        **{"epochs": 4, "batch_size": 8, "learning_rate": 0.05, "weight_decay": 0.01, "seed": 1},
        **{"warmup": lambda n: 2, "max_grad_norm": 1.0, "device": torch.device("cpu")},
        **{"precision": "float32", "checkpoint": tmp_path / "resume.pt", "run": 1, "label": "line"},
    }

    def run(stop_in=None):
        torch.manual_seed(0)
        model, seen = torch.nn.Linear(3, 1), []

        def loss(batch, rng):
            seen.append(model.weight.detach().clone())
            if len(seen) == stop_in:
                raise KeyboardInterrupt
            return torch.nn.functional.mse_loss(model(X[batch]), Y[batch])

        return model, train(model, np.full(40, 5), loss, None, *records(settings)), seen

    model, history, seen = run()
    assert history["best"].tolist() == [False, False, False, True]
    assert history["valid_loss"].isna().all()
    assert not any(torch.equal(model.weight, weight) for weight in seen)  # after the last step
    settings["checkpoint"].unlink()
    with pytest.raises(KeyboardInterrupt):
        run(stop_in=12)
    with caplog.at_level(logging.INFO, "keygenes"):
        again, history, _ = run()
    assert logged(caplog, "epoch", 2)
    assert "nan" not in caplog.text
    assert torch.equal(again.weight, model.weight)
    assert history["best"].tolist() == [False, False, False, True]


def test_losses_that_are_looked_at_late_still_name_their_step():
    def complain(loss, step):
        if not np.isfinite(loss):
            raise ValueError(step)

    losses = Losses(complain, at_once=3)
    for step, loss in enumerate([1.0, np.nan], start=7):
        losses.add(torch.tensor(loss), step, 2)  # not looked at yet
    with pytest.raises(ValueError, match="8"):
        losses.add(torch.tensor(3.0), 9, 2)
    losses = Losses(complain, at_once=3)
    for step, n_cells in enumerate([2, 2, 2, 1], start=1):
        losses.add(torch.tensor(float(step)), step, n_cells)
    assert losses.look() == 2 * (1 + 2 + 3) + 4
    assert losses.look() == losses.total
