"""Runs and the files of a job that does several."""

import pytest

from keygenes.core.runs import Run, each_run, run_named


@pytest.mark.parametrize("run", [Run(1, 2), Run(3, 1, 20)])
def test_a_run_is_named_and_found_again(run):
    assert run_named(run.name) == run


def test_another_name_is_no_run():
    with pytest.raises(ValueError, match="'seed1'"):
        run_named("seed1")


def test_every_run_of_a_job_has_its_own_files_and_the_shared_ones():
    names = ["relabelled1.fold2.seed1", "relabelled2.fold2.seed1"]
    files = {"tokens": "tokens", "labels": ["a", "b"], "states": ["one"], "weights": []}
    found = list(each_run(names, files))
    assert [run for run, _ in found] == [Run(2, 1, 1), Run(2, 1, 2)]
    assert [own["labels"] for _, own in found] == ["a", "b"]
    for _, own in found:
        assert (own["tokens"], own["states"], own["weights"]) == ("tokens", "one", None)
