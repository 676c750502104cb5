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
BY_NAME = {"draw_figures": "keygenes/report/figures_*.py"}  # modules that a script loads by name
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


def modules_of(script: str, loaded: str | None = None, scripts: Path = SCRIPTS) -> list[Path]:
    """Return the sorted files of the package that a script imports, directly or not.

    Parameters
    ----------
    script : str
        Name of a script in `scripts`, without ``.py``.
    loaded : str, optional
        Of a script of `BY_NAME`, the module that it loads, which counts with all behind it.
    """
    queue = [scripts / f"{script}.py"]
    queue += [_loaded_file(script, loaded, scripts)] if loaded else []
    seen = set(queue[1:])
    while queue:
        for file in _imported_files(queue.pop(), scripts):
            if file not in seen:
                seen.add(file)
                queue.append(file)
    return sorted(seen)


def modules_by_name(script: str, scripts: Path = SCRIPTS) -> list[str]:
    """Return the sorted names of the modules that a script may load by name."""
    return sorted(file.stem for file in scripts.glob(BY_NAME[script])) if script in BY_NAME else []


def _loaded_file(script: str, loaded: str, scripts: Path) -> Path:
    if loaded not in modules_by_name(script, scripts):
        raise ValueError(f"{script} loads no module {loaded!r}: {BY_NAME.get(script)}")
    return (scripts / BY_NAME[script]).with_name(f"{loaded}.py")


def with_data(files: Iterable[Path]) -> list[Path]:
    """Return modules and the data that lie beside them under the same name."""
    beside = {data for file in files for kind in DATA if (data := file.with_suffix(kind)).is_file()}
    return sorted({*files, *beside})


def code_digest(script: str, loaded: str | None = None, scripts: Path = SCRIPTS) -> str:
    """Return a sha256 over the names and bytes of every module behind `script`, named for it.

    What lies beside a module under its name counts as part of it. With `loaded`, the module that
    the script loads by name, it is named for that one.

    Where it changes, Snakemake shows the old and the new one as the reason to run a rule again.
    """
    digest = hashlib.sha256()
    for file in with_data(modules_of(script, loaded, scripts)):
        digest.update(str(file.relative_to(scripts)).encode())
        digest.update(file.read_bytes())
    return f"code of {loaded or script}: {digest.hexdigest()}"


def script_digests(scripts: Path = SCRIPTS) -> dict[str, str]:
    """Return {script: sha256} of the bytes of every script and of the modules behind it.

    Of a script that loads modules by name there is one of each of these, under the module's name.
    """
    found = {}
    for path in sorted(scripts.glob("*.py")):
        names: list[str | None] = [*modules_by_name(path.stem, scripts)]
        for loaded in names or [None]:
            digest = hashlib.sha256(path.read_bytes())
            digest.update(code_digest(path.stem, loaded, scripts).encode())
            found[loaded or path.stem] = digest.hexdigest()
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
