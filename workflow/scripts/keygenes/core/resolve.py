"""The registries, and where every input of a study lies."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keygenes.core.config import check, read_yaml
from keygenes.core.datasets import has_symbols_alone
from keygenes.core.errors import input_error
from keygenes.core.places import located
from keygenes.core.tasks import gene_tasks


def read_registry(paths: Iterable[str], schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the merged registry of several files; later files win entry by entry.

    Returns
    -------
    dict
        {section: {name: entry}}
    """
    merged = {}
    for path in map(located, paths):
        document = read_yaml(path)
        check(document, schema, f"{path}, key")
        for part, entries in document.items():
            merged.setdefault(part, {}).update(entries or {})
    return merged


def entry(registry: dict[str, Any], name: str, key: str, files: Iterable[str]) -> dict[str, Any]:
    """Return a registry entry by name; `key` is the config key that asks for it."""
    if name not in registry:
        close = difflib.get_close_matches(name, registry, 1)
        raise input_error(
            f"config key '{key}'",
            found=f"'{name}', which is in no registry ({', '.join(files)})",
            expected=f"one of {', '.join(sorted(registry)) or '(none)'}",
            remedy=f"write '{close[0]}' or add an entry" if close else "add an entry",
        )
    return registry[name]


FOLDERS = ("10x_mtx", "zarr")  # layouts of folders


def _location(spec: dict[str, Any], where: str, layout: str | None = None) -> tuple[str, bool]:
    """Return (path, needs a download) of a registry file; of some layouts it may be a folder."""
    path = Path(located(spec.get("path", "")))
    if path.is_dir() and "path" in spec:
        if layout not in FOLDERS:
            raise input_error(
                f"{where}, key 'path'",
                found=f"a folder, {spec['path']}",
                expected="a file",
                remedy="give a file in it"
                if layout is None
                else "give a file in it, or set "
                "'layout: 10x_mtx' for a folder of Cell Ranger, 'layout: zarr' for one of zarr",
            )
        if checksums := sorted({"sha256", "md5"} & set(spec)):
            raise input_error(
                f"{where}, key '{checksums[0]}'",
                found=f"a checksum for the folder {spec['path']}",
                expected="checksums of files alone",
                remedy="remove it",
            )
        return str(path), False
    if "path" in spec and not {"sha256", "md5"} & set(spec):
        if not path.is_file():
            raise input_error(
                f"{where}, key 'path'",
                found=f"no file at {spec['path']}",
                expected="an existing file",
                remedy="correct the path (relative to the folder you run in or to the workflow's, "
                "~ written out)",
            )
        return located(spec["path"]), False
    return f"resources/{spec.get('mirror_path') or Path(spec['path']).name}", True


def _folder_files(folder: str, where: str, key: str = "folder") -> dict[str, str]:
    """Return {'config', 'weights'} of a local model folder."""
    place = Path(located(folder))
    for name in ("model.safetensors", "pytorch_model.bin"):
        files = {"config": place / "config.json", "weights": place / name}
        if all(path.is_file() for path in files.values()):
            return {part: str(path) for part, path in files.items()}
    raise input_error(
        f"{where}, key '{key}'",
        found=f"no model in {folder}",
        expected="config.json and model.safetensors (or pytorch_model.bin)",
        remedy="correct the path",
    )


def _members(name: str, datasets: dict[str, Any], files: Iterable[str]) -> list[str]:
    """Return the names of the datasets that a dataset is made of: itself, unless it combines."""
    members = datasets[name].get("combine")
    for member in members or []:
        if "combine" in entry(datasets, member, f"datasets.{name}.combine", files):
            raise input_error(
                f"dataset '{name}', key 'combine'",
                found=f"'{member}', which combines datasets itself",
                expected="datasets that are read from files",
                remedy="list its members instead",
            )
    return members or [name]


def resolve(
    config: dict[str, Any],
    datasets: dict[str, Any],
    models: dict[str, Any],
    gene_sets: dict[str, Any],
    gene_classes: dict[str, Any],
) -> dict[str, Any]:
    """Return where every input of a study lies, and which of them must be downloaded.

    Returns
    -------
    dict
        dataset, vocabulary, model : registry entries (vocabulary and model may be None);
        combined {dataset: [members]}; dataset_files {dataset: {part: path}}, of the members where
        a dataset is combined; vocabulary_files, model_files {part: path}; finetuned {regime:
        {config, weights, classes, entry}} of brought classifiers; name_files {names,
        mapping: [paths]} of the dictionaries that say what genes are called; gene_set_files,
        gene_class_files {name: path}; given {what it is: path} of every file that the study is
        given; entries {kind: entry or {name: entry}} that are used; downloads {kind: {path: {name,
        spec}}} of what must be downloaded, with the kinds dataset, model and gene_set.
    """
    files = config["registries"]
    downloads = {"dataset": {}, "model": {}, "gene_set": {}}
    given = {}

    def locate(
        kind: str, what: str, specs: dict[str, Any], layout: str | None = None
    ) -> dict[str, str]:
        places = {}
        for part, spec in specs.items():
            title = what if list(specs) == ["file"] else f"{what}, file '{part}'"
            places[part], remote = _location(spec, title, layout)
            given[title] = places[part]
            if remote:
                others = [of_kind.get(places[part]) for of_kind in downloads.values()]
                if other := next((o for o in others if o and o["spec"] != spec), None):
                    raise input_error(
                        title,
                        found=f"{places[part]}, which is the place of {other['name']} as well",
                        expected="a place of its own",
                        remedy="rename one of the files, or change its mirror_path",
                    )
                downloads[kind][places[part]] = {"name": title, "spec": spec}
        return places

    def folder(path: str, where: str, key: str) -> dict[str, str]:
        places = _folder_files(path, where, key)
        given.update({f"{where}, file '{part}'": place for part, place in places.items()})
        return places

    def dataset_files(name: str) -> dict[str, str]:
        found = datasets[name]
        if "simulate" in found:
            return {}
        if not found.get("files"):
            raise input_error(
                f"dataset '{name}'",
                found="no 'files'",
                expected="the files of its layout",
                remedy="add them to the registry",
            )
        return locate("dataset", f"dataset '{name}'", found["files"], found["layout"])

    def richest_names() -> list[dict[str, str]]:
        """Return the files of the first dictionary that has aliases, else of any; as a list."""
        known = models["vocabularies"].items()
        for name, found in sorted(known, key=lambda item: "mapping" not in item[1]["files"])[:1]:
            specs = {p: s for p, s in found["files"].items() if p in ("names", "mapping")}
            return [locate("model", f"vocabulary '{name}'", specs)]
        return []

    def model_entry(name: str, key: str) -> tuple[dict[str, Any], str]:
        found, where = entry(models["models"], name, key, files["models"]), f"model '{name}'"
        if found["vocabulary"] != config["tokens"]["vocabulary"]:
            raise input_error(
                "config key 'tokens.vocabulary'",
                found=f"'{config['tokens']['vocabulary']}'",
                expected=f"'{found['vocabulary']}', which {where} was trained with",
                remedy="change one of the two",
            )
        return found, where

    wanted = {"dataset": config["dataset"]}
    if config["model"] == "pretrain":
        wanted["pretrain.dataset"] = config["pretrain"]["dataset"]
    combined, all_places, read = {}, {}, {}
    for key, name in wanted.items():
        entry(datasets, name, key, files["datasets"])
        members = _members(name, datasets, files["datasets"])
        if members != [name]:
            combined[name] = members
        all_places |= {member: dataset_files(member) for member in members}
        read |= {member: datasets[member] for member in [name, *members]}
    if config["model"] == "pretrain":
        model, model_files = None, {}
    else:
        model, where = model_entry(config["model"], "model")
        if "files" in model:
            model_files = locate("model", where, model["files"])
        else:
            key = "folder" if "folder" in model else "finetuned"
            model_files = folder(model[key], where, key)
    finetuned = {}
    for regime in config["regimes"]:
        if "finetuned" in regime:
            key = f"regimes.{regime['name']}.finetuned"
            found, where = model_entry(regime["finetuned"], key)
            if "finetuned" not in found:
                raise input_error(
                    where,
                    found="no key 'finetuned'",
                    expected="the folder of a fine-tuned classifier",
                    remedy="add it to the model registry",
                )
            finetuned[regime["name"]] = {
                **folder(found["finetuned"], where, "finetuned"),
                "classes": found.get("classes"),
                "entry": found,
            }
    if config["tokens"]["upstream"] and combined:
        raise input_error(
            "config key 'tokens.upstream'",
            found=f"true, with '{min(combined)}', which combines several datasets",
            expected="false, or a dataset of its own: upstream reads ids as one file gives them",
            remedy="change one of the two",
        )
    vocabulary, vocabulary_files = None, {}
    if (name := config["tokens"]["vocabulary"]) != "dataset":
        key = "tokens.vocabulary"
        vocabulary = entry(models["vocabularies"], name, key, files["models"])
        vocabulary_files = locate("model", f"vocabulary '{name}'", vocabulary["files"])
    elif config["model"] != "pretrain":
        raise input_error(
            "config key 'tokens.vocabulary'",
            found="'dataset'",
            expected="the vocabulary of the pretrained model",
            remedy="set model to 'pretrain' or name the model's vocabulary",
        )
    dictionaries = [vocabulary_files] if vocabulary else []
    by_symbol = any(has_symbols_alone(datasets[member]) for member in all_places)
    if by_symbol and not any("mapping" in places for places in dictionaries):
        dictionaries += richest_names()
    name_files = {
        part: [places[part] for places in dictionaries if part in places]
        for part in ("names", "mapping")
    }
    set_files = {}
    for name in config["evidence"]["gene_sets"]:
        found = entry(gene_sets, name, "evidence.gene_sets", files["gene_sets"])
        if "truth_of" in found["file"]:  # what the simulation of a dataset planted
            simulated = found["file"]["truth_of"]
            set_files[name] = f"results/{config['study']}/inputs/{simulated}.truth.parquet"
        else:
            files_of_set = locate("gene_set", f"gene set '{name}'", {"file": found["file"]})
            set_files[name] = files_of_set["file"]
    class_files = {}
    for task in gene_tasks(config):
        name, key = task["gene_classes"], f"tasks.{task['name']}.gene_classes"
        found = entry(gene_classes, name, key, files["gene_sets"])
        files_of_classes = locate("gene_set", f"gene classes '{name}'", {"file": found["file"]})
        class_files[name] = files_of_classes["file"]
    return {
        "dataset": datasets[config["dataset"]],
        "combined": combined,
        "model": model,
        "vocabulary": vocabulary,
        "dataset_files": all_places,
        "model_files": model_files,
        "finetuned": finetuned,
        "vocabulary_files": vocabulary_files,
        "name_files": name_files,
        "gene_set_files": set_files,
        "gene_class_files": class_files,
        "given": given,
        "entries": {
            "datasets": read,
            "model": model,
            "vocabulary": vocabulary,
            "gene_sets": {name: gene_sets[name] for name in set_files},
            "gene_classes": {name: gene_classes[name] for name in class_files},
        },
        "downloads": downloads,
    }
