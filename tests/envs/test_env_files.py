"""Each environment names what its rules import, no more and no less, at the lock's versions."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from env_files import (
    DISTRIBUTIONS,
    ENVS,
    REPOSITORY,
    SCRIPTS,
    locked,
    needed,
    pins,
    rules,
    scripts_of,
)

from keygenes.core.code import BY_NAME

CHANNELS = ["conda-forge", "bioconda", "nodefaults"]
HIDDEN_IMPORT = r"import_module|__import__|find_spec|load_source|exec\("
HEAD_IMPORTS = """
import importlib, json, pathlib, re, sys
line = re.compile(r"^ *from (keygenes[.\\w]*) import (.+)", re.MULTILINE)
found = set()
for path in pathlib.Path("workflow/rules").glob("*.smk"):
    for module, names in line.findall(path.read_text(encoding="utf-8")):
        found |= {module, *(f"{module}.{name}" for name in re.findall(r"\\w+", names))}
before = set(sys.modules)
for name in sorted(found):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not error.name.startswith("keygenes"):  # a function, not a module
            raise
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def test_every_rule_but_targets_runs_a_script_in_an_environment():
    for rule in rules():
        if rule["target"]:
            assert not rule["env"], rule
        else:
            assert rule["script"], f"{rule['name']} runs something else than a script"
            assert re.fullmatch(r"\.\./\.\./envs/\w+\.yaml", rule["env"] or ""), rule
    used = {re.search(r"envs/(\w+)", rule["env"])[1] for rule in rules() if rule["env"]}
    assert used == set(ENVS)


def test_every_script_is_run_by_some_rule():
    run = {script for env in ENVS for script in scripts_of(env)}
    assert run == {file.stem for file in SCRIPTS.glob("*.py")}


@pytest.mark.parametrize("env", ENVS)
def test_an_environment_holds_what_its_scripts_import(env):
    pinned = set(pins(env)[0])
    assert needed(env) - pinned == set(), "imported, not in the environment"
    assert pinned - needed(env) == set(), "in the environment, not imported"


def test_no_import_is_hidden_from_this_test():
    hidden = {
        file.stem
        for file in SCRIPTS.rglob("*.py")
        if re.search(HIDDEN_IMPORT, file.read_text(encoding="utf-8"))
    }
    assert hidden == set(BY_NAME), "what these load is known"


@pytest.mark.parametrize("env", ENVS)
def test_pins_are_the_locks(env):
    (pinned, python), (versions, locked_python) = pins(env), locked()
    assert pinned == {name: versions.get(name) for name in pinned}
    assert python == locked_python


@pytest.mark.parametrize("env", ENVS)
def test_channels_are_the_same_everywhere(env):
    content = yaml.safe_load((REPOSITORY / f"envs/{env}.yaml").read_text(encoding="utf-8"))
    assert content["channels"] == CHANNELS
    assert set(content) == {"channels", "dependencies"}


def test_the_lock_has_what_a_study_on_slurm_needs():
    assert {"snakemake", "snakemake-executor-plugin-slurm"} <= set(locked()[0])


def test_where_the_rules_are_read_there_need_be_nothing_but_snakemake():
    command = [sys.executable, "-c", HEAD_IMPORTS]
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout)) - set(sys.stdlib_module_names)
    assert {"keygenes", "yaml", "jsonschema"} <= loaded
    heavy = {name for env in ENVS for name in needed(env)} - {"jsonschema", "pyyaml", "jinja2"}
    assert not {DISTRIBUTIONS.get(name, name) for name in loaded} & heavy
