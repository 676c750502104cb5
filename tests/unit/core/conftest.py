"""The study's own config, read where a user runs."""

import pytest

from keygenes.core.config import read_yaml


@pytest.fixture
def here(repository, monkeypatch):
    """Run where a user runs: registries name files relative to the repository."""
    monkeypatch.chdir(repository)
    return repository


@pytest.fixture
def study(here):
    return read_yaml("config/config.yaml")
