"""Processor time that a job takes before its step begins: the imports of every rule's script.

    .venv/bin/python benchmarks/startup.py

Each script of workflow/scripts is read, and its imports alone are run in a fresh interpreter, that
of figures with the module that each of its rules draws with; what is reported is user and system
time of that process, so that other work on the machine matters little. Of jobs that run an encoder,
the time of `import torch` in the same round is taken away: no job can do without it. Rules whose
step is one library's (scanpy, scikit-learn, matplotlib) cannot start before it is there.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

from timing import arguments, emit, result, spread

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow/scripts"
sys.path.insert(0, str(SCRIPTS))

from keygenes.core.figures import SHEETS  # noqa: E402

REPORT = "; import resource, sys; u = resource.getrusage(resource.RUSAGE_SELF)"
REPORT += "; print(u.ru_utime + u.ru_stime, 'torch' in sys.modules)"
TARGET = "<= 1.5"


def imports(path):
    """Return the import statements of a script, as one line of code."""
    found = ast.parse(path.read_text(encoding="utf-8")).body
    return "; ".join(ast.unparse(n) for n in found if isinstance(n, ast.Import | ast.ImportFrom))


def cpu_seconds(code):
    """Return the processor time of an interpreter that runs some code, and whether torch came."""
    run = subprocess.run(
        [sys.executable, "-c", code + REPORT],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, torch = run.stdout.split()
    return float(seconds), torch == "True"


def main():
    """Measure every script in turns, and print a line for each."""
    options = arguments(__doc__)
    codes = {path.stem: imports(path) for path in sorted(SCRIPTS.glob("*.py"))}
    drawing = codes.pop("draw_figures")
    for sheet in SHEETS:
        codes[sheet.name] = f"{drawing}; import keygenes.report.{sheet.module}"
    codes["torch"] = "import torch"
    seconds, encoders = {name: [] for name in codes}, set()
    for _ in range(options.repeats):
        for name, code in codes.items():
            taken, torch = cpu_seconds(code)
            seconds[name].append(taken)
            if torch and name != "torch":
                encoders.add(name)
    lines = [result("torch", spread(seconds.pop("torch")), unit="s")]
    base = lines[0]["value"]
    for name, taken in sorted(seconds.items(), key=lambda item: (item[0] in encoders, item[0])):
        if name in encoders:
            beyond = spread([s - base for s in taken])
            lines.append(result(f"{name}_beyond_torch", beyond, TARGET, unit="s"))
        else:
            lines.append(result(name, spread(taken), TARGET, unit="s"))
    emit("startup", lines, {"scripts": len(seconds), "of them with an encoder": len(encoders)})


if __name__ == "__main__":
    main()
