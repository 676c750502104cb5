"""Digests of the code a rule runs, so that editing a module reruns the rules that use it.

Snakemake notices an edited script, but not an edited module behind it. Imports are read from
the source (nothing is executed), followed through the package, and hashed.
"""

import ast
import functools
import hashlib
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE_ROOT.parent


def _module_file(name, scripts):
    base = scripts.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _imported_files(path, scripts):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    names |= {
        ".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 1)
    }
    ours = (name for name in names if name.split(".")[0] == "keygenes")
    return frozenset(file for name in ours if (file := _module_file(name, scripts)))


def modules_of(script, scripts=SCRIPTS):
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


def code_digest(script, scripts=SCRIPTS):
    """Return a sha256 over the names and bytes of every module behind `script`."""
    digest = hashlib.sha256()
    for file in modules_of(script, scripts):
        digest.update(str(file.relative_to(scripts)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
