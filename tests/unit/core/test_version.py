import pandas as pd
import pytest
from messages import assert_sentence

from keygenes import __version__
from keygenes.core import schemas
from keygenes.core.errors import InputError
from keygenes.core.tables import read_table, set_stamp, write_table
from keygenes.core.version import check_version, claim_study, write_version

UMAP = pd.DataFrame({"cell": ["a", "b"], "umap1": [0.0, 1.0], "umap2": [2.0, 3.0]})


def test_a_folder_of_this_version_an_empty_one_and_none_are_taken(tmp_path):
    check_version(tmp_path / "none")
    check_version(tmp_path)
    write_version(tmp_path)
    assert (tmp_path / "version.txt").read_text() == f"{__version__}\n"
    check_version(tmp_path)


def test_a_job_says_the_version_of_its_study_where_no_run_has(tmp_path):
    study = tmp_path / "results/micro"
    (study / "logs").mkdir(parents=True)
    claim_study(study / "logs/umap.log")
    assert (study / "version.txt").read_text() == f"{__version__}\n"
    (study / "version.txt").write_text("0.0.9\n")
    claim_study(study / "logs/umap.log")
    assert (study / "version.txt").read_text() == "0.0.9\n"


@pytest.mark.parametrize(
    "log", ["resources/logs/x/a.log", "results/compare/a/logs/a.log", "logs/a.log", "a.log"]
)
def test_logs_that_are_of_no_study_say_no_version(tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    (tmp_path / log).parent.mkdir(parents=True, exist_ok=True)
    claim_study(log)
    assert not list(tmp_path.rglob("version.txt"))


@pytest.mark.parametrize("other", ["0.0.9", "9.9.9", ""])
def test_a_folder_of_another_version_is_refused(tmp_path, other):
    (tmp_path / "version.txt").write_text(other)
    with pytest.raises(InputError) as error:
        check_version(tmp_path)
    told = (f"found results of keygenes {other}", f"those of keygenes {__version__}")
    assert_sentence(error, str(tmp_path), *told, "'study'", "version.txt")


def test_a_folder_whose_folds_are_named_after_seeds_is_refused(tmp_path):
    (tmp_path / "cells/splits").mkdir(parents=True)
    (tmp_path / "cells/splits/seed1.parquet").touch()
    for with_version in (False, True):
        if with_version:
            write_version(tmp_path)
        with pytest.raises(InputError) as error:
            check_version(tmp_path)
        assert_sentence(error, str(tmp_path), "keygenes 0.1", "'study'", "docs/upgrading.md")


def test_a_table_of_another_version_s_schema_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "umap.parquet"
    set_stamp({"versions": {"keygenes": "0.0.9"}})
    older = schemas._schema(cell=schemas.TEXT, x=schemas.FLOAT, umap2=schemas.FLOAT)
    with monkeypatch.context() as patch:
        patch.setitem(schemas.TABLES, "umap", older)
        write_table(UMAP.rename(columns={"umap1": "x"}), path, "umap")
        assert len(read_table(path)) == len(UMAP)
    set_stamp(None)
    for columns in (None, ["cell"]):
        with pytest.raises(InputError) as error:
            read_table(path, columns)
        told = ("table 'umap' of keygenes 0.0.9", "(umap1, x)", f"those of keygenes {__version__}")
        assert_sentence(error, str(path), *told, "delete it and run again")
