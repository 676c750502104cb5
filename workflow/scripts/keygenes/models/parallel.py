"""One job on several GPUs (or CPU processes) of a machine, by `accelerate`."""

import contextlib
import logging
import os
import socket

import torch
from accelerate import PartialState
from accelerate.utils import reduce

from keygenes.core.errors import input_error
from keygenes.models.device import Group

log = logging.getLogger("keygenes")


@contextlib.contextmanager
def joined(rank, size, port, cpu):
    """Make this process one of a group; yield its `Group`, and leave it afterwards."""
    variables = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        state = PartialState(cpu=cpu)  # gloo on CPUs, nccl on GPUs: one GPU per process
        yield Group(rank, size, lambda tensor: reduce(tensor, "sum"))
        state.wait_for_everyone()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        PartialState._reset_state()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def follow(function, settings, rank, size, port, cpu):
    """Run `function` as one of the processes that only help."""
    logging.basicConfig(level=logging.WARNING, format=f"process {rank}: %(message)s")
    with joined(rank, size, port, cpu) as group:
        function(**settings, group=group)


def run_together(function, processes, **settings):
    """Call ``function(**settings, group=...)`` in several processes at once; this is the first.

    Parameters
    ----------
    function : callable
        At the top of a module: the other processes import it (they are spawned, since a forked
        process can use neither CUDA nor the threads of its parent).
    processes : int
        With 1 nothing is started, and no group is passed.
    settings : dict
        Must be picklable; `device` among them says where to compute.

    Raises
    ------
    InputError
        If there are GPUs, but fewer than processes.
    """
    if processes == 1:
        return function(**settings)
    n_gpus = torch.cuda.device_count()
    cpu = settings["device"] == "cpu" or n_gpus == 0
    if not cpu and n_gpus < processes:
        raise input_error(
            "config key 'compute.processes'",
            found=f"{processes}, but this job sees {n_gpus} GPU" + "s" * (n_gpus > 1),
            expected="a GPU for each process",
            remedy="lower it, or let jobs have more GPUs (--resources gpu=N, or your partition)",
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    others = [
        context.Process(target=follow, args=(function, settings, r, processes, port, cpu))
        for r in range(1, processes)
    ]
    log.info("%d processes share each batch, on %s", processes, "CPUs" if cpu else "GPUs")
    try:
        for process in others:
            process.start()
        with joined(0, processes, port, cpu) as group:
            function(**settings, group=group)
        for process in others:
            process.join()
    finally:
        for process in others:
            if process.is_alive():
                process.terminate()
                process.join()
    return None
