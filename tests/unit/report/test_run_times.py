import pytest

from keygenes.report.run_times import COLUMNS, run_times

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(folder, name, seconds, memory, cpu):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{seconds}\t0:00:01\t{memory}\t2\t2\t2\t0\t0\t50\t{cpu}\n")


def test_jobs_are_added_up_by_rule_and_the_longest_rule_comes_first(tmp_path):
    benchmark(tmp_path, "rank_genes.tsv", 3.5, 100.0, 3.0)
    benchmark(tmp_path, "finetune.dose.full.seed1.tsv", 10.0, 700.0, 9.0)
    benchmark(tmp_path, "finetune.dose.full.seed2.tsv", 20.0, 600.0, 18.0)
    table = run_times(tmp_path)
    assert list(table.columns) == COLUMNS
    assert table.to_dict("records") == [
        {
            **{"rule": "finetune", "n_jobs": 2, "wall_seconds": 30.0, "longest_seconds": 20.0},
            **{"cpu_seconds": 27.0, "peak_mb": 700.0},
        },
        {
            **{"rule": "rank_genes", "n_jobs": 1, "wall_seconds": 3.5, "longest_seconds": 3.5},
            **{"cpu_seconds": 3.0, "peak_mb": 100.0},
        },
    ]


def test_a_job_too_short_to_be_watched_has_a_time_and_no_memory(tmp_path):
    benchmark(tmp_path, "evaluate.dose.tsv", 0.2, "NA", "NA")
    benchmark(tmp_path, "evaluate.level.tsv", 0.3, "-", 0.1)
    (row,) = run_times(tmp_path).itertuples()
    assert row.wall_seconds == pytest.approx(0.5)
    assert row.cpu_seconds == pytest.approx(0.1)
    assert row.peak_mb != row.peak_mb


@pytest.mark.parametrize("text", ["", "s\th:m:s\n1\t2\n", HEAD + "one\tx\tx\n", HEAD + "1.0\n"])
def test_a_damaged_benchmark_is_left_out(tmp_path, text, caplog):
    benchmark(tmp_path, "rank_genes.tsv", 3.5, 100.0, 3.0)
    (tmp_path / "finetune.a.tsv").write_text(text)
    assert list(run_times(tmp_path)["rule"]) == ["rank_genes"]


def test_without_benchmarks_the_table_is_empty(tmp_path):
    assert run_times(tmp_path / "none").empty
    assert list(run_times(tmp_path / "none").columns) == COLUMNS
