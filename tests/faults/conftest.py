"""The micro study, finished once without a fault, and folders to break it in."""

import pytest
from running import copy_checkout
from watching import CONFIG, Watched


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory):
    """Return (checkout, its watched run) in which the micro study has run to its end."""
    folder = copy_checkout(tmp_path_factory.mktemp("unbroken") / "main")
    run = Watched(folder, "--cores", 2, *CONFIG)
    assert run.wait(1800) == 0, run.text[-5000:]
    return folder, run


@pytest.fixture
def checkout(tmp_path):
    """Return a fresh checkout."""
    return copy_checkout(tmp_path / "main")
