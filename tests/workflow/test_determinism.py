"""The same config and code on one machine: the same bytes, in whatever folder and order."""

import pytest
from running import (
    MICRO,
    REPOSITORY,
    copy_checkout,
    edited_config,
    promised_bytes,
    run_snakemake,
)

from keygenes.core.files import checksum
from keygenes.core.tables import read_table

pytestmark = pytest.mark.slow

DEMO = ["--configfile", "config/demo_thesis.yaml"]


def run(folder, *args):
    """Run a study in a fresh checkout; return the folder of its results."""
    folder.mkdir(parents=True)
    checkout = copy_checkout(folder)
    done = run_snakemake(checkout, "--quiet", "rules", *args, timeout=5400)
    assert done.returncode == 0, done.text[-5000:]
    return next(path for path in (checkout / "results").iterdir() if path.is_dir())


def assert_same(first, second):
    """Assert that two folders of results have the same files with the same bytes."""
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_two_runs_of_the_demo_give_the_same_bytes(thesis, tmp_path):
    again = run(tmp_path / "another folder" / "main", "--cores", 1, *DEMO)
    assert_same(promised_bytes(thesis / "results/demo_thesis"), promised_bytes(again))


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """Return the results of the study of a minute."""
    return run(tmp_path_factory.mktemp("one") / "main", "--cores", 2, "--configfile", *MICRO)


@pytest.fixture
def two_threads(tmp_path):
    """Return the arguments of the same study with two threads a job."""
    base = REPOSITORY / "tests/config/micro.yaml"
    changes = {"compute": {"torch_threads": 2}}
    return [*DEMO, edited_config(tmp_path / "threads.yaml", changes, base)]


def test_two_runs_with_two_threads_give_the_same_bytes(two_threads, tmp_path):
    first = run(tmp_path / "a" / "main", "--cores", 2, *two_threads)
    second = run(tmp_path / "b" / "main", "--cores", 4, *two_threads)
    assert_same(promised_bytes(first), promised_bytes(second))


NO_SUMS_OF_TORCH = (
    *("cells/selection", "cells/labels", "cells/splits", "expression/umap", "tokens"),
    *("expression/wilcoxon", "expression/pseudobulk", "expression/half_tests", "vocabulary"),
    "models/level/baselines/grouped/fold1/predictions",
)


def test_what_no_torch_sum_enters_is_equal_with_one_thread_and_with_two(
    micro, two_threads, tmp_path
):
    other = run(tmp_path / "main", "--cores", 2, *two_threads)
    for name in NO_SUMS_OF_TORCH:
        tables = [read_table(folder / f"{name}.parquet") for folder in (micro, other)]
        assert tables[0].equals(tables[1]), name


def test_another_seed_changes_what_is_trained(micro, tmp_path):
    changed = edited_config(
        tmp_path / "seed.yaml", {"seeds": [2]}, REPOSITORY / "tests/config/micro.yaml"
    )
    other = run(tmp_path / "main", "--cores", 2, *DEMO, changed)
    weights = "models/level/full/fold1.seed{}/model.safetensors"
    assert checksum(micro / weights.format(1)) != checksum(other / weights.format(2))
