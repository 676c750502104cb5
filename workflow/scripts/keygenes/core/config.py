"""Configuration files: read, checked, and refused in one sentence.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import difflib
from pathlib import Path

import jsonschema
import yaml

from keygenes.core.errors import InputError, input_error
from keygenes.core.regimes import check_regimes
from keygenes.core.tasks import cell_tasks

VERSION = 1
RESERVED_VARIANTS = ("main", "report", "corpus", "corpus_report")  # of files under tokens/


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


def encoding(section, variant=None):
    """Return what section 'tokens' draws at random when it encodes a cell.

    Parameters
    ----------
    section : dict
    variant : str, optional
        Of 'variants': its keys replace those of the section.

    Returns
    -------
    dict
        length, depth, order and seed; empty where nothing is drawn.
    """
    keys = {key: section[key] for key in ("length", "depth", "order")}
    keys |= section["variants"][variant] if variant else {}
    drawn = keys["length"] or keys["depth"] or keys["order"] != "ranked"
    return {**keys, "seed": section["seed"]} if drawn else {}


def check_tokens(section):
    """Raise an `InputError` where keys of section 'tokens' do not fit each other."""
    if section["upstream"] and (drawn := encoding(section)):
        key = next(k for k in ("length", "depth", "order") if drawn[k] not in (None, "ranked"))
        raise input_error(
            f"config key 'tokens.{key}'",
            found="a draw beside tokens.upstream: true",
            expected="either upstream's tokens to the letter, or a draw",
            remedy="make it an entry of tokens.variants, or set upstream to false",
        )
    for name in [None, *section["variants"]]:
        key = f"tokens.variants.{name}" if name else "tokens"
        if name in RESERVED_VARIANTS:
            raise input_error(
                f"config key '{key}'",
                found="a name that other files have",
                expected=f"a name other than {', '.join(RESERVED_VARIANTS)}",
                remedy="rename the variant",
            )
        length = encoding(section, name).get("length")
        if length and length["subsample"] > section["max_length"]:
            raise input_error(
                f"config key '{key}.length.subsample'",
                found=length["subsample"],
                expected=f"at most tokens.max_length = {section['max_length']}",
                remedy="lower it",
            )


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
    check_regimes(config)
    check_tokens(config["tokens"])
    if config["pretrain"]["hidden"] % config["pretrain"]["heads"]:
        raise input_error(
            "config key 'pretrain.hidden'",
            found=config["pretrain"]["hidden"],
            expected=f"a multiple of pretrain.heads = {config['pretrain']['heads']}",
            remedy="change one of them",
        )
