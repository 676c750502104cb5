"""The command that says whether two studies hold the same values."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from compare_runs import compared, main
from safetensors.numpy import save_file


def put_cell(path):
    """Put another value into an h5ad."""
    with h5py.File(path, "a") as file:
        file["X"][0] = 2.0


@pytest.fixture
def runs(tmp_path):
    """Return two equal folders of results, of which one has other stamps."""
    for name, stamp in (("old", "1"), ("new", "2")):
        folder = tmp_path / name
        (folder / "models").mkdir(parents=True)
        (folder / "report").mkdir()
        table = pd.DataFrame({"gene": ["a", "b"], "score": [1.0, np.nan]})
        table.to_parquet(folder / "genes.parquet", compression="gzip" if stamp == "1" else None)
        save_file({"w": np.arange(3.0)}, folder / "models/m.safetensors", {"made": stamp})
        (folder / "loading.json").write_text(json.dumps({"n": 3, "version": stamp}))
        (folder / "report/index.html").write_text(stamp)
        (folder / "figure.svg").write_text("same")
        with h5py.File(folder / "cells.h5ad", "w") as file:
            file["X"], file["uns/commit"] = [1.0, np.nan], stamp
    return tmp_path / "old", tmp_path / "new"


def test_stamps_and_compression_are_no_difference(runs):
    found = compared(*runs)
    assert len(found["equal"]) == 5
    assert [str(name) for name in found["stamped or timed, not compared"]] == ["report/index.html"]
    assert main(*runs) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda new: pd.DataFrame({"gene": ["a", "b"], "score": [1.0, 2.0]}).to_parquet(
            new / "genes.parquet"
        ),
        lambda new: pd.DataFrame({"gene": ["a", "b"], "score": [1, 2]}).to_parquet(
            new / "genes.parquet"
        ),
        lambda new: save_file({"w": np.arange(3.0) + 1e-7}, new / "models/m.safetensors"),
        lambda new: save_file({"v": np.arange(3.0)}, new / "models/m.safetensors"),
        lambda new: (new / "loading.json").write_text('{"n": 4}'),
        lambda new: (new / "figure.svg").write_text("other"),
        lambda new: put_cell(new / "cells.h5ad"),
        lambda new: (new / "genes.parquet").unlink(),
    ],
    ids=["value", "type", "weight", "name", "number", "bytes", "cell", "missing"],
)
def test_another_value_is_one(runs, change, capsys):
    change(runs[1])
    assert main(*runs) == 1
    found = compared(*runs)
    (name,) = found["different"] + found["only in the first"]
    assert str(name) in capsys.readouterr().out
    assert len(found["equal"]) == 4


def test_what_came_later_is_told_and_is_no_difference(runs, capsys):
    (runs[1] / "more.tsv").write_text("a")
    assert main(*runs) == 0
    assert "more.tsv" in capsys.readouterr().out
