import logging
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from messages import assert_sentence

from keygenes.core.errors import InputError, input_error
from keygenes.core.files import digest_of
from keygenes.core.jobs import FAILED, job_name
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.step import LogFile, software_versions, step
from keygenes.core.tables import read_stamp, set_stamp, write_table


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # else `force` closes those of pytest
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    set_stamp(None)


def job(tmp_path, **params):
    return SimpleNamespace(
        rule="umap", log=[tmp_path / "logs" / "umap.log"], params=params, wildcards={"seed": "2"}
    )


def log_of(tmp_path):
    return (tmp_path / "logs" / "umap.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_log_holds_what_the_body_says_and_how_long_it_took(tmp_path):
    with step(job(tmp_path)) as log:
        log.info("12 µM")
    first, last = log_of(tmp_path).splitlines()
    assert first == "12 µM"
    assert last.startswith("done in ")


@pytest.mark.slow
def test_an_input_error_ends_the_job_with_its_sentence_alone(tmp_path):
    error = input_error("config key 'a'", found="1", expected="2", remedy="change it")
    with pytest.raises(SystemExit) as stop, step(job(tmp_path)):
        raise error
    assert stop.value.code == 1
    sentence, last = log_of(tmp_path).splitlines()
    assert sentence == "config key 'a': found 1, expected 2; change it."
    assert last.startswith(FAILED)
    assert_sentence(error, "config key 'a'")


@pytest.mark.slow
def test_on_the_terminal_every_line_starts_with_the_job(tmp_path, capsys):
    with step(job(tmp_path)) as log:
        log.info("12 cells\nof 3 wells")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["umap seed 2: 12 cells", "umap seed 2: of 3 wells"]
    assert "umap seed 2" not in log_of(tmp_path), "its name says so"


@pytest.mark.slow
def test_the_terminal_names_the_log_of_a_failed_job_and_leaves_the_error_to_it(tmp_path, capsys):
    with pytest.raises(SystemExit), step(job(tmp_path)):
        raise KeyError("gone")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("umap seed 2: failed after ")
    assert line.endswith(f"log: {tmp_path / 'logs' / 'umap.log'}")


@pytest.mark.slow
def test_an_error_that_the_log_cannot_take_is_said_on_the_terminal(tmp_path, capsys, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit), step(job(tmp_path)):
        monkeypatch.setattr(LogFile, "flush", full)
        raise input_error("the disk", found="1", expected="2", remedy="change it")
    monkeypatch.undo()
    assert "the disk: found 1, expected 2; change it.\n" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_job_leaves_no_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit), step(job(tmp_path)):
        raise KeyboardInterrupt
    assert log_of(tmp_path).startswith("interrupted\nfailed after ")
    assert "Traceback" not in capsys.readouterr().err


def test_a_jobs_name_has_its_wildcards():
    wildcards = {"task": "level", "regime": "full\x1b[2J", "seed": "1"}.items()
    assert job_name("finetune", wildcards) == "finetune level full [2J seed 1"
    assert job_name("evaluate", {}.items()) == "evaluate"


@pytest.mark.slow
def test_any_other_error_leaves_its_traceback_in_the_log(tmp_path):
    with pytest.raises(SystemExit) as stop, step(job(tmp_path)):
        raise KeyError("gone")
    assert stop.value.code == 1
    assert "Traceback" in log_of(tmp_path)
    assert "KeyError: 'gone'" in log_of(tmp_path)


@pytest.mark.slow
def test_too_little_memory_is_said_below_the_traceback(tmp_path):
    with pytest.raises(SystemExit), step(job(tmp_path)):
        raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
    *_, said, _ = log_of(tmp_path).splitlines()
    assert_sentence(said, "compute.device", "too little memory", "lower compute.batch_tokens")


@pytest.mark.slow
def test_tables_written_in_a_step_say_where_they_come_from(tmp_path):
    table = pd.DataFrame({"cell": ["a"], "umap1": [0.0], "umap2": [1.0]})
    with step(job(tmp_path, seed=3)):
        write_table(table, tmp_path / "t.parquet", "umap")
    stamp = read_stamp(tmp_path / "t.parquet")
    assert stamp["rule"] == "umap"
    assert stamp["wildcards"] == {"seed": "2"}
    assert stamp["params_sha256"] == digest_of({"seed": 3})
    assert stamp["versions"] == software_versions()
    assert {"keygenes", "python", "pandas", "pyarrow"} <= set(stamp["versions"])
    assert "snakemake" not in stamp["versions"]  # installed, but nothing here imports it


def test_a_matrix_comes_back_with_text_as_categories_and_sorted_indices(tmp_path):
    counts = scipy.sparse.csr_matrix(
        (np.array([2.0, 1.0, 5.0], np.float32), np.array([2, 0, 1]), np.array([0, 2, 3])), (2, 3)
    )
    assert not counts.has_sorted_indices
    obs = pd.DataFrame({"drug": ["Nutlin", None], "dose_um": [2.5, np.nan]}, index=["b", "a"])
    var = pd.DataFrame({"symbol": ["A", "B", "A"]}, index=["G1", "G2", "G3"])
    for name in ("x.h5ad", "y.h5ad"):
        write_matrix(anndata.AnnData(counts.copy(), obs.copy(), var.copy()), tmp_path / name)
    back = read_matrix(tmp_path / "x.h5ad")
    assert back.X.toarray().tolist() == [[1, 0, 2], [0, 5, 0]]
    assert back.X.has_sorted_indices
    assert list(back.obs_names) == ["b", "a"]
    assert back.obs["drug"].isna().tolist() == [False, True]
    assert isinstance(back.obs["drug"].dtype, pd.CategoricalDtype)
    assert (tmp_path / "x.h5ad").read_bytes() == (tmp_path / "y.h5ad").read_bytes()


def test_a_damaged_matrix_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "x.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    with pytest.raises(InputError) as error:
        read_matrix(tmp_path / "x.h5ad")
    assert_sentence(error, str(tmp_path / "x.h5ad"), "delete it and run again")
