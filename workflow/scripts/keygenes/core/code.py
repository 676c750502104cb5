"""The code a rule runs: its digest, so that editing a module reruns the rules that use it, and
the packages behind it.

Snakemake notices an edited script, but not an edited module behind it. Imports are read from
the source (nothing is executed), followed through the package, and hashed.
"""

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE_ROOT.parent
DATA = (".json", ".html", ".css", ".js", ".md")
DISTRIBUTIONS = {  # of modules named otherwise
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "vl_convert": "vl-convert-python",
    "yaml": "pyyaml",
}


def _module_file(name: str, scripts: Path) -> Path | None:
    base = scripts.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@functools.cache
def _imported_files(path: Path, scripts: Path) -> frozenset[Path]:
    names = _imported_names(path)
    names |= {
        ".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 1)
    }
    ours = (name for name in names if name.split(".")[0] == "keygenes")
    return frozenset(file for name in ours if (file := _module_file(name, scripts)))


def modules_of(script: str, scripts: Path = SCRIPTS) -> list[Path]:
    """Return the sorted files of the package that a script imports, directly or not.

    Parameters
    ----------
    script : str
        Name of a script in `scripts`, without ``.py``.
    """
    seen, queue = set(), [scripts / f"{script}.py"]
    while queue:
        for file in _imported_files(queue.pop(), scripts):
            if file not in seen:
                seen.add(file)
                queue.append(file)
    return sorted(seen)


def with_data(files: Iterable[Path]) -> list[Path]:
    """Return modules and the data that lie beside them under the same name."""
    beside = {data for file in files for kind in DATA if (data := file.with_suffix(kind)).is_file()}
    return sorted({*files, *beside})


def code_digest(script: str, scripts: Path = SCRIPTS) -> str:
    """Return a sha256 over the names and bytes of every module behind `script`, named for it.

    What lies beside a module under its name counts as part of it.

    Where it changes, Snakemake shows the old and the new one as the reason to run a rule again.
    """
    digest = hashlib.sha256()
    for file in with_data(modules_of(script, scripts)):
        digest.update(str(file.relative_to(scripts)).encode())
        digest.update(file.read_bytes())
    return f"code of {script}: {digest.hexdigest()}"


def script_digests(scripts: Path = SCRIPTS) -> dict[str, str]:
    """Return {script: sha256} of the bytes of every script and of the modules behind it."""
    found = {}
    for path in sorted(scripts.glob("*.py")):
        digest = hashlib.sha256(path.read_bytes())
        digest.update(code_digest(path.stem, scripts).encode())
        found[path.stem] = digest.hexdigest()
    return found


def rules_digest(workflow: Path = SCRIPTS.parent) -> str:
    """Return a sha256 of a workflow's Snakefile and rule files."""
    digest = hashlib.sha256()
    for path in [workflow / "Snakefile", *sorted((workflow / "rules").glob("*.smk"))]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def packages_of(files: Iterable[str | Path]) -> list[str]:
    """Return the sorted distributions that source files import, at their top or in a function.

    What comes with Python and the package itself are left out.
    """
    names = {name.split(".")[0] for file in files for name in _imported_names(Path(file))}
    names -= {*sys.stdlib_module_names, PACKAGE_ROOT.name}
    return sorted(DISTRIBUTIONS.get(name, name) for name in names)
