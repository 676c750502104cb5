"""What env files and lock pin, and what the rules behind them import."""

import ast
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from conda_standin import requirements

from keygenes.core.code import SCRIPTS, modules_by_name, modules_of

REPOSITORY = Path(__file__).resolve().parents[2]
ENVS = sorted(file.stem for file in (REPOSITORY / "envs").glob("*.yaml"))
STANDIN = REPOSITORY / "tests/envs/standin/bin"
DISTRIBUTIONS = {  # of other names
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "vl_convert": "vl-convert-python",
    "yaml": "pyyaml",
}
WITH_OTHERS = {"triton"}  # with CUDA builds of torch alone, and used where it is there
# Snakemake itself reads the rules, so that inherited ones count, wherever they are written.
LIST_RULES = """
import json, pathlib
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ResourceSettings

with SnakemakeApi() as api:
    workflow = api.workflow(ResourceSettings(), snakefile=pathlib.Path("Snakefile"))._workflow
    rules = [
        {"name": r.name, "target": r.norun, "script": r.script, "env": r.conda_env}
        for r in workflow.rules
    ]
print(json.dumps(rules))
"""


def conda_path(python):
    """Return a PATH on which conda is the stand-in for it, run by a Python."""
    return os.pathsep.join([str(STANDIN), str(Path(python).parent), os.environ["PATH"]])


@functools.cache
def rules():
    """Return {name, target (it runs nothing), script, env} of every rule of the workflow."""
    command = [sys.executable, "-c", LIST_RULES]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return json.loads(listed.stdout)


def scripts_of(env):
    """Return the names of the scripts that run in an environment."""
    return sorted(
        {Path(r["script"]).stem for r in rules() if r["env"] and Path(r["env"]).stem == env}
    )


def sources(script):
    """Return the files of a script and of the modules behind it, those loaded by name as well."""
    loaded = modules_by_name(script) or [None]
    behind = {file for name in loaded for file in modules_of(script, name)}
    return [SCRIPTS / f"{script}.py", *sorted(behind)]


def imports(script):
    """Return the packages that a script and its modules import anywhere, as they are imported."""
    names = set()
    for file in sources(script):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    packages = {name.split(".")[0] for name in names}
    return packages - set(sys.stdlib_module_names) - {"keygenes"}


def needed(env):
    """Return the distributions that an environment's scripts import."""
    packages = set().union(*(imports(script) for script in scripts_of(env)))
    return {DISTRIBUTIONS.get(package, package) for package in packages - WITH_OTHERS}


def pins(env):
    """Return {distribution: version} of an env file, and its version of Python."""
    listed, python = requirements(REPOSITORY / f"envs/{env}.yaml")
    return dict(spec.split("==") for spec in listed), python


def locked():
    """Return {distribution: version} of the lock, and its version of Python."""
    first, *lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    versions = (line.split("==") for line in lines)
    python = re.search(r"Python ([\d.]+\d)", first)[1]
    return {name.lower().replace("_", "-"): version for name, version in versions}, python
