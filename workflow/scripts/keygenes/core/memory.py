"""How much memory a job asks for, in MB.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

# MB in memory per MB of an h5ad of counts: 8 bytes for each value, packed to less than two.
UNPACKED = 5


def memory(base_mb: float, matrices: float = 0) -> Callable[..., int]:
    """Return a memory request that grows with each attempt, up to four times what it starts with.

    It starts with a base and so many times the values of the h5ad among the rule's input
    (`benchmarks/scale.py` measures how many). Before these are there it is the base: Snakemake
    asks again when the job is about to start.
    """

    def asked(wildcards: Any, input: Iterable[Any], attempt: int) -> int:
        paths = (str(path) for path in input)
        stored = [path for path in paths if path.endswith(".h5ad") and os.path.exists(path)]
        values_mb = UNPACKED * sum(map(os.path.getsize, stored)) / 1e6
        return int(base_mb + matrices * values_mb) * min(attempt, 4)

    return asked
