import ast
import json
import subprocess
import sys

import pytest

from keygenes.core import code
from keygenes.core.code import SCRIPTS, code_digest, modules_of, packages_of, rules_digest

FILES = {
    "keygenes/__init__.py": "",
    "keygenes/core/__init__.py": "",
    "keygenes/core/deep.py": "X = 1\n",
    "keygenes/core/other.py": "Y = 1\n",
    "keygenes/tokens/__init__.py": "",
    "keygenes/tokens/middle.py": "import numpy\nfrom keygenes.core.deep import X\n",
    "tokenize_cells.py": "from keygenes.tokens import middle\n",
    "lone.py": "import json\n",
}


@pytest.fixture
def scripts(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digest(scripts, name="tokenize_cells"):
    code._imported_files.cache_clear()  # a new process each time, as with Snakemake
    return code_digest(name, scripts=scripts)


def edit(path, text):
    before = path.read_text()
    path.write_text(before + text)
    return before


def test_imports_are_followed_with_the_packages_on_the_way(scripts):
    names = [
        str(path.relative_to(scripts)) for path in modules_of("tokenize_cells", scripts=scripts)
    ]
    assert names == [
        "keygenes/__init__.py",
        "keygenes/core/__init__.py",
        "keygenes/core/deep.py",
        "keygenes/tokens/__init__.py",
        "keygenes/tokens/middle.py",
    ]
    assert modules_of("lone", scripts=scripts) == []


@pytest.mark.parametrize("module", ["core/deep.py", "core/__init__.py", "tokens/middle.py"])
def test_the_digest_changes_with_a_module_behind_the_script(scripts, module):
    before = digest(scripts)
    text = edit(scripts / "keygenes" / module, "# changed\n")
    assert digest(scripts) != before
    (scripts / "keygenes" / module).write_text(text)
    assert digest(scripts) == before


@pytest.mark.parametrize("path", ["keygenes/core/other.py", "tokenize_cells.py", "lone.py"])
def test_the_digest_does_not_change_with_anything_else(scripts, path):
    before = digest(scripts)  # the script itself is watched by Snakemake
    edit(scripts / path, "# changed\n")
    assert digest(scripts) == before


def test_the_digest_changes_with_a_new_import_and_with_a_moved_line(scripts):
    before = digest(scripts)
    edit(scripts / "keygenes/core/deep.py", "import keygenes.core.other\n")
    after = digest(scripts)
    assert after != before
    edit(scripts / "keygenes/core/other.py", "# changed\n")
    assert digest(scripts) != after


def test_the_digest_does_not_depend_on_where_the_repository_lies(scripts, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, text in FILES.items():
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text(text)
    assert digest(scripts) == digest(elsewhere)


IMPORT_EACH = """
import ast, json, sys
sys.path.insert(0, sys.argv[1])
loaded = {}
for path in sys.argv[2:]:
    for name in [n for n in sys.modules if n.split(".")[0] == "keygenes"]:
        del sys.modules[name]
    body = ast.parse(open(path, encoding="utf-8").read()).body
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([node], []), path, "exec"), {})
    ours = [m for n, m in sys.modules.items() if n.split(".")[0] == "keygenes"]
    loaded[path] = sorted(m.__file__ for m in ours)
print(json.dumps(loaded))
"""


@pytest.mark.slow
def test_the_list_of_modules_is_complete_for_every_script():
    paths = sorted(SCRIPTS.glob("*.py"))
    assert len(paths) > 15
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, str(SCRIPTS), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(result.stdout.splitlines()[-1])
    code._imported_files.cache_clear()
    # compiled only where a config or a GPU asks for it, so imported inside a function
    late = {str(SCRIPTS / f"keygenes/attention/{name}.py") for name in ("pair_norms", "kernels")}
    wrong = {
        path.name: {"read": found, "imported": loaded[str(path)]}
        for path in paths
        if (found := [str(file) for file in modules_of(path.stem) if str(file) not in late])
        != loaded[str(path)]
    }
    assert late <= set(map(str, modules_of("extract_attention")))
    assert not wrong


def test_scripts_import_only_at_the_top_so_that_the_list_above_is_all_there_is():
    for path in SCRIPTS.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        assert all(node in tree.body for node in imports), path.name


ORDER = ["core", "inputs", "cells", "expression", "tokens", "models", "attention", "evidence"]
ORDER.append("report")
PACKAGE = SCRIPTS / "keygenes"


def room_of(path):
    return path.relative_to(PACKAGE).parts[0]


def test_every_module_is_in_a_room():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} == {*ORDER, "__init__.py"}
    assert not code._imported_files(PACKAGE / "__init__.py", SCRIPTS)


def test_a_room_imports_only_from_rooms_to_its_left():
    for path in PACKAGE.glob("*/**/*.py"):
        for file in code._imported_files(path, SCRIPTS) - {PACKAGE / "__init__.py"}:
            room, other = room_of(path), room_of(file)
            assert ORDER.index(other) <= ORDER.index(room), f"{path} imports {file}"
            assert {room, other} != {"expression", "tokens"}, f"{path} imports {file}"


def test_packages_are_those_that_files_import_by_their_distributions_names(tmp_path):
    (tmp_path / "a.py").write_text(
        "import json\nimport numpy.linalg\nfrom keygenes.core import code\n"
    )
    (tmp_path / "b.py").write_text("def f():\n    from sklearn.svm import SVC\n    return SVC\n")
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    assert packages_of(files) == ["numpy", "scikit-learn"]


def test_scripts_of_a_folder_are_told_apart_and_follow_their_modules(scripts):
    code._imported_files.cache_clear()
    before = code.script_digests(scripts)
    assert list(before) == ["lone", "tokenize_cells"]
    edit(scripts / "keygenes/core/deep.py", "# changed\n")
    code._imported_files.cache_clear()
    after = code.script_digests(scripts)
    assert after["lone"] == before["lone"]
    assert after["tokenize_cells"] != before["tokenize_cells"]
    edit(scripts / "lone.py", "# changed\n")
    code._imported_files.cache_clear()
    assert code.script_digests(scripts)["lone"] != before["lone"]


BY_NAME = {
    "draw_figures.py": "from keygenes.core import other\n",
    "keygenes/report/__init__.py": "",
    "keygenes/report/figures_a.py": "import numpy\nfrom keygenes.core.deep import X\n",
    "keygenes/report/figures_b.py": "",
}


@pytest.fixture
def drawing(scripts):
    for name, text in BY_NAME.items():
        (scripts / name).parent.mkdir(exist_ok=True)
        (scripts / name).write_text(text)
    return scripts


def drawing_digests(scripts):
    code._imported_files.cache_clear()
    return {name: code_digest("draw_figures", name, scripts) for name in ("figures_a", "figures_b")}


def test_a_module_loaded_by_name_counts_with_what_is_behind_it_and_no_other_does(drawing):
    assert code.modules_by_name("draw_figures", drawing) == ["figures_a", "figures_b"]
    files = modules_of("draw_figures", "figures_a", drawing)
    names = {str(path.relative_to(drawing / "keygenes")) for path in files}
    assert {"core/other.py", "core/deep.py", "report/figures_a.py"} <= names
    assert "report/figures_b.py" not in names
    before = drawing_digests(drawing)
    assert before["figures_a"].startswith("code of figures_a: ")
    for path, changed in (
        ("core/deep.py", {"figures_a"}),
        ("report/figures_b.py", {"figures_b"}),
        ("core/other.py", {"figures_a", "figures_b"}),
    ):
        text = edit(drawing / "keygenes" / path, "# changed\n")
        after = drawing_digests(drawing)
        assert {name for name in after if after[name] != before[name]} == changed, path
        (drawing / "keygenes" / path).write_text(text)


@pytest.mark.parametrize("name", ["deep", "figures_c", "../core/deep"])
def test_a_module_that_no_script_loads_by_name_is_an_error(drawing, name):
    with pytest.raises(ValueError, match=name):
        code_digest("draw_figures", name, drawing)


def test_scripts_that_load_modules_have_a_digest_of_each(drawing):
    code._imported_files.cache_clear()
    before = code.script_digests(drawing)
    assert set(before) == {"figures_a", "figures_b", "lone", "tokenize_cells"}
    edit(drawing / "draw_figures.py", "# changed\n")
    edit(drawing / "keygenes/report/figures_a.py", "# changed\n")
    code._imported_files.cache_clear()
    after = code.script_digests(drawing)
    assert {n for n in after if after[n] != before[n]} == {"figures_a", "figures_b"}


def test_rules_of_a_workflow_have_a_digest(tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (tmp_path / "Snakefile").write_text("include: 'rules/a.smk'\n")
    (rules / "a.smk").write_text("X = 1\n")
    seen = [rules_digest(tmp_path)]
    edit(rules / "a.smk", "Y = 2\n")
    seen.append(rules_digest(tmp_path))
    (rules / "a.smk").rename(rules / "b.smk")
    seen.append(rules_digest(tmp_path))
    edit(tmp_path / "Snakefile", "Z = 3\n")
    seen.append(rules_digest(tmp_path))
    assert len(set(seen)) == 4
