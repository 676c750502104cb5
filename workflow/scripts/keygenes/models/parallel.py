"""One job on several GPUs (or CPU processes) of a machine, by `accelerate`."""

import contextlib
import logging
import multiprocessing.connection
import os
import socket
import threading

import torch
from accelerate import PartialState
from accelerate.utils import reduce

from keygenes.core.errors import InputError, input_error
from keygenes.models.device import Group

log = logging.getLogger("keygenes")

PATIENCE = 30.0  # s in which an exchange with a process that is gone should fail by itself


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


def killed(processes):
    """Return the error that names the first of some processes that a signal has ended, or None."""
    rank = next((i for i, p in enumerate(processes, 1) if (p.exitcode or 0) < 0), None)
    if rank is None:
        return None
    return input_error(
        f"config key 'compute.processes', process {rank}",
        found=f"it was killed (signal {-processes[rank - 1].exitcode})",
        expected=f"{len(processes) + 1} processes that run to the end",
        remedy="see whether memory ran out (fewer processes, or a smaller compute.batch_tokens, "
        "need less) and run the same command: it resumes after the last finished epoch",
    )


def end_with_the_others(processes, done):
    """End this process where another one was killed and it has not noticed: it may wait for ever.

    Parameters
    ----------
    processes : list of Process
    done : threading.Event
        Set once this process needs the others no more, or has noticed.
    """
    waiting = {process.sentinel: process for process in processes}
    while waiting and not done.is_set():
        for sentinel in multiprocessing.connection.wait(list(waiting), timeout=1.0):
            waiting.pop(sentinel).join()
        if (error := killed(processes)) and not done.wait(PATIENCE):
            log.error("%s", error)
            os._exit(1)  # it sits in an exchange of torch, which no exception reaches


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
        If there are GPUs, but fewer than processes; if one of the processes is killed.
    """
    if processes == 1:
        return function(**settings)
    n_gpus = torch.cuda.device_count()
    cpu = settings["compute"].device == "cpu" or n_gpus == 0
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
    done = threading.Event()
    try:
        for process in others:
            process.start()
        threading.Thread(target=end_with_the_others, args=(others, done), daemon=True).start()
        with joined(0, processes, port, cpu) as group:
            function(**settings, group=group)
        for process in others:
            process.join()
    except InputError:
        raise
    except Exception as error:
        for process in others:
            process.join(timeout=5)
        if lost := killed(others):
            raise lost from error
        raise
    finally:
        done.set()
        for process in others:
            if process.is_alive():
                process.terminate()
                process.join()
    return None
