"""Checkouts, Snakemake as a user starts it, and edited configs."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import reduce
from pathlib import Path
from types import SimpleNamespace

import yaml

from keygenes.core.config import read_yaml
from keygenes.core.defaults import lay_under
from keygenes.core.files import checksum

REPOSITORY = Path(__file__).resolve().parents[1]
TIMED = ("logs/", "benchmarks/", "ro-crate-metadata.json", "report/data/run_times.js")
MICRO = ("config/demo_thesis.yaml", "tests/config/micro.yaml")  # configs of a study of a minute

MODULE = """
module keygenes:
    snakefile: "{}"
    config: {}

use rule * from keygenes as keygenes_*
"""  # as another workflow takes this one in
ANOTHER = """
configfile: "config/config.yaml"

rule count:
    input: "results/{}/report/summary.txt"
    output: "lines.txt"
    shell: "wc -l < {{input}} > {{output}}"
"""


def copy_checkout(folder):
    """Copy what git tracks, or would track, into `folder`; return it.

    Files that are there already and equal stay as they are. Beside the folder a link leads to the
    test data, where there is any: the configs of the tests look for it there.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if not source.is_file():
            continue
        if not (target.is_file() and target.read_bytes() == source.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    data = Path(os.environ.get("KEYGENES_TEST_DATA") or REPOSITORY.parent / "shared")
    link = folder.parent / "shared"
    if data.is_dir() and not link.exists():
        link.symlink_to(data, target_is_directory=True)
    return folder


def snakemake_command(*args, python=sys.executable):
    """Return the command of a Snakemake run in a Python."""
    return [str(python), "-m", "snakemake", *map(str, args)]


def run_snakemake(folder, *args, timeout=300, python=sys.executable, **environment):
    """Run Snakemake in a checkout; return returncode and text (both streams, as a user sees)."""
    run = subprocess.run(
        snakemake_command(*args, python=python),
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout,
    )
    return SimpleNamespace(returncode=run.returncode, text=run.stdout)


def listed_jobs(text):
    """Return the jobs of a dry run as (rule, wildcards dict), the targets left out."""
    jobs = []
    for block in re.split(r"^(?:local)?rule (?=\w+:$)", text, flags=re.MULTILINE)[1:]:
        rule = block[: block.index(":")]
        found = re.search(r"^    wildcards: (.+)$", block, re.MULTILINE)
        pairs = found.group(1).split(", ") if found else []
        if rule not in ("all", "de_only", "train_only", "gene_classes_only"):
            jobs.append((rule, dict(pair.split("=", 1) for pair in pairs)))
    return jobs


def dry_run(folder, *args):
    """Return the jobs that a dry run lists, as (rule, wildcards dict)."""
    run = run_snakemake(folder, "-n", *args)
    assert run.returncode == 0, run.text
    return listed_jobs(run.text)


def slurm_jobs(folder, *args):
    """Return how many jobs of each group, or rule without one, a run would hand to Slurm."""
    run = run_snakemake(folder, "-n", "--workflow-profile", "profiles/slurm", *args)
    assert run.returncode == 0, run.text
    groups = re.findall(r"^\[.+\] Group job (\w+) ", run.text, re.MULTILINE)
    alone = re.findall(r"^rule (\w+):$", run.text, re.MULTILINE)  # those in a group are indented
    return Counter(name for name in [*groups, *alone] if not name.startswith(("all", "download_")))


def inputs_of(folder, *args):
    """Return what the jobs of a dry run read: {(rule, task, regime, run): set of paths}."""
    run = run_snakemake(folder, "-n", *args)
    assert run.returncode == 0, run.text
    found = {}
    for block in re.split(r"^(?:local)?rule (?=\w+:$)", run.text, flags=re.MULTILINE)[1:]:
        ((_, wildcards),) = listed_jobs(f"rule {block}")[:1] or [(None, {})]
        paths = re.search(r"^    input: (.+)$", block, re.MULTILINE)
        key = (block[: block.index(":")], *(wildcards.get(k) for k in ("task", "regime", "run")))
        found[key] = set(paths.group(1).split(", ")) if paths else set()
    return found


def module_user(folder, snakefile, config, more=""):
    """Write another workflow, with one rule of its own, that passes a config to this one."""
    (folder / "config").mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"samples": ["a"], "keygenes": config}, sort_keys=False)
    (folder / "config/config.yaml").write_text(text, encoding="utf-8")
    module = MODULE.format(snakefile, 'config["keygenes"]')
    text = f"{ANOTHER.format(config['study'])}{module}\n{more}"
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    return folder


def finished_study(folder, *configs):
    """Return a copy of the checkout in `folder` in which a study has run to its end."""
    copy_checkout(folder)
    args = ["--cores", 2, "--quiet", "rules", "--configfile", *configs]
    run = run_snakemake(folder, *args, timeout=3600)
    assert run.returncode == 0, run.text[-5000:]
    return folder


def kept_study(name, tmp_path_factory):
    """Return a checkout in which the study of config/{name}.yaml has run to its end.

    It is kept between two runs of the tests in the folder KEYGENES_DEMO_CHECKOUT, if that is set:
    then only what an edit concerns is computed again.
    """
    kept = os.environ.get("KEYGENES_DEMO_CHECKOUT")
    parent = Path(kept) if kept else tmp_path_factory.mktemp(name)
    return finished_study(parent / "main", f"config/{name}.yaml")


def promised_bytes(results):
    """Return {path: sha256} of what the same run makes with the same bytes (docs/design.md).

    Logs, benchmarks and the crate, which tell when it ran, are left out.
    """
    files = (path for path in sorted(results.rglob("*")) if path.is_file())
    named = {str(path.relative_to(results)): path for path in files}
    return {name: checksum(path) for name, path in named.items() if not name.startswith(TIMED)}


def laid_over(lower, config):
    """Return a config with another one, of which it may lack keys, under it."""
    whole = copy.deepcopy(config)
    lay_under(whole, lower)
    return whole


def whole_config(*paths):
    """Return configs of the repository, each laid over the one before, config.yaml the lowest."""
    return reduce(laid_over, (read_yaml(REPOSITORY / p) for p in ("config/config.yaml", *paths)))


def edited_config(path, changes, base=REPOSITORY / "config/demo_thesis.yaml"):
    """Write a config with every key, some of them changed, to `path`; return the path.

    Parameters
    ----------
    path : path-like
    changes : dict
        {'section.key': value}; ``tasks.1.classes`` goes into lists.
    base : path-like
        The config that is changed.
    """
    config = whole_config(base)
    for key, value in changes.items():
        *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
        place = config
        for parent in parents:
            place = place[parent]
        place[last] = value
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path
