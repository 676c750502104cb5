"""Each environment names what its rules import, no more and no less, at the lock's versions."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from keygenes.core.code import SCRIPTS, modules_of

REPO = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
IMPORT_NAMES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
# what a table needs to be written is imported by pandas, not by us
BEHIND = {"pyarrow"}


def lock():
    lines = (REPO / "requirements.lock").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pins}


def env_pins(path):
    pins = {}
    for line in yaml.safe_load(path.read_text())["dependencies"]:
        for spec in line["pip"] if isinstance(line, dict) else [line]:
            name, _, version = re.sub(r"\s", "", spec).partition("==")
            pins[CONDA_NAMES.get(name, name)] = version
    return {name: version for name, version in pins.items() if name not in ("python", "pip")}


def rules():
    """Yield (script, env) of every rule."""
    for file in sorted((REPO / "workflow/rules").glob("*.smk")):
        for block in re.split(r"(?m)^rule ", file.read_text())[1:]:
            script = re.search(r"scripts/(\w+)\.py", block)
            yield script[1], re.search(r"envs/(\w+)\.yaml", block)[1]


def imported(script):
    """Return the distributions that a script and its modules import at their top."""
    names = set()
    for file in [SCRIPTS / f"{script}.py", *modules_of(script)]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.split(".")[0])
    ours = names - set(sys.stdlib_module_names) - {"keygenes"}
    return {IMPORT_NAMES.get(name, name) for name in ours}


@pytest.mark.parametrize("env", sorted(p.stem for p in (REPO / "envs").glob("*.yaml")))
def test_an_environment_holds_what_its_scripts_import(env):
    needed = set().union(*(imported(s) for s, e in rules() if e == env), set())
    pins = env_pins(REPO / f"envs/{env}.yaml")
    assert needed, "no rule uses it"
    assert needed - set(pins) == set()
    assert set(pins) - needed - BEHIND == set()


@pytest.mark.parametrize("env", sorted(p.stem for p in (REPO / "envs").glob("*.yaml")))
def test_pins_are_the_locks(env):
    locked = lock()
    pins = env_pins(REPO / f"envs/{env}.yaml")
    assert {name: locked[name] for name in pins} == pins
