"""What a job is called, what it computes with, and how its log ends."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from keygenes.core.shown import printable

FAILED = "failed"  # the last line of the log of a job that failed by itself starts with it


def job_name(rule: str, wildcards: Iterable[tuple[str, Any]]) -> str:
    """Return a job in words: 'finetune level full seed 1'."""
    numbered = (f"{key} {value}" if str(value).isdigit() else value for key, value in wildcards)
    return printable(" ".join([rule, *map(str, numbered)]))


class Compute(NamedTuple):
    """What a job that runs an encoder computes with: the config's section 'compute'.

    Attributes
    ----------
    batch_tokens : int or 'auto'
        Tokens that go through a model at once, padding included; see `models.device.token_budget`.
    threads : int
    device : {'auto', 'cpu', 'cuda'}
    precision : {'auto', 'float32'}
        See `models.device.autocast`.
    deterministic : bool
        Whether the same bytes are asked of a GPU each time.
    jobs_per_gpu : int
        Jobs that share the memory of a card.
    budgets : str or None
        Folder that keeps what 'auto' came to on a GPU, for reruns; None: nowhere.
    """

    batch_tokens: int | str = 4096
    threads: int = 1
    device: str = "cpu"
    precision: str = "float32"
    deterministic: bool = False
    jobs_per_gpu: int = 1
    budgets: str | None = None


def computing(section: dict[str, Any]) -> Compute:
    """Return the `Compute` of a config's section 'compute'."""
    names = {"threads": "torch_threads"}
    return Compute(**{name: section[names.get(name, name)] for name in Compute._fields})
