"""Where and how torch computes: device, threads, precision, determinism."""

import contextlib
import os

import torch

from keygenes.core.errors import input_error


def set_up_torch(*, threads, device):
    """Fix the number of threads, ask for deterministic kernels and return the torch device.

    Parameters
    ----------
    threads : int
        Threads of this process, whatever the scheduler offers: another number sums in another
        order and changes the last digits.
    device : {'auto', 'cpu', 'cuda'}
    """
    torch.set_num_threads(threads)
    with contextlib.suppress(RuntimeError):  # may be set only once per process
        torch.set_num_interop_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if device == "cuda" and not torch.cuda.is_available():
        raise input_error(
            "config key 'compute.device'",
            found="'cuda', but torch sees no GPU",
            expected="a machine with a GPU and a CUDA build of torch",
            remedy="set it to 'auto' or 'cpu'",
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def autocast(device, precision):
    """Return the context to train in: bf16 on a GPU that has it, float32 elsewhere."""
    bf16 = device.type == "cuda" and precision == "auto" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)
