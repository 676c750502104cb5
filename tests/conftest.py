"""What every test may ask for: the test data, a checkout, and the demo, finished once."""

import os
from pathlib import Path

import pytest
from gene_study import finished_gene_study
from hypothesis import HealthCheck, settings
from running import copy_checkout, kept_study

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


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """Return a fresh checkout for runs that compute nothing."""
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "main")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Return a checkout in which the demo is finished."""
    return kept_study("demo", tmp_path_factory)


@pytest.fixture(scope="session")
def thesis(tmp_path_factory):
    """Return a checkout in which the demo of the thesis is finished."""
    return kept_study("demo_thesis", tmp_path_factory)


@pytest.fixture(scope="session")
def gene_study(thesis, tmp_path_factory):
    """Return the finished demo of the thesis with a task of genes (see `finished_gene_study`)."""
    return finished_gene_study(thesis, tmp_path_factory.mktemp("genes"))
