"""What the jobs of a study took, from the files that Snakemake leaves."""

import importlib

import pytest
from messages import assert_sentence

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def sizing(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return importlib.import_module("sizing")


def write_benchmark(folder, name, seconds, memory, cpu):
    text = f"{HEADER}{seconds}\t0:00:00\t{memory}\t1\t1\t1\t0\t0\t90\t{cpu}\n"
    (folder / f"{name}.tsv").write_text(text, encoding="utf-8")


def test_rules_have_the_most_that_one_of_their_jobs_took(sizing, tmp_path):
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    write_benchmark(folder, "finetune.level.full.seed1", 12.4, 1500.0, 11)
    write_benchmark(folder, "finetune.level.frozen.seed1", 3.1, 1700.2, 3)
    write_benchmark(folder, "pretrain", 60, 810, 43)
    costs = sizing.costs_by_rule(sizing.job_costs(tmp_path))
    assert costs.loc["finetune"].tolist() == [2, 12.4, 11, 1700.2]
    assert sizing.table(costs).splitlines() == [
        "| rule | jobs | longest, s | most CPU time, s | most memory, MB |",
        "|---|---|---|---|---|",
        "| finetune | 2 | 12 | 11 | 1,700 |",
        "| pretrain | 1 | 60 | 43 | 810 |",
    ]


def test_a_folder_without_benchmarks_is_refused(sizing, tmp_path):
    with pytest.raises(sizing.InputError) as error:
        sizing.job_costs(tmp_path)
    assert_sentence(error, str(tmp_path), "benchmarks/*.tsv", "results/demo")
