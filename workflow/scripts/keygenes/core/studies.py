"""Two finished studies to hold against each other: found, checked, refused in one sentence.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from keygenes import __version__
from keygenes.core.config import check
from keygenes.core.errors import InputError, input_error
from keygenes.core.files import PathLike, checksum, digest_of, read_json

TARGET = "compare_studies"
KEY = "config key 'studies'"
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of a comparison: as for the name of a study
RECORDED = ("study", "config", "keygenes", "entries", "inputs", "results", "simulated", "software")
NEEDED = ("cells/selection.parquet", "cells/labels.parquet")  # beside the tables of each task


class Study(NamedTuple):
    """A finished study: its folder, what others call it, and its record (provenance.json)."""

    folder: str
    name: str
    record: dict[str, Any]


def other_target(asked: str) -> InputError:
    """Return the `InputError` for the key 'studies' beside another target ('all': or none)."""
    return input_error(
        KEY,
        found=f"the key beside the target '{asked}'{', or none' if asked == 'all' else ''}",
        expected=f"the target {TARGET}, which alone reads it",
        remedy=f"give the target {TARGET} before --config or --configfile, or remove the key",
    )


def nothing_to_compare() -> InputError:
    """Return the `InputError` for the target without the key 'studies'."""
    return input_error(
        KEY,
        found="nothing",
        expected=f"two results folders, for the target {TARGET}",
        remedy=f"run: snakemake --cores 2 {TARGET} --config studies='[results/a, results/b]'",
    )


def compared_studies(
    config: dict[str, Any], defaults: dict[str, Any], schema: dict[str, Any]
) -> tuple[list[Study], str]:
    """Return the two studies that a config names, and the name of their comparison.

    Parameters
    ----------
    config : dict
        'studies' has two folders; an entry without a slash is a name under results/.
    defaults : dict
        The default study's config, whose keys are read by no comparison.
    schema : dict
        Of the keys of a comparison.

    Raises
    ------
    InputError
        If a key is unknown, or a folder holds no finished study of this version.
    """
    check(
        {k: v for k, v in config.items() if k in schema["properties"] or k not in defaults},
        schema,
        "config key",
    )
    folders = [one if "/" in one else f"results/{one}" for one in config["studies"]]
    folders = [folder.rstrip("/") or "/" for folder in folders]
    if Path(folders[0]).resolve() == Path(folders[1]).resolve():
        raise input_error(
            KEY,
            found=f"the folder {folders[0]} twice",
            expected="two different results folders",
            remedy="name another one: a study agrees with itself",
        )
    names = [Path(folder).name for folder in folders]
    name = config.get("name") or "_vs_".join(names)
    if not FOLDER.fullmatch(name):
        raise input_error(
            KEY,
            found=f"folders that make '{name}' the name of the comparison",
            expected="letters, digits, _ and -",
            remedy="add the config key 'name'",
        )
    if names[0] == names[1]:
        names = [f"{names[0]} (1)", f"{names[1]} (2)"]
    return [finished(*pair) for pair in zip(folders, names, strict=True)], name


def finished(folder: str, name: str) -> Study:
    """Return the finished `Study` in a results folder; raise an `InputError` if there is none."""
    expected = f"the results folder of a study that keygenes {__version__} has finished"
    if not Path(folder).is_dir():
        raise input_error(
            KEY, found=f"no folder {folder}", expected=expected, remedy="correct the path"
        )
    version, record = Path(folder) / "version.txt", Path(folder) / "provenance.json"
    for file in (version, record):
        if not file.is_file():
            raise input_error(
                folder,
                found=f"no file {file.name}",
                expected=expected,
                remedy="name another folder, or run the study to its end",
            )
    found = read_json(record)
    if not isinstance(found, dict) or not set(RECORDED) <= set(found):
        raise input_error(
            str(record),
            found="a file without what a record of a study has",
            expected=f"the keys {', '.join(RECORDED)}",
            remedy="delete it and run that study again",
        )
    said = version.read_text(encoding="utf-8", errors="replace").strip()
    for made_by in (said, str(found["keygenes"].get("version"))):
        if made_by != __version__:
            raise input_error(
                folder,
                found=f"results of keygenes {made_by or '(not said)'}",
                expected=f"those of keygenes {__version__}: versions compute differently",
                remedy="run that study again with this version",
            )
    return Study(folder, name, found)


def classes_of(study: Study) -> dict[str, list[str]]:
    """Return {task of cells: its classes, sorted} of a study: a record keeps no order of keys."""
    tasks = study.record["config"]["tasks"]
    return {task["name"]: sorted(task["classes"]) for task in tasks if "classes" in task}


def common_tasks(a: Study, b: Study) -> tuple[list[str], dict[str, str]]:
    """Return the tasks that two studies can be compared in, and why the others cannot.

    Returns
    -------
    tasks : list of str
        Of cells, with the same name and the same names of classes.
    left_out : dict {task: why}

    Raises
    ------
    InputError
        If there is no such task.
    """
    of_a, of_b = classes_of(a), classes_of(b)
    left_out = {}
    for task in {**of_a, **of_b}:
        if task not in of_a or task not in of_b:
            left_out[task] = f"in {(b if task in of_b else a).name} alone"
        elif of_a[task] != of_b[task]:
            left_out[task] = (
                f"other classes: {', '.join(of_a[task])} in {a.name}, "
                f"{', '.join(of_b[task])} in {b.name}"
            )
    for study in (a, b):
        names = [task["name"] for task in study.record["config"]["tasks"]]
        left_out |= {
            task: "classifies genes, not cells" for task in names if task not in {**of_a, **of_b}
        }
    tasks = [task for task in of_a if task not in left_out]
    if not tasks:
        raise input_error(
            KEY,
            found="studies without a common task "
            f"({'; '.join(f'{task}: {why}' for task, why in left_out.items())})",
            expected="at least one task of the same name and classes in both",
            remedy="compare other studies, or name the tasks and classes of one as in the other",
        )
    return tasks, left_out


def tables_to_compare(study: Study, tasks: Iterable[str]) -> dict[str, str]:
    """Return the tables of a study that a comparison reads: {name: path}.

    Raises
    ------
    InputError
        If one is missing.
    """
    names = [*NEEDED, *(f"evidence/{task}/genes.parquet" for task in tasks)]
    if study.record["config"].get("evidence", {}).get("primary"):
        names.append("evidence/primary.parquet")
    paths = {name: f"{study.folder}/{name}" for name in names}
    for path in paths.values():
        if not Path(path).is_file():
            raise input_error(
                path,
                found="no such file",
                expected="the table of a finished study",
                remedy="run that study to its end",
            )
    return paths


def check_recorded(study: Study, name: str, path: PathLike) -> None:
    """Raise an `InputError` where a table is not the one that its study's record names."""
    recorded = study.record["results"].get(name)
    if recorded and recorded["sha256"] != checksum(path):
        raise input_error(
            str(path),
            found="a file that is not the one in provenance.json (its sha256 differs)",
            expected="the table that the study ended with",
            remedy="run that study to its end",
        )


def shared_cells(a: Study, b: Study) -> list[str]:
    """Return what two studies both read as their cells: the same files, or the same simulation."""
    of_a, of_b = _cells(a), _cells(b)
    return sorted({of_a[key] for key in of_a.keys() & of_b.keys()})


def _cells(study: Study) -> dict[str, str]:
    """Return {sha256 of a file, or what is simulated: dataset} of a study's own cells."""
    record, entries = study.record, study.record["entries"]["datasets"]
    main = record["config"]["dataset"]
    found = {}
    for name in [main, *entries.get(main, {}).get("combine", ())]:
        start = f"dataset '{name}'"
        files = [file for file in record["inputs"] if file["name"].startswith(start)]
        found |= {file["sha256"]: start for file in files}
        if "simulate" in entries.get(name, {}):
            found[digest_of(entries[name]["simulate"])] = start
    return found
