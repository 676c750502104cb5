"""Where and how torch computes: device, threads, precision, determinism, memory, processes."""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from keygenes.core.errors import input_error
from keygenes.core.files import read_json, write_json

log = logging.getLogger("keygenes")

TOKENS_ON_CPU = 4096
MOST_TOKENS = 1 << 16  # beyond it a data-centre card gains nothing


class Group(NamedTuple):
    """The processes of one job, as one of them sees it.

    Attributes
    ----------
    rank : int
        This process; 0 writes the files.
    size : int
    total : callable
        ``total(tensor)`` -> the sum of the tensor over all processes, in each of them.
    """

    rank: int
    size: int
    total: Callable[[torch.Tensor], torch.Tensor]


ALONE = Group(0, 1, lambda tensor: tensor)


class Hardware(NamedTuple):
    """What a model runs on, and how much goes through it at once.

    Attributes
    ----------
    device : torch.device
    precision : {'auto', 'float32'}
        See `autocast`.
    batch_tokens : int or None
        Tokens, padding included. None: a whole batch, in training.
    group : Group
        The processes that share the cells.
    replayed : bool
        Whether a GPU may replay passes of training that it has made before
        (`passes.ReplayedPasses`), which asks for a loss in two steps.
    """

    device: torch.device
    precision: str
    batch_tokens: int | None = None
    group: Group = ALONE
    replayed: bool = False


def set_up_torch(compute):
    """Fix threads, kernels and memory of this process and return the torch device.

    Parameters
    ----------
    compute : core.jobs.Compute
        Its threads are those of this process, whatever the scheduler offers: another number sums
        in another order and changes the last digits.
    """
    device = compute.device
    torch.set_num_threads(compute.threads)
    with contextlib.suppress(RuntimeError):  # may be set only once per process
        torch.set_num_interop_threads(1)
    if device == "cuda" and not torch.cuda.is_available():
        raise input_error(
            "config key 'compute.device'",
            found="'cuda', but torch sees no GPU",
            expected="a machine with a GPU and a CUDA build of torch",
            remedy="set it to 'auto' or 'cpu'",
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # Not use_deterministic_algorithms, which imports torch's compiler: seconds per job. Filling
    # fresh memory is a search for faults, at a price.
    torch.utils.deterministic.fill_uninitialized_memory = False
    if device == "cpu":
        torch.set_deterministic_debug_mode("warn")
    elif compute.deterministic:
        torch.set_deterministic_debug_mode("error")
        # Only here: where it is set, torch reads it anew for every matrix product, which takes ten
        # times as long as to launch one.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # the backward pass of fused attention adds in any order
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    if device == "cuda" and compute.jobs_per_gpu > 1:  # who runs out of memory is one job alone
        torch.cuda.set_per_process_memory_fraction(1 / compute.jobs_per_gpu)
    # cuDNN's attention is planned anew for every shape, which takes longer than a training step
    torch.backends.cuda.enable_cudnn_sdp(False)
    return torch.device(device)


def bytes_per_token(config):
    """Return what a training step keeps of a token for its backward pass, in bytes of float32.

    Of each layer: what its linear maps, layer norms and dropouts read, and queries, keys, values
    and context of attention, whose matrix fused kernels do not keep.

    Parameters
    ----------
    config : config of an encoder
    """
    of_layer = 9 * config.hidden_size + 2 * config.intermediate_size
    return 4 * (config.num_hidden_layers * of_layer + 6 * config.hidden_size)


def token_budget(compute, config):
    """Return the tokens that go through a model at once.

    'auto' is, on a CPU, what its cache is good for, and on a GPU what half of the job's part of its
    memory holds of a training step: a power of two, so that cards of about a size agree. What it
    came to is kept, and taken again on whatever card: other parts give other last digits.

    Parameters
    ----------
    compute : core.jobs.Compute
    config : config of an encoder
    """
    if compute.batch_tokens != "auto":
        return compute.batch_tokens
    if compute.device == "cpu" or not torch.cuda.is_available():
        return TOKENS_ON_CPU
    sizes = {"layers": config.num_hidden_layers, "hidden": config.hidden_size}
    sizes |= {"intermediate": config.intermediate_size, "jobs_per_gpu": compute.jobs_per_gpu}
    name = "_".join(map(str, sizes.values()))
    kept = compute.budgets and Path(compute.budgets) / f"{name}.json"
    if kept and kept.is_file():
        budget = read_json(kept)["batch_tokens"]
        log.info("at most %d tokens go through the model at once (from %s)", budget, kept)
        return budget
    card = torch.cuda.get_device_properties(0)
    budget = budget_within(card.total_memory / compute.jobs_per_gpu, config)
    log.info("at most %d tokens go through the model at once (compute.batch_tokens: auto)", budget)
    if kept:  # jobs that start together each write it whole
        own = kept.with_name(f".{uuid.uuid4().hex}.json")
        write_json({"batch_tokens": budget, **sizes, "card": card.name}, own)
        os.replace(own, kept)
    return budget


def budget_within(memory, config):
    """Return the tokens of a training step that half of some memory (bytes) holds."""
    fitting = int(memory / 2 / bytes_per_token(config))
    return max(TOKENS_ON_CPU, min(MOST_TOKENS, 1 << (fitting.bit_length() - 1)))


def autocast(device, precision, cache=True):
    """Return the context to train in: bf16 on a GPU that has it, float32 elsewhere.

    With a cache a weight that is used twice is brought to bf16 once.
    """
    bf16 = device.type == "cuda" and precision == "auto" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16, cache_enabled=cache)


def out_of_memory(error):
    """Return whether an error says that memory ran out, on a GPU or on a CPU."""
    text = str(error)
    cpu = "not enough memory" in text or "can't allocate memory" in text
    return isinstance(error, torch.OutOfMemoryError) or isinstance(error, RuntimeError) and cpu


def halving(run, batch):
    """Return [run(batch)]; where memory runs out, what the halves of the batch give instead.

    Parameters
    ----------
    run : callable
        Its results do not depend on what else is in the batch.
    batch : int array
    """
    try:
        return [run(batch)]
    except RuntimeError as error:
        if len(batch) == 1 or not out_of_memory(error):
            raise
    # out of the except block, whose error holds on to the tensors
    free_memory()
    half = len(batch) // 2
    log.warning("out of memory with %d cells: going on with %d at a time", len(batch), half)
    return [*halving(run, batch[:half]), *halving(run, batch[half:])]


def free_memory():
    """Give what torch has cached back to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
