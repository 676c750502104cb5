"""The one training loop: seeded and resumable; its last epoch stays, or the best on validation."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from keygenes.core.errors import input_error
from keygenes.core.files import digest_of, written
from keygenes.core.progress import Progress
from keygenes.models.batches import length_grouped_batches, padding_waste, parts_of
from keygenes.models.device import free_memory, out_of_memory
from keygenes.models.passes import Passes, kind_of_passes
from keygenes.models.trained import train_mode

log = logging.getLogger("keygenes")

STEPS_UNSEEN = 50  # on a GPU, before their losses are looked at


def warmup_steps(total, at_most, fraction):
    """Return min(at_most, fraction of all steps); an `InputError` if nothing is left to train.

    Without a fraction (None) the steps are `at_most`, however short the run.
    """
    steps = at_most if fraction is None else min(at_most, int(fraction * total))
    if steps >= total:
        raise input_error(
            "config key 'finetune.warmup_steps'",
            found=f"{steps} warm-up steps in a run of {total}",
            expected="fewer warm-up steps than steps",
            remedy="set finetune.warmup_fraction to 0.1, lower warmup_steps, or train longer",
        )
    return steps


def linear_schedule(total, warmup):
    """Return the factor on the learning rate at a step: linear up to 1, then linear down to 0."""

    def factor(step):
        if step < warmup:
            return step / max(1, warmup)
        return max(0.0, (total - step) / max(1, total - warmup))

    return factor


def parameter_groups(model, weight_decay):
    """Return AdamW's parameter groups: no decay on biases and layer norms."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = [p for n, p in trained if n.endswith("bias") or "LayerNorm" in n]
    decayed = [p for n, p in trained if not (n.endswith("bias") or "LayerNorm" in n)]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def require_finite(loss, where, learning_rate, batch_size):
    """Raise an `InputError` if a loss is not finite."""
    if not math.isfinite(loss):
        raise input_error(
            where,
            found=f"a loss of {loss}",
            expected="a finite one",
            remedy=f"lower learning_rate, which is {learning_rate:g}, or raise batch_size, which "
            f"is {batch_size}",
        )


class Course(NamedTuple):
    """How long and how fast a model trains, and which epoch is kept.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate, weight_decay, max_grad_norm : float
    warmup : callable
        ``warmup(total_steps)`` -> steps.
    keep : {'best', 'last'}
        The epoch with the smallest validation loss (the first of equals), or the last.
    patience : int or None
        Epochs without a smaller validation loss after which training ends. None: it never does.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    warmup: Callable[[int], int]
    keep: str = "best"
    patience: int | None = None


def course_of(options, **others):
    """Return the `Course` of options of a config; `others` are fields that these do not have."""
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "max_grad_norm")
    steps = options["warmup_steps"], options["warmup_fraction"]
    return Course(
        **{name: options[name] for name in names},
        warmup=lambda n: warmup_steps(n, *steps),
        **others,
    )


class Training(NamedTuple):
    """Which training this is.

    Attributes
    ----------
    label : str
        For messages.
    seed : int
    run : object
        What identifies it; a checkpoint of another one is ignored.
    checkpoint : pathlib.Path or None
        Where the state after each epoch is kept, from which a stopped run goes on; None: nowhere.
    """

    label: str
    seed: int
    run: Any
    checkpoint: Path | None = None


class Losses:
    """The losses of an epoch's steps, looked at in turn, some at a time.

    To look at a loss is to wait for it: on a GPU the processor would wait in every step, and the
    GPU then for the processor.

    Parameters
    ----------
    complain : callable
        ``complain(loss, step)`` raises an error where a loss is not finite.
    at_once : int
    """

    def __init__(self, complain, at_once):
        self.complain, self.at_once, self.total, self.waiting = complain, at_once, 0.0, []

    def add(self, loss, step, n_cells):
        """Add the mean loss (tensor []) of a step."""
        self.waiting.append((loss, step, n_cells))
        if len(self.waiting) >= self.at_once:
            self.look()

    def look(self):
        """Look at the losses that were added since; return the sum over cells of all so far."""
        if self.waiting:
            losses, steps, n_cells = zip(*self.waiting, strict=True)
            for loss, step, n in zip(torch.stack(losses).tolist(), steps, n_cells, strict=True):
                self.complain(loss, step)
                self.total += loss * n
            self.waiting = []
        return self.total


def trained_tensors(model):
    """Return copies, on the CPU, of the tensors that training changes."""
    return {n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad}


def put_tensors(model, tensors):
    """Copy tensors (by parameter name) into a model."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


def load_checkpoint(path, digest):
    """Return the state after the last finished epoch, or None if there is none for this run."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same_run = state["digest"] == digest
    except Exception:  # half written by another program, or from another torch: start over
        log.warning("%s does not load: starting from the first epoch", path)
        return None
    if not same_run:
        log.info("%s belongs to another configuration: starting from the first epoch", path)
        return None
    return state


def smaller_budget(parts, lengths):
    """Return half the tokens of the largest part of a batch that memory did not suffice for."""
    largest = max(len(part) * int(lengths[part].max()) for part in parts)
    if all(len(part) == 1 for part in parts):
        raise input_error(
            "config key 'tokens.max_length'",
            found=f"a cell of {largest} tokens, for which alone memory does not suffice",
            expected="cells that fit, one at a time",
            remedy="lower it, or use a machine with more memory",
        )
    log.warning(
        "out of memory with %d tokens in a batch: going on with at most %d (lower "
        "compute.batch_tokens to start there)",
        *(largest, largest // 2),
    )
    return largest // 2


def backward(parts, n, passes, rng, optimizer):
    """Leave the gradient of a batch's mean loss in the parameters; return that loss.

    Parameters
    ----------
    parts : list of int arrays
        The batch, or this process's share of it, computed one part after the other.
    n : int
        Cells of the whole batch: each part counts with its share of them.
    passes : Passes

    Returns
    -------
    float64 tensor []
    """
    passes.start(optimizer)
    total = torch.zeros((), dtype=torch.float64, device=passes.device)
    for part in parts:
        total += passes.add(part, len(part) / n, rng)
    return total


def sum_gradients(parameters, loss, group):
    """Sum the gradients of all processes, in place and in one message; return the summed loss [].

    A process that had no cell of the batch adds zeros.
    """
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    flat = torch.cat([*(p.grad.flatten() for p in parameters), loss.to(parameters[0])[None]])
    flat = group.total(flat)
    sizes = [p.numel() for p in parameters]
    for p, values in zip(parameters, flat[:-1].split(sizes), strict=True):
        p.grad.copy_(values.view_as(p))
    return flat[-1].double()


def lowest_epoch(history):
    """Return the first of the epochs with the smallest validation loss."""
    return min(history, key=lambda row: row["valid_loss"])["epoch"]


def train(model, lengths, batch_loss, validate, course, training, hardware):
    """Train a model in place and leave the weights of the epoch that is kept in it.

    Each epoch reseeds torch and the order of the cells from (seed, epoch): a run that resumes
    after an epoch computes the same bytes as one that was never interrupted.

    Parameters
    ----------
    model : torch.nn.Module
        With `requires_grad` set as the regime wants it.
    lengths : int array [n_train]
    batch_loss : callable
        ``batch_loss(indices, rng)`` -> mean loss (tensor) over these training cells.
    validate : callable or None
        ``validate()`` -> (loss, accuracy) on the validation cells, the model in eval mode. None:
        nothing is held out for a choice, and the last epoch stays.
    course : Course
    training : Training
    hardware : Hardware
        With `batch_tokens` a step stays one of `batch_size` cells: the gradients of its parts add
        up. Only for a loss that is a mean over cells. They are halved when memory runs out. All
        processes of its group must be given the same arguments.

    Returns
    -------
    DataFrame
        Table 'history'; its column `best` marks the epoch that is kept.

    Raises
    ------
    InputError
        If the loss is not finite.
    """
    label, seed, run, checkpoint = training
    epochs, batch_size, learning_rate = course.epochs, course.batch_size, course.learning_rate
    device, group, batch_tokens = hardware.device, hardware.group, hardware.batch_tokens
    n_batches = -(-len(lengths) // batch_size)
    total = epochs * n_batches
    groups = parameter_groups(model, course.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    on_gpu = device.type == "cuda"
    passes = kind_of_passes(device, hardware.replayed)(batch_loss, device, hardware.precision)
    factor = linear_schedule(total, course.warmup(total))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    history, best, first = [], None, 1
    chosen = bool(validate) and course.keep == "best"
    of_course = epochs, batch_size, learning_rate, course.weight_decay
    digest = digest_of([run, *of_course, seed, len(lengths), chosen])
    if state := checkpoint and load_checkpoint(checkpoint, digest):
        put_tensors(model, state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history, best, first = state["history"], state["best"], state["epoch"] + 1
        log.info("%s: resuming after epoch %d", label, state["epoch"])
    progress = Progress("training", total, "batches", done=(first - 1) * n_batches)
    for epoch in range(first, epochs + 1):
        # each process drops out other units; the first one those of a process alone
        torch.manual_seed(seed * 10_000 + epoch + group.rank * 10**9)
        rng = np.random.default_rng([seed, epoch])
        batches = length_grouped_batches(lengths, batch_size, rng)
        train_mode(model)
        passed = []

        def complain(loss, step, epoch=epoch):
            where = f"{label}, epoch {epoch}, step {step} of {total}"
            require_finite(loss, where, learning_rate, batch_size)

        losses = Losses(complain, STEPS_UNSEEN if on_gpu else 1)
        for step, batch in enumerate(batches, 1 + (epoch - 1) * n_batches):
            own = batch[group.rank :: group.size]
            while True:
                parts = parts_of(own, lengths, batch_tokens)
                try:
                    loss = backward(parts, len(batch), passes, rng, optimizer)
                    break
                except RuntimeError as error:
                    if batch_tokens is None or not out_of_memory(error):
                        raise
                optimizer.zero_grad(set_to_none=True)
                with_recordings = bool(passes.recorded)
                passes = Passes(batch_loss, device, hardware.precision)
                free_memory()
                if with_recordings:  # they keep memory: without them the step may fit
                    log.warning("out of memory: passes are no longer replayed")
                else:
                    batch_tokens = smaller_budget(parts, lengths)
            passed += parts
            if group.size > 1:
                loss = sum_gradients(trained, loss, group)
            losses.add(loss, step, len(batch))
            torch.nn.utils.clip_grad_norm_(trained, course.max_grad_norm)
            optimizer.step()
            schedule.step()
            progress.step()
        train_loss = losses.look() / len(lengths)
        model.eval()
        valid_loss = valid_accuracy = math.nan
        if validate:
            valid_loss, valid_accuracy = validate()
            where = f"{label}, validation after epoch {epoch} (step {epoch * n_batches})"
            require_finite(valid_loss, where, learning_rate, batch_size)
        is_best = not history or valid_loss < min(row["valid_loss"] for row in history)
        if chosen and is_best:
            best = trained_tensors(model)
        history.append(
            {
                "epoch": epoch,
                "step": epoch * n_batches,
                "learning_rate": float(schedule.get_last_lr()[0]),
                "train_loss": train_loss,
                "valid_loss": valid_loss,
                "valid_accuracy": valid_accuracy,
            }
        )
        found = f"valid loss {valid_loss:.4f}, valid accuracy {valid_accuracy:.3f}"
        log.info(
            "%s epoch %d/%d: train loss %.4f%s, padding %.1f %%%s",
            *(label, epoch, epochs, history[-1]["train_loss"], f", {found}" if validate else ""),
            *(100 * padding_waste(lengths, passed), " (best)" if chosen and is_best else ""),
        )
        if checkpoint and group.rank == 0:
            state = {"digest": digest, "epoch": epoch, "best": best, "history": history}
            parts = {"model": trained_tensors(model), "optimizer": optimizer.state_dict()}
            with written(checkpoint) as part:
                torch.save({**state, **parts, "schedule": schedule.state_dict()}, part)
        if course.patience and epoch - lowest_epoch(history) >= course.patience:
            log.info("%s: no smaller validation loss for %d epochs", label, course.patience)
            break
    progress.end()
    if chosen:
        put_tensors(model, best)
    model.eval()
    kept = lowest_epoch(history) if chosen else len(history)
    return pd.DataFrame(history).assign(best=[row["epoch"] == kept for row in history])
