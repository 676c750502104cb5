"""What every test may ask for: the folder with test data, and the mirror in it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]

# The same examples every time; KEYGENES_EXPLORE=1 draws others.
settings.register_profile(
    "fixed",
    derandomize=not os.environ.get("KEYGENES_EXPLORE"),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def repository():
    """Return the root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root():
    """Return the folder with test data, or skip the test where there is none."""
    folder = Path(os.environ.get("KEYGENES_TEST_DATA") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder} (set KEYGENES_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def mirror_root(data_root):
    """Return the mirror of downloads in the test data, or skip the test where it is absent."""
    folder = data_root / "mirror"
    if not folder.is_dir():
        pytest.skip(f"no mirror at {folder}")
    return folder
