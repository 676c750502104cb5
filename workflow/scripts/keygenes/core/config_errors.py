"""Where a document is not as its schema says: the sentence for the user."""

import datetime
import difflib
from collections.abc import Iterable
from typing import Any

from jsonschema import ValidationError

from keygenes.core.errors import InputError, input_error

VERSION = 2
UPGRADES = {  # what to write instead in a config of an older layout
    1: "write 'version: 2', 'folds: [...]' with what your 'seeds' had, and 'seeds: [1]' (how often "
    "each fold is trained); docs/upgrading.md has the other lines"
}

# With these a schema is that of a config key, whose description says what it is for; that of any
# other says what a value may be.
OF_A_KEY = {"default", "examples", "properties"}


def key_text(path: Iterable[str | int]) -> str:
    """Return the path of a key in a document as text: tasks[0].classes."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text or "(top level)"


def _looks_like_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def _dotted(value: str) -> str:
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")


def _unknown_key(error: ValidationError, where: str) -> InputError:
    known = sorted(error.schema.get("properties", {}))
    unknown = min(str(key) for key in error.instance if key not in known)
    close = difflib.get_close_matches(unknown, known, 1)
    if unknown.split(":")[0] in known:
        unknown = unknown.split(":")[0]
        return input_error(
            f"{where} '{key_text([*error.absolute_path, unknown])}'",
            found="a colon without a space after it",
            expected=f"{unknown}: and the value",
            remedy="write a space there",
        )
    return input_error(
        f"{where} '{key_text([*error.absolute_path, unknown])}'",
        found="an unknown key",
        expected=f"one of {', '.join(known)}",
        remedy=f"write '{close[0]}'" if close else "remove it",
    )


def schema_error(error: ValidationError, where: str) -> InputError:
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
            f"{where} '{key_text([*error.absolute_path, missing])}'",
            found="nothing",
            expected="a value",
            remedy="add the key",
        )
    key, value = key_text(error.absolute_path), error.instance
    if error.absolute_path and list(error.absolute_path) == ["version"]:
        return input_error(
            f"{where} 'version'",
            found=f"{value!r}",
            expected=f"{VERSION}, the layout that this release reads",
            remedy=(UPGRADES.get(value) if isinstance(value, int) else None)
            or "start from a copy of config/config.yaml of this release",
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
        "maxLength": "at most {} characters",
        "uniqueItems": "different entries",
    }
    expected = rules.get(error.validator, f"{error.validator} {{}}").format(error.validator_value)
    of_a_value = isinstance(error.schema, dict) and not OF_A_KEY & set(error.schema)
    if of_a_value and (description := error.schema.get("description")):
        expected += f" ({description})"
    shown = repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "..."
    remedy = "correct it"
    if error.validator == "type":
        remedy = _other_type(value, error.validator_value) or remedy
    return input_error(f"{where} '{key}'", found=shown, expected=expected, remedy=remedy)


def _other_type(value: Any, types: str | list[str]) -> str | None:
    """Return what to write in place of a value of another type than one of `types`, or None."""
    if "array" in types and not isinstance(value, dict):
        return "write a list: entries in brackets, with commas between them"
    if "object" in types and not isinstance(value, list):
        return "write a section: 'key: value' pairs in braces, with commas between them"
    if "string" in types and isinstance(value, bool):
        return "write it in quotes: YAML reads yes, no, on and off as true and false"
    if "string" in types and isinstance(value, datetime.date):
        return "write it in quotes: YAML reads it as a date"
    if "string" in types and "integer" not in types and isinstance(value, int | float):
        return "write it in quotes: YAML reads it as a number"
    return None
