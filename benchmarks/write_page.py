"""Runs every script of this folder and writes docs/benchmarks.md from what they print.

    make bench             # or: make bench QUICK=1

A script's last line is one JSON object (see timing.py). It is kept under results/benchmarks/ with
the machine, the versions and the command. The page is made from all that lie there: results of
another machine, copied into that folder, get a section of their own with --page-only.
"""

import argparse
import ast
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "workflow/scripts"))

from keygenes import __version__  # noqa: E402
from keygenes.core.files import read_json, write_json, write_text  # noqa: E402

ON_A_GPU = {"study_on_gpu", "training_on_gpu"}  # hours on a CPU
NO_CLAIM = {"timing", "sciplex_like", "sizing", "write_page"}  # scripts that compare nothing
PACKAGES = (
    *("anndata", "illico", "numba", "numpy", "pandas", "pyarrow"),
    *("scanpy", "scipy", "torch", "transformers"),
)
RESULT_KEYS = {"key", "value", "low", "high", "n", "unit", "target", "met"}
INTRODUCTION = """\
# Benchmarks

Made by `make bench`; nothing here is typed by hand. Candidates take turns in one process, and only
times of one round are divided by each other: a value is the median over n rounds, with the 10 % and
90 % quantiles beside it, or was measured once (n = 1). `a_over_b` is the time of a over the time of
b.
"""


def scripts(folder=REPO / "benchmarks"):
    """Return the scripts that claim something, by name."""
    return {p.stem: p for p in sorted(folder.glob("*.py")) if p.stem not in NO_CLAIM}


def runnable(names):
    """Return those of some scripts that this machine can run in a morning."""
    import torch  # seconds, which no other use of this file needs

    return [name for name in names if name not in ON_A_GPU or torch.cuda.is_available()]


def machine():
    """Return what the numbers were measured on; nothing that names it."""
    processor = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": cores,
        "memory_gib": round(memory / 2**30),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _gpu():
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions():
    """Return {package: version} of what the scripts use."""
    found = {"keygenes": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def parsed(text, name):
    """Return the object on the last line of what a script printed.

    Raises
    ------
    ValueError
        If it is not what `timing.emit` prints.
    """
    lines = text.strip().splitlines()
    found = json.loads(lines[-1]) if lines else None
    if not isinstance(found, dict) or set(found) != {"name", "results", "notes"}:
        raise ValueError("the last line is not an object with name, results and notes")
    if found["name"] != name:
        raise ValueError(f"the last line names {found['name']!r}")
    for line in found["results"]:
        if set(line) != RESULT_KEYS:
            raise ValueError(f"a result has the keys {sorted(line)}, not {sorted(RESULT_KEYS)}")
    return found


def run(path, flags, records):
    """Run a script and keep its results; return whether it ended well."""
    command = [str(path.relative_to(REPO)), *flags]
    record = {"command": " ".join(["python", *command])}
    device = machine()
    kept = records / f"{path.stem}.{'gpu' if device['gpu'] else 'cpu'}.json"
    kept.unlink(missing_ok=True)  # a script that fails leaves no older numbers on the page
    print(f"\n{record['command']}", flush=True)
    with subprocess.Popen(
        [sys.executable, *command], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)
    if process.returncode:
        print(f"{record['command']}: exit code {process.returncode}", file=sys.stderr)
        return False
    try:
        record |= parsed("".join(lines), path.stem)
    except ValueError as error:
        print(f"{record['command']}: {error}", file=sys.stderr)
        return False
    record |= {"machine": device, "versions": versions()}
    record["about"] = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    write_json(record, kept)
    return True


def number(value):
    """Return a number as it stands in the tables."""
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def row(line):
    """Return a result as a row of a table."""
    unit = {"": "", "x": ""}.get(line["unit"], f" {line['unit']}")
    between = "" if line["low"] is None else f"{number(line['low'])} to {number(line['high'])}"
    met = {None: "", True: "yes", False: "**no**"}[line["met"]]
    cells = [f"`{line['key']}`", number(line["value"]) + unit, between, str(line["n"])]
    return f"| {' | '.join([*cells, line['target'] or '', met])} |"


def sections(text):
    """Return {heading of a machine: {name of a script: its section}} of an earlier page."""
    found = {}
    for block in re.split(r"(?m)^## ", text)[1:]:
        heading, *parts = re.split(r"(?m)^### ", block)
        found[heading.rstrip()] = {part.splitlines()[0]: part.rstrip() for part in parts}
    return found


def section(record):
    """Return a script's section, from its name on."""
    heading, _, rest = record["about"].partition("\n\n")
    text = [part for part in rest.split("\n\n") if not part.startswith("    ")]
    head = ["| | value | 10 % to 90 % | n | target | met |", "|---|---|---|---|---|---|"]
    table = "\n".join([*head, *map(row, record["results"])])
    notes = "; ".join(f"{name}: {value}" for name, value in record["notes"].items())
    parts = [record["name"], heading, *text, f"    {record['command']}", table]
    return "\n\n".join([*parts, *([f"Measured with {notes}."] if notes else [])])


def page(records, before="", failed=()):
    """Return docs/benchmarks.md.

    Parameters
    ----------
    records : list of dict
        What `run` keeps: name, about, command, results, notes, machine and versions.
    before : str
        The page as it was: sections of scripts that were not run on such a machine stay.
    failed : collection of str
        Scripts whose sections do not.
    """
    found = sections(before)
    for record in records:
        device = record["machine"]
        title = f"{device['processor']}, {device['cores']} cores"
        if device["gpu"]:
            title = f"{device['gpu']}, with {title}"
        listed = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        memory = f"{device['system']}, {device['memory_gib']} GiB of memory"
        for heading, parts in found.items():
            if heading.splitlines()[0] == title:
                parts.pop(record["name"], None)
        heading = f"{title}\n\n{memory}. Versions: {listed}."
        found.setdefault(heading, {})[record["name"]] = section(record)
    blocks = [INTRODUCTION.rstrip()]
    for heading in sorted(
        found, key=lambda heading: (", with " in heading.splitlines()[0], heading)
    ):
        parts = {name: part for name, part in found[heading].items() if name not in failed}
        if parts:
            blocks.append(f"## {heading}")
            blocks += [f"### {parts[name]}" for name in sorted(parts)]
    return "\n\n".join(blocks) + "\n"


def main():
    """Run the scripts, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="passed on to every script")
    parser.add_argument("--repeats", type=int, help="passed on to every script")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these scripts alone")
    parser.add_argument("--page-only", action="store_true", help="run nothing")
    parser.add_argument("--records", type=Path, default=REPO / "results/benchmarks")
    parser.add_argument("--page", type=Path, default=REPO / "docs/benchmarks.md")
    options = parser.parse_args()
    flags = ["--quick"] * options.quick
    flags += ["--repeats", str(options.repeats)] if options.repeats else []
    chosen = scripts()
    wanted = options.only or runnable(chosen)
    if unknown := set(options.only or []) - set(chosen):
        parser.error(f"no script {', '.join(sorted(unknown))} among {', '.join(chosen)}")
    failed = []
    if not options.page_only:
        for name, path in chosen.items():
            if name in wanted and not run(path, flags, options.records):
                failed.append(name)
    found = [read_json(path) for path in sorted(options.records.glob("*.json"))]
    before = options.page.read_text(encoding="utf-8") if options.page.is_file() else ""
    write_text(page(found, before, failed), options.page)
    if failed:
        raise SystemExit(f"failed and not on the page: {', '.join(failed)}")


if __name__ == "__main__":
    main()
