"""The study's own config, read where a user runs."""

import pytest
from running import whole_config


@pytest.fixture
def here(repository, monkeypatch):
    """Run where a user runs: registries name files relative to the repository."""
    monkeypatch.chdir(repository)
    return repository


@pytest.fixture
def study(here):
    return whole_config()
