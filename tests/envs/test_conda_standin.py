"""The stand-in for conda: what it asks pip for, and that it answers nothing it does not know."""

import json
import subprocess
import sys

import pytest
from conda_standin import HERE, requirements, uv_settings

ENV = """
channels: [conda-forge]
dependencies:
  - python =3.11
  - pytorch ==2.1
  - matplotlib-base ==3.2.1
  - pip
  - pip:
      - captum==0.9.0
"""


def write_env(folder, text):
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_packages_are_asked_for_by_their_names_on_pypi(tmp_path):
    asked, python = requirements(write_env(tmp_path, ENV))
    assert asked == ["torch==2.1", "matplotlib==3.2.1", "captum==0.9.0"]
    assert python == "3.11"


@pytest.mark.parametrize("loose", ["pytorch", "pytorch >=2.1", "pytorch =2.1"])
def test_a_package_without_an_exact_pin_is_refused(tmp_path, loose):
    file = write_env(tmp_path, ENV.replace("pytorch ==2.1", loose))
    with pytest.raises(SystemExit, match=f"found '{loose}', expected 'pytorch ==VERSION'"):
        requirements(file)


def test_uv_looks_where_pip_does():
    config = "global.find-links='/a /b'\n:env:.index-url='file:///simple'\nglobal.timeout='9'"
    assert uv_settings(config) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/a,/b",
        "UV_DEFAULT_INDEX": "file:///simple",
    }


def call(*args):
    command = [sys.executable, HERE / "conda_standin.py", *args]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_answers_snakemakes_questions_and_no_others():
    assert json.loads(call("info", "--json").stdout)["conda_prefix"] == str(HERE / "standin")
    unknown = call("install", "numpy")
    assert unknown.returncode == 1
    assert "no answer to `conda install numpy`" in unknown.stderr


def test_an_environment_of_another_python_is_refused(tmp_path):
    file = write_env(tmp_path, ENV.replace("3.11", "3.99"))
    tail = ["--quiet", "--no-default-packages", "--file", file, "--prefix", tmp_path / "env"]
    refused = call("env", "create", *tail)
    assert refused.returncode == 1
    assert "found python =3.99" in refused.stderr
    assert not (tmp_path / "env").exists()
