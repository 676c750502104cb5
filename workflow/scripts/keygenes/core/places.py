"""Where files lie: those of the workflow, and those that a config or a registry names.

A run's working directory need not be the folder of the workflow. Imported while Snakemake reads the
Snakefile, so nothing heavy is imported here.
"""

import os
from pathlib import Path

from keygenes.core.files import PathLike

CHECKOUT = Path(__file__).resolve().parents[4]  # the folder of workflow/, config/ and resources/


def of_workflow(path: PathLike) -> str:
    """Return where a file of the workflow is, by its path in the checkout.

    In the checkout itself that is the path as it stands; from elsewhere it is absolute.
    """
    return str(path) if os.path.samefile(".", CHECKOUT) else str(CHECKOUT / path)


def located(path: PathLike) -> str:
    """Return where a path that a config or a registry names leads.

    What is in the working directory wins; what is not there may lie beside the workflow, by the
    same path. A path that leads nowhere stays as it is, for the message that says so.
    """
    beside = CHECKOUT / path
    return str(beside) if not os.path.lexists(path) and os.path.exists(beside) else str(path)


def as_named(path: PathLike) -> str:
    """Return a path as a config names it: without the checkout's folder, wherever that is."""
    inside = Path(path).is_relative_to(CHECKOUT)
    return str(Path(path).relative_to(CHECKOUT)) if inside else str(path)
