"""A checkout to run in, and the demo, finished once for every test that reads it."""

import os
from pathlib import Path

import pytest
from gene_study import finished_gene_study
from running import copy_checkout, finished_study


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """Return a fresh checkout for runs that compute nothing."""
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "main")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """Return a checkout in which the demo has run to its end.

    It is kept between two runs of the tests in the folder KEYGENES_DEMO_CHECKOUT, if that is set:
    then only what an edit concerns is computed again.
    """
    kept = os.environ.get("KEYGENES_DEMO_CHECKOUT")
    parent = Path(kept) if kept else tmp_path_factory.mktemp("demo")
    return finished_study(parent / "main", "config/demo.yaml")


@pytest.fixture(scope="session")
def gene_study(demo, tmp_path_factory):
    """Return the finished demo with a task of genes (see `finished_gene_study`)."""
    return finished_gene_study(demo, tmp_path_factory.mktemp("genes"))
