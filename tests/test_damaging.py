"""Altered bytes under HDF5 are tried in a process of their own.

The library may spoil its memory without a word, and end the process much later, in a test that has
nothing to do with it.
"""

import re
import subprocess
import sys

import pytest

MODULES = (
    "tests/faults/test_damage.py",
    "tests/unit/inputs/test_hostile_h5ad.py",
)


@pytest.mark.parametrize("module", MODULES)
def test_what_may_spoil_a_library(module, repository):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "damaging", module]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600)
    # HDF5 may crash as the process ends, when all tests have been told of.
    assert run.returncode <= 0, run.stdout[-5000:]
    assert re.search(r"(?m)^\d+ passed, [^f]*$", run.stdout), run.stdout[-5000:]
