"""What a config that lacks a key gets: the defaults of its schema.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

import copy
from typing import Any


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """Return {key: its default} of a schema; sections are nested, keys without one are left out."""
    found = {}
    for key, part in schema["properties"].items():
        if "default" in part:
            found[key] = copy.deepcopy(part["default"])
        elif "properties" in part and (inner := defaults(part)):
            found[key] = inner
    return found


def lay_under(config: dict[str, Any], lower: dict[str, Any]) -> None:
    """Give a config, in place, what it lacks of another one; lists, and null, stay what they are.

    Parameters
    ----------
    config, lower : dict
        Of each other's keys, those of a section are given one by one.
    """
    for key, value in lower.items():
        if key not in config:
            config[key] = copy.deepcopy(value)
        elif isinstance(value, dict) and isinstance(config[key], dict):
            lay_under(config[key], value)
