"""How benchmarks are timed, what they print, and the page made from it."""

import importlib
import json
import operator
import sys
import time

import numpy as np
import pytest


@pytest.fixture
def benchmark(repository, monkeypatch):
    """Return a function that imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return importlib.import_module


@pytest.fixture
def timing(benchmark):
    return benchmark("timing")


def test_no_script_hides_a_module_of_the_standard_library(repository):
    # A script's folder comes first on its path: tokenize.py would break every import of inspect.
    names = {path.stem for path in (repository / "benchmarks").glob("*.py")}
    assert "timing" in names
    assert not names & set(sys.stdlib_module_names)


def test_candidates_take_turns_after_a_warm_up(timing):
    called = []
    candidates = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = timing.rounds(candidates, 2)
    assert "".join(called) == "abcabcbca"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2, "c": 2}
    called.clear()
    timing.rounds(candidates, 1, warm_up=False)
    assert called == ["a", "b", "c"]


def test_ratios_are_of_one_round_and_their_median_is_reported(timing, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    taken = {"plain": iter([1.0, 10.0, 1.0]), "ours": iter([2.0, 20.0, 3.0])}

    def run(name):
        clock[0] += next(taken[name])

    candidates = {name: lambda name=name: run(name) for name in taken}
    timed = timing.ratios(candidates, "plain", 3, warm_up=False)
    assert timed["plain"]["ratio"] == {"value": 1, "low": 1, "high": 1, "n": 3}
    assert timed["ours"]["ratio"] == pytest.approx({"value": 2, "low": 2, "high": 2.8, "n": 3})
    assert timed["ours"]["seconds"]["value"] == 3
    np.testing.assert_allclose(timed["ours"]["all_seconds"], [2, 20, 3])


@pytest.mark.parametrize(
    ("target", "met"),
    [("<= 1.5", True), (">= 1.5", True), ("< 1.5", False), (">= 2", False), (None, None)],
)
def test_a_target_is_held_against_the_median(timing, target, met):
    line = timing.result("a_over_b", timing.spread([1.4, 1.5, 9.0]), target)
    assert line["met"] is met
    assert (line["value"], line["n"], line["unit"]) == (1.5, 3, "x")


def test_the_last_line_is_one_object(timing, capsys):
    results = [
        timing.result("a_over_b", timing.spread([1, 2, 3]), "<= 1"),
        timing.result("memory", 12, unit="MB"),
    ]
    timing.emit("name", results, {"cells": 5})
    lines = capsys.readouterr().out.splitlines()
    assert "MISSED" in lines[0]
    assert "12 MB" in lines[1]
    found = json.loads(lines[-1])
    assert found == {"name": "name", "results": results, "notes": {"cells": 5}}
    assert found["results"][1] == {
        **{"key": "memory", "value": 12.0, "low": None, "high": None, "n": 1},
        **{"unit": "MB", "target": None, "met": None},
    }


def test_options(timing, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x.py", "--quick", "--cells", "7"])
    options = timing.arguments("First.\nSecond.", [("--cells", {"type": int})], threads=2)
    assert (options.quick, options.repeats, options.threads, options.cells) == (True, 3, 2, 7)
    monkeypatch.setattr(sys, "argv", ["x.py", "--repeats", "9"])
    assert timing.arguments("First.").repeats == 9


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(timing):
    ballast = np.ones(30_000_000)  # 240 MB that the other process does not have
    value, before, peak = timing.apart(operator.mul, 2, 3)
    assert value == 6
    assert 0 < before <= peak < timing.peak_megabytes()
    length, before, peak = timing.apart(eval, "len(bytes(range(256)) * 500_000)")
    assert length == 128_000_000
    assert peak - before > 100
    assert ballast.all()


def made_up(timing, name="attention", **more):
    results = [
        timing.result("ours_over_plain", timing.spread([1.2, 1.3, 1.4]), "<= 1.25"),
        timing.result("plain_over_ours", timing.spread([7, 8, 9]), ">= 5"),
        timing.result("peak_memory", 12345, unit="MB"),
    ]
    return {
        **{"name": name, "results": results, "notes": {"cells": 12}},
        "about": "What is timed.\n\n    how to run it\n\nAgainst what.",
        "command": f"python benchmarks/{name}.py",
        "machine": {
            **{"processor": "CPU X", "cores": 2, "memory_gib": 8},
            **{"gpu": None, "system": "Linux x86_64"},
        },
        "versions": {"keygenes": "1.0", "numpy": "2.0"},
        **more,
    }


def test_the_page_shows_what_was_measured_and_where(timing, benchmark):
    page = benchmark("write_page").page
    first = made_up(timing)
    gpu = made_up(timing, machine={**first["machine"], "gpu": "GPU Y"})
    text = page([made_up(timing, "tokenize_cells"), gpu, first])
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# Benchmarks",
        "## CPU X, 2 cores",
        "### attention",
        "### tokenize_cells",
        "## GPU Y, with CPU X, 2 cores",
        "### attention",
    ]
    assert "Linux x86_64, 8 GiB of memory. Versions: keygenes 1.0, numpy 2.0." in lines
    assert "| `ours_over_plain` | 1.3 | 1.22 to 1.38 | 3 | <= 1.25 | **no** |" in lines
    assert "| `plain_over_ours` | 8 | 7.2 to 8.8 | 3 | >= 5 | yes |" in lines
    assert "| `peak_memory` | 12,345 MB |  | 1 |  |  |" in lines
    assert "    python benchmarks/attention.py" in lines
    assert any("cells: 12" in line for line in lines)
    assert page([first, gpu, made_up(timing, "tokenize_cells")]) == text


def test_what_was_not_run_stays_on_the_page(benchmark, timing):
    page = benchmark("write_page").page
    before = page([made_up(timing), made_up(timing, "tokenize_cells")])
    assert page([], before) == before
    newer = made_up(timing, versions={"keygenes": "2.0"})
    text = page([newer], before)
    assert text.count("### attention\n") == text.count("### tokenize_cells\n") == 1
    assert text.index("Versions: keygenes 1.0") < text.index("### tokenize_cells")
    assert text.index("Versions: keygenes 2.0") < text.index("### attention")
    assert page([newer], text) == text
    assert "### attention" not in page([], before, failed=["attention"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "last line"),
        ("done", "Expecting value"),
        ("[1]", "last line"),
        ('{"name": "b", "results": [], "notes": {}}', "names 'b'"),
        ('{"name": "a", "results": [{"key": "x"}], "notes": {}}', "keys"),
    ],
)
def test_another_last_line_is_refused(benchmark, text, reason):
    with pytest.raises(ValueError, match=reason):
        benchmark("write_page").parsed(text, "a")


def test_what_emit_prints_is_accepted(timing, benchmark, capsys):
    timing.emit("a", [timing.result("x", 1.0)])
    text = "a table\n" + capsys.readouterr().out
    assert benchmark("write_page").parsed(text, "a")["results"][0]["key"] == "x"


@pytest.mark.parametrize("has_gpu", [False, True])
def test_what_takes_hours_on_a_cpu_runs_on_a_gpu_alone(benchmark, monkeypatch, has_gpu):
    write_page = benchmark("write_page")
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    names = list(write_page.scripts())
    assert set(names) > write_page.ON_A_GPU
    left_out = set(names) - set(write_page.runnable(names))
    assert left_out == (set() if has_gpu else write_page.ON_A_GPU)


def test_every_script_that_claims_is_found_and_runs_are_recorded(benchmark, tmp_path, monkeypatch):
    write_page = benchmark("write_page")
    names = set(write_page.scripts())
    assert {"tokenize_cells", "rank_genes", "training"} <= names
    assert not names & {"timing", "write_page"}

    folder, records = tmp_path / "benchmarks", tmp_path / "records"
    folder.mkdir()
    monkeypatch.setattr(write_page, "REPO", tmp_path)
    good = '"""What it is."""\nimport sys\nprint(sys.argv[1:])\n'
    good += 'print(\'{"name": "good", "results": [], "notes": {}}\')\n'
    (folder / "good.py").write_text(good)
    assert write_page.run(folder / "good.py", ["--quick"], records)
    (kept,) = records.iterdir()
    record = json.loads(kept.read_text())
    assert record["command"] == "python benchmarks/good.py --quick"
    assert record["about"] == "What it is."
    assert record["machine"]["cores"] > 0
    assert "numpy" in record["versions"]

    (folder / "good.py").write_text(good + "sys.exit(3)\n")
    assert not write_page.run(folder / "good.py", [], records)
    assert not list(records.iterdir()), "no older numbers of a script that fails"
