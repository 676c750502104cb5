"""A stand-in for conda, not conda: answers what Snakemake asks, builds environments from PyPI.

`conda env create` makes a virtual environment of the packages that an env file names, at its pins,
and of what these require on PyPI, at the lock's versions, so that runs can be compared. A run in
such environments shows that each file names what its rules import. It shows nothing about
conda-forge: whether it has these versions, and together.

Packages come from where pip is told to look; uv installs them where there is one, else pip.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
PYPI_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
UV_SETTINGS = {  # uv does not read what pip is told
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def requirements(env_file):
    """Return what pip is asked for in place of a file's packages, and the version of Python."""
    listed = yaml.safe_load(Path(env_file).read_text(encoding="utf-8"))["dependencies"]
    specs = [s for entry in listed for s in (entry["pip"] if isinstance(entry, dict) else [entry])]
    pins = {}
    for spec in specs:
        name, sign, version = re.match(r"([\w.-]+) *(=*) *(.*)", spec).groups()
        if name != "pip" and sign != ("=" if name == "python" else "=="):
            sys.exit(f"{env_file}: found '{spec}', expected '{name} ==VERSION'; pin it exactly")
        pins[PYPI_NAMES.get(name, name)] = version
    python = pins.pop("python")
    return [f"{name}=={version}" for name, version in pins.items() if name != "pip"], python


def uv_settings(pip_config):
    """Return the environment in which uv looks for packages where pip does.

    Parameters
    ----------
    pip_config : str
        What ``pip config list`` prints.
    """
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip: the best version of any index
    for line in pip_config.splitlines():
        key, _, value = line.partition("=")
        name = UV_SETTINGS.get(key.rpartition(".")[2])
        if name:
            separator = "," if name == "UV_FIND_LINKS" else " "
            settings[name] = separator.join(ast.literal_eval(value).split())
    return settings


def create(env_file, prefix):
    """Build an env file's environment in the folder `prefix`."""
    needed, python = requirements(env_file)
    here = "{}.{}".format(*sys.version_info)
    if python != here:
        sys.exit(f"{env_file}: found python ={python}, expected ={here}; run this with the former")
    venv.create(prefix, symlinks=True)
    inside = f"{prefix}/bin/python"
    pip = [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        config = subprocess.run(
            [*pip, "config", "list"], capture_output=True, text=True, check=True
        )
        install, settings = [uv, "pip", "install", "--python", inside], uv_settings(config.stdout)
    else:
        install, settings = [*pip, "--python", inside, "install", "--no-compile"], {}
    lock = HERE.parents[1] / "requirements.lock"  # of what the pinned packages require in turn
    command = [*install, "--quiet", "--constraint", lock, *needed]
    done = subprocess.run(command, env={**os.environ, **settings})
    if done.returncode:
        sys.exit(f"{env_file}: {install[0]} could not install {' '.join(needed)} (see above)")
    packages = next(Path(prefix).glob("lib/python*/site-packages"))
    shutil.copy(HERE / "witness.py", packages)
    (packages / "witness.pth").write_text("import witness\n", encoding="utf-8")


def main(args):
    """Answer one call of conda."""
    match args:
        case ["--version"]:
            print("conda 24.7.1")  # the oldest that Snakemake takes
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(HERE / "standin"), "platform": "linux-64"}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", to]:
            create(file, to)
        case ["clean", *_]:
            pass  # there are no packages of conda's
        case _:
            sys.exit(f"This stand-in for conda has no answer to `conda {' '.join(args)}`")


if __name__ == "__main__":
    main(sys.argv[1:])
