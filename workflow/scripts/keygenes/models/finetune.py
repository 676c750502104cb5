"""Fine-tuning one regime: which parts train, and the classifier it gives."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from keygenes.core.errors import input_error
from keygenes.core.files import checksum, digest_of, write_json
from keygenes.core.progress import with_progress
from keygenes.core.tables import read_table, write_table
from keygenes.models.batches import budget_batches, moved, padded
from keygenes.models.cells import predictions_table, task_cells
from keygenes.models.device import ALONE, Hardware, autocast, halving, set_up_torch, token_budget
from keygenes.models.encoder import check_fit, pretrained_classifier, read_config, save_model
from keygenes.models.head import cell_logits, set_pooling
from keygenes.models.train import Training, course_of, train
from keygenes.models.trained import count_trainable, frozen_layers, train_only
from keygenes.models.trunk import States, find_states, of_cells, state_batch
from keygenes.tokens.store import read_tokens

log = logging.getLogger("keygenes")

# Of a head that converges, a row per cell is kept also where finetune.cache keeps nothing.
KEPT_FOR_HEADS = {"max_gb": float("inf"), "dtype": "float32"}


def model_inputs(cells, states, batch, device):
    """Return what a classifier takes of some cells, on its device.

    Parameters
    ----------
    cells : list of int arrays
        Tokens of all cells.
    states : States or None
        Their hidden states after the layers that are frozen; None: computed from the tokens.
    batch : int array
        Positions of the cells.

    Returns
    -------
    tuple of tensors
        Ids and mask, with the states where there are any; of pooled states, these alone.
    """
    if states is not None and states.pooled:
        return (state_batch(states, batch, device),)
    ids, mask = padded([cells[i] for i in batch], device)
    if states is None:
        return ids, mask
    return ids, mask, state_batch(states, batch, device, ids.shape[1])


def logits_of(model, inputs, states):
    """Return a classifier's logits [n, n_classes] from `model_inputs`."""
    if len(inputs) == 1:
        return model.head(*inputs)
    return cell_logits(model, *inputs, first=states.first if states else 0)


def batch_logits(model, cells, states, batch, device):
    """Return a classifier's logits of some cells [n, n_classes]; arguments as of `model_inputs`."""
    return logits_of(model, model_inputs(cells, states, batch, device), states)


class CellLoss(NamedTuple):
    """The mean cross-entropy of some cells, as `train.train` takes it.

    Attributes
    ----------
    model : CellClassifier
    cells : list of int arrays
    states : States or None
        As of `model_inputs`.
    targets : int64 array [n_cells]
    device : torch.device
    """

    model: torch.nn.Module
    cells: list[np.ndarray]
    states: States | None
    targets: np.ndarray
    device: torch.device

    def inputs(self, batch: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return what `of` takes: the classes of some cells, and `model_inputs`."""
        targets = moved(self.targets[batch], self.device)
        return targets, *model_inputs(self.cells, self.states, batch, self.device)

    def of(self, targets: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the loss: tensor []."""
        logits = logits_of(self.model, inputs, self.states)
        return torch.nn.functional.cross_entropy(logits, targets)

    def __call__(self, batch: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Return the loss of some cells."""
        return self.of(*self.inputs(batch))


class Regime(NamedTuple):
    """How a regime trains.

    Attributes
    ----------
    patterns : list of str
        What trains: shell patterns on parameter names (`train_only`).
    options : dict
        Of `core.regimes.finetune_options`.
    name : str
        For messages.
    cache : dict or None
        Section 'finetune.cache': what the frozen layers make of the cells is computed once and
        kept. None: in every epoch.
    states : path-like or None
        What `trunk.cache_trunk` has written for this regime, if anything.
    compiled : bool
        Compile the layers (`torch.compile`).
    """

    patterns: list[str]
    options: dict[str, Any]
    name: str = ""
    cache: dict[str, Any] | None = None
    states: str | Path | None = None
    compiled: bool = False


@torch.inference_mode()
def class_logits(model, cells, hardware, states=None):
    """Return the logits of a classifier on cells.

    Parameters
    ----------
    model : CellClassifier
        In eval mode.
    cells : list of int arrays
    hardware : Hardware
        The processes of its group share the cells.
    states : States or None
        See `batch_logits`.

    Returns
    -------
    float32 tensor [n_cells, n_classes], on the CPU, in the order of `cells`
    """
    logits = torch.zeros(len(cells), model.config.num_labels)
    device, group = hardware.device, hardware.group
    pooled = states is not None and states.pooled
    lengths = states.lengths if pooled else np.array([len(cell) for cell in cells])

    def keep(batch):
        with autocast(device, hardware.precision):
            logits[batch] = batch_logits(model, cells, states, batch, device).float().cpu()

    batches = budget_batches(lengths, hardware.batch_tokens)[group.rank :: group.size]
    for batch in with_progress(batches, "predicting"):
        halving(keep, batch)
    return group.total(logits.to(device)).cpu() if group.size > 1 else logits


def loss_and_accuracy(logits, labels):
    """Return mean cross-entropy and accuracy of logits [n, k] against labels [n]."""
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(1) == labels).float().mean().item()


def course_of_regime(options):
    """Return the `Course` of a regime's options; of a head that trains until it converges too.

    Its rate is not warmed up, and the best epoch is kept: training has no other end.
    """
    converge = options["converge"]
    if not converge:
        return course_of(options, keep=options["keep_epoch"])
    course = {"epochs": converge["max_epochs"], "warmup_steps": 0}
    course["learning_rate"] = converge["learning_rate"]
    return course_of({**options, **course}, patience=converge["patience"])


def require_head_alone(model, regime):
    """Raise an `InputError` if more than the head of a model trains."""
    if frozen_layers(model) < len(model.trunk.layers):
        raise input_error(
            f"config key 'regimes.{regime}.converge'",
            found="a regime that trains more than the head",
            expected="train: [head], whose states are computed once",
            remedy="remove converge and set epochs, or train the head alone",
        )


def finetune(*, files, model_files, out, run, regime, compute, group=ALONE):
    """Fine-tune the parameters that a regime trains; write model, history and predictions.

    Parameters
    ----------
    files : TaskFold
    model_files : ModelFiles
        Of the pretrained model.
    out : dict {name: path-like}
        weights, config, history, predictions; loading: which parameters came from the file and
        which train.
    run : Run
        Its seed, and its fold, seed the new head, the order of the cells and dropout.
    regime : Regime
    compute : core.jobs.Compute
    group : Group
        The processes of this job; the first one writes.
    """
    device = set_up_torch(compute)
    frame, cells, classes = task_cells(*files)
    weights, options, cache = model_files.weights, regime.options, regime.cache
    table, shape = read_table(model_files.vocabulary), read_config(model_files.config)
    size = {"vocabulary_size": len(table), "max_length": model_files.max_length}
    check_fit(shape, **size, where=str(model_files.config))
    set_pooling(shape, options["pooling"], table)
    if options["attention_dropout"] is not None:
        shape.attention_probs_dropout_prob = options["attention_dropout"]
    model, loading = pretrained_classifier(weights, shape, classes, run.stream)
    weights_sha256 = checksum(weights) if weights else None
    named = f"regimes.{regime.name}" if regime.name else "regimes"
    trained = train_only(model, regime.patterns, f"config key '{named}'")
    n_trained, total = count_trainable(model), sum(p.numel() for p in model.parameters())
    log.info("%s: %d of %d parameters train", ", ".join(regime.patterns), n_trained, total)
    course = course_of_regime(options)
    if converges := course.patience is not None:
        require_head_alone(model, regime.name)
        cache = cache or KEPT_FOR_HEADS
    model.to(device)

    if regime.compiled:
        torch.use_deterministic_algorithms(True, warn_only=True)  # the compiler is told as well
        for layer in model.trunk.layers:
            layer.compile(dynamic=True)

    ids = [cell.tolist() for cell in cells]
    own, resume = (Path(out["weights"]).with_name(name) for name in ("states", "resume.pt"))
    batch_tokens = token_budget(compute, shape)
    hardware = Hardware(device, compute.precision, batch_tokens, group, not regime.compiled)
    model.eval()
    known = find_states(model, files.tokens, weights, regime.states, own, cache, hardware)
    position = {name: i for i, name in enumerate(read_tokens(files.tokens)[0])}
    known = of_cells(known, frame["cell"].map(position).to_numpy())
    lengths = np.array([len(cell) for cell in cells])
    if known is not None and known.pooled:
        torch.set_num_threads(1)  # on matrices as small as the head's, threads wait for each other
        lengths = known.lengths if converges else lengths
    rows = {split: np.flatnonzero(frame["split"] == split) for split in ("train", "valid")}
    targets = frame["label"].to_numpy().astype(np.int64)

    def of(split):
        at = rows[split]
        return [cells[i] for i in at], of_cells(known, at), targets[at]

    valid_cells, valid_states, valid_targets = of("valid")
    about = [regime.patterns, options, weights_sha256, classes, frame.to_csv(), digest_of(ids)]
    about += [cache, batch_tokens, group.size]
    label = f"{files.task}, {run.name}"
    history = train(
        model,
        lengths[rows["train"]],
        CellLoss(model, *of("train"), device),
        lambda: loss_and_accuracy(
            class_logits(model, valid_cells, hardware, valid_states),
            torch.from_numpy(valid_targets),
        ),
        course,
        Training(label, run.stream, about, None if converges else resume),
        hardware,
    )
    logits = class_logits(model, cells, hardware, known)
    if group.rank > 0:
        return
    probabilities = logits.double().softmax(1).numpy()
    predictions = predictions_table(frame, probabilities, classes)
    write_table(predictions, out["predictions"], "predictions")
    write_table(history, out["history"], "history")
    counts = {"trained": n_trained, "all": total}
    write_json(
        {
            **{"weights_sha256": weights_sha256, "parameters": counts, **loading},
            **{"trained": trained, "batch_tokens": batch_tokens},
        },
        out["loading"],
    )
    save_model(model, out["weights"], out["config"])
    resume.unlink(missing_ok=True)
