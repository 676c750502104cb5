"""The configuration and the registries: read, checked, and refused in one sentence.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import difflib
import fnmatch
from pathlib import Path

import jsonschema
import yaml

from keygenes.core.errors import InputError, input_error
from keygenes.core.tasks import cell_tasks, gene_tasks

VERSION = 1

# Geneformer's own defaults for a cell classifier, to the letter (its
# classifier_utils.get_default_train_args): for V1, 500 warm-up steps however short the run.
_UPSTREAM = {
    "epochs": 10,
    "batch_size": 12,
    "learning_rate": 5e-5,
    "weight_decay": 0.001,
    "warmup_steps": 500,
    "warmup_fraction": None,
    "max_grad_norm": 1.0,
    "attention_dropout": None,
    "pooling": None,
}
# To other models than those of six layers upstream gives no warm-up.
PRESETS = {"upstream": _UPSTREAM, "upstream_v2": {**_UPSTREAM, "warmup_steps": 0}}

# A regime says in exactly one of these ways where its model comes from; of the other keys, those
# of section 'finetune' concern regimes that train, except where named here.
REGIME_FORMS = ("train", "freeze_layers", "finetuned", "method")
KEYS_OF_FORM = {"finetuned": {"finetuned"}, "method": {"method", "features", "pooling"}}
RESERVED_REGIMES = ("pretrained", "majority")  # the model before training, and a baseline


def _key(path):
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text or "(top level)"


def _looks_like_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def _dotted(value):
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")


def _unknown_key(error, where):
    known = sorted(error.schema.get("properties", {}))
    unknown = min(str(key) for key in error.instance if key not in known)
    close = difflib.get_close_matches(unknown, known, 1)
    return input_error(
        f"{where} '{_key([*error.absolute_path, unknown])}'",
        found="an unknown key",
        expected=f"one of {', '.join(known)}",
        remedy=f"write '{close[0]}'" if close else "remove it",
    )


def schema_error(error, where):
    """Return the `InputError` of a jsonschema error: key, found, expected, remedy.

    Parameters
    ----------
    error : jsonschema.ValidationError
    where : str
        E.g. ``"config key"`` or ``"config/datasets.yaml, key"``.
    """
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        return _unknown_key(error, where)
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))[0]
        return input_error(
            f"{where} '{_key([*error.absolute_path, missing])}'",
            found="nothing",
            expected="a value",
            remedy="add the key",
        )
    key, value = _key(error.absolute_path), error.instance
    if error.absolute_path and list(error.absolute_path) == ["version"]:
        return input_error(
            f"{where} 'version'",
            found=f"{value!r}",
            expected=f"{VERSION}, the layout that this release reads",
            remedy="start from a copy of config/config.yaml of this release",
        )
    if _looks_like_number(value) and error.validator == "type":
        whole = "number" not in error.validator_value  # one type, or several
        remedy = f"write {_dotted(value)}: YAML reads a number like 1e-5, without a dot, as text"
        return input_error(
            f"{where} '{key}'",
            found=f"the text '{value}'",
            expected="a whole number" if whole else "a number",
            remedy="write it without quotes" if whole else remedy,
        )
    rules = {
        "type": "type {}",
        "enum": "one of {}",
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "more than {}",
        "exclusiveMaximum": "less than {}",
        "minItems": "at least {} entries",
        "minProperties": "at least {} entries",
        "pattern": "text that matches {}",
        "uniqueItems": "different entries",
    }
    expected = rules.get(error.validator, f"{error.validator} {{}}").format(error.validator_value)
    if description := error.schema.get("description") if isinstance(error.schema, dict) else None:
        expected += f" ({description})"
    shown = repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "..."
    return input_error(f"{where} '{key}'", found=shown, expected=expected, remedy="correct it")


# JSON's 5.0 is an integer; here what counts layers or epochs must be written as one.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def check(document, schema, where):
    """Raise an `InputError` for the first key of a document that its schema refuses."""
    errors = sorted(
        _Validator(schema).iter_errors(document),
        key=lambda e: (e.validator != "const", [str(p) for p in e.absolute_path]),
    )
    if errors:
        error = errors[0]
        while error.context:  # of several alternatives, the one that came furthest
            error = max(error.context, key=lambda e: len(e.absolute_path))
        raise schema_error(error, where)


def read_yaml(path):
    """Return the content of a YAML file."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise input_error(
            str(path), found=error.strerror, expected="a YAML file", remedy="correct the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({reason}); correct the line.") from error


def read_registry(paths, schema):
    """Return the merged registry of several files; later files win entry by entry.

    Returns
    -------
    dict
        {section: {name: entry}}
    """
    merged = {}
    for path in paths:
        document = read_yaml(path)
        check(document, schema, f"{path}, key")
        for part, entries in document.items():
            merged.setdefault(part, {}).update(entries or {})
    return merged


def entry(registry, name, key, files):
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


def check_regime(regime):
    """Raise an `InputError` unless a regime says in one way, wholly, what its model is."""
    where = f"config key 'regimes.{regime['name']}"
    if regime["name"] in RESERVED_REGIMES:
        raise input_error(
            f"{where}'",
            found="a name that stands for something else in the tables",
            expected=f"a name other than {' and '.join(RESERVED_REGIMES)}",
            remedy="rename the regime",
        )
    forms = [key for key in REGIME_FORMS if key in regime] or ["preset"] * ("preset" in regime)
    if len(forms) != 1:
        raise input_error(
            f"{where}'",
            found=" and ".join(forms) or "only a name",
            expected="one of train (patterns of parameter names), freeze_layers, finetuned (a "
            "model of the registry), or method: logistic",
            remedy="give exactly one" if forms else "add one",
        )
    foreign = set(regime) - {"name"} - KEYS_OF_FORM.get(forms[0], set(regime) - {"features"})
    if foreign:
        raise input_error(
            f"{where}.{min(foreign)}'",
            found=f"a key that a regime with '{forms[0]}' does not read",
            expected=f"none but {', '.join(sorted(KEYS_OF_FORM[forms[0]]))}"
            if forms[0] in KEYS_OF_FORM
            else "no 'features', which are for method: logistic",
            remedy="remove it",
        )
    if forms == ["method"] and "features" not in regime:
        raise input_error(
            f"{where}.features'",
            found="nothing",
            expected="hidden_state or expression",
            remedy="add the key",
        )


def trained_patterns(regime):
    """Return a regime as patterns of the parameters it trains (see `encoder.train_only`).

    ``freeze_layers: k`` is Geneformer's own way: the first k layers are frozen, while the
    embeddings, the other layers and the head train.
    """
    if "train" in regime:
        return regime["train"]
    frozen = [f"!bert.encoder.layer.{i}.*" for i in range(regime.get("freeze_layers", 0))]
    return ["*", *frozen]


def embeddings_train(patterns):
    """Return whether a regime trains the embeddings: then no layer sees the same input twice."""
    names = {
        f"bert.embeddings.{name}"
        for name in (
            *("word_embeddings.weight", "position_embeddings.weight"),
            *("token_type_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias"),
        )
    }
    trained = set()
    for pattern in patterns:
        matched = set(fnmatch.filter(names, pattern.removeprefix("!")))
        trained = trained - matched if pattern.startswith("!") else trained | matched
    return bool(trained)


def finetune_options(section, regime):
    """Return section 'finetune' with the regime's preset, then its own keys, over it.

    Without 'cache', which is no regime's own.
    """
    section = {key: value for key, value in section.items() if key != "cache"}
    preset = PRESETS[regime["preset"]] if "preset" in regime else {}
    own = {key: value for key, value in regime.items() if key in section}
    return {**section, **preset, **own}


def check_relations(config):
    """Raise an `InputError` where keys of a valid config do not fit each other."""
    names = [regime["name"] for regime in config["regimes"]]
    for key, values in {
        "regimes": names,
        "tasks": [task["name"] for task in config["tasks"]],
    }.items():
        repeated = [v for v in values if values.count(v) > 1]
        if repeated:
            raise input_error(
                f"config key '{key}'",
                found=f"two entries named '{repeated[0]}'",
                expected="different names",
                remedy="rename one",
            )
    for task in config["tasks"]:
        foreign = {"column", "classes"} if task.get("type") == "gene" else {"gene_classes"}
        if wrong := sorted(foreign & set(task)):
            raise input_error(
                f"config key 'tasks.{task['name']}.{wrong[0]}'",
                found=f"a key that a task of type '{task.get('type', 'cell')}' does not have",
                expected="column and classes for cells, gene_classes for genes",
                remedy="remove it or correct the task's type",
            )
    if not cell_tasks(config):
        raise input_error(
            "config key 'tasks'",
            found="only tasks of type 'gene'",
            expected="at least one task with classes of cells, which the rest of the study needs",
            remedy="add one with name, column and classes",
        )
    for regime in config["regimes"]:
        check_regime(regime)
    tuned = [r["name"] for r in config["regimes"] if r.get("method") != "logistic"]
    asked = [("attention.pairs", name) for pair in config["attention"]["pairs"] for name in pair]
    asked.append(("evidence.regime", config["evidence"]["regime"]))
    for key, name in asked:
        if name not in [*tuned, "pretrained"]:
            raise input_error(
                f"config key '{key}'",
                found=f"'{name}'",
                expected=f"one of {', '.join([*tuned, 'pretrained'])}",
                remedy="name a fine-tuned regime of 'regimes', or add it there",
            )
    if config["pretrain"]["hidden"] % config["pretrain"]["heads"]:
        raise input_error(
            "config key 'pretrain.hidden'",
            found=config["pretrain"]["hidden"],
            expected=f"a multiple of pretrain.heads = {config['pretrain']['heads']}",
            remedy="change one of them",
        )


def _location(spec, where):
    """Return (path, needs a download) of a registry file."""
    if "path" in spec and not {"sha256", "md5"} & set(spec):
        if not Path(spec["path"]).is_file():
            raise input_error(
                f"{where}, key 'path'",
                found=f"no file at {spec['path']}",
                expected="an existing file",
                remedy="correct the path (it is relative to the folder you run in)",
            )
        return spec["path"], False
    return f"resources/{spec.get('mirror_path') or Path(spec['path']).name}", True


def _folder_files(folder, where, key="folder"):
    """Return {'config', 'weights'} of a local model folder."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        files = {"config": Path(folder) / "config.json", "weights": Path(folder) / name}
        if all(path.is_file() for path in files.values()):
            return {part: str(path) for part, path in files.items()}
    raise input_error(
        f"{where}, key '{key}'",
        found=f"no model in {folder}",
        expected="config.json and model.safetensors (or pytorch_model.bin)",
        remedy="correct the path",
    )


def _members(name, datasets, files):
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


def resolve(config, datasets, models, gene_sets, gene_classes):
    """Return where every input of a study lies, and which of them must be downloaded.

    Returns
    -------
    dict
        dataset, vocabulary, model : registry entries (vocabulary and model may be None);
        combined {dataset: [members]}; dataset_files {dataset: {part: path}}, of the members where
        a dataset is combined; vocabulary_files, model_files {part: path}; finetuned {regime:
        {config, weights, classes}} of classifiers that were brought along; gene_set_files,
        gene_class_files {name: path}; downloads {kind: {path: {name, spec}}} with the kinds
        dataset, model and gene_set.
    """
    files = config["registries"]
    downloads = {"dataset": {}, "model": {}, "gene_set": {}}

    def locate(kind, name, specs):
        places = {}
        for part, spec in specs.items():
            title = f"{kind.replace('_', ' ')} '{name}', file '{part}'"
            places[part], remote = _location(spec, title)
            if remote:
                downloads[kind][places[part]] = {"name": title, "spec": spec}
        return places

    def dataset_files(name):
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
        return locate("dataset", name, found["files"])

    def model_entry(name, key):
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
    combined, all_places = {}, {}
    for key, name in wanted.items():
        entry(datasets, name, key, files["datasets"])
        members = _members(name, datasets, files["datasets"])
        if members != [name]:
            combined[name] = members
        all_places |= {member: dataset_files(member) for member in members}
    if config["model"] == "pretrain":
        model, model_files = None, {}
    else:
        model, where = model_entry(config["model"], "model")
        if "files" in model:
            model_files = locate("model", config["model"], model["files"])
        else:
            key = "folder" if "folder" in model else "finetuned"
            model_files = _folder_files(model[key], where, key)
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
                **_folder_files(found["finetuned"], where, "finetuned"),
                "classes": found.get("classes"),
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
        vocabulary_files = locate("model", name, vocabulary["files"])
    elif config["model"] != "pretrain":
        raise input_error(
            "config key 'tokens.vocabulary'",
            found="'dataset'",
            expected="the vocabulary of the pretrained model",
            remedy="set model to 'pretrain' or name the model's vocabulary",
        )
    set_files = {}
    for name in config["evidence"]["gene_sets"]:
        found = entry(gene_sets, name, "evidence.gene_sets", files["gene_sets"])
        set_files[name] = locate("gene_set", name, {"file": found["file"]})["file"]
    class_files = {}
    for task in gene_tasks(config):
        name, key = task["gene_classes"], f"tasks.{task['name']}.gene_classes"
        found = entry(gene_classes, name, key, files["gene_sets"])
        class_files[name] = locate("gene_set", name, {"file": found["file"]})["file"]
    return {
        "dataset": datasets[config["dataset"]],
        "combined": combined,
        "model": model,
        "vocabulary": vocabulary,
        "dataset_files": all_places,
        "model_files": model_files,
        "finetuned": finetuned,
        "vocabulary_files": vocabulary_files,
        "gene_set_files": set_files,
        "gene_class_files": class_files,
        "downloads": downloads,
    }
