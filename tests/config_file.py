"""config/config.yaml, written from its schema, which names the tracks there are (make config)."""

import math
import re
import sys

import yaml
from running import REPOSITORY

from keygenes.core.config import read_yaml
from keygenes.core.defaults import defaults
from keygenes.core.tracks import OF_MODELS

SCHEMA = REPOSITORY / "workflow/schemas/config.schema.yaml"
FILE = REPOSITORY / "config/config.yaml"
TRACKS = re.compile(r"(?m)^(  track: \{enum: &tracks \[).*(\]\})$")  # the line of the schema
WORD = re.compile(r"[A-Za-z][\w./-]*")


class _Values(yaml.SafeDumper):
    """Values as one writes them: what is more than a word in double quotes, 5.0e-5, no anchors."""

    def ignore_aliases(self, data):
        return True

    def text(self, value):
        plain = WORD.fullmatch(value) and yaml.safe_load(value) == value
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    def number(self, value):
        node = self.represent_float(value)
        node.value = node.value.replace("e-0", "e-")
        return node


_Values.add_representer(str, _Values.text)
_Values.add_representer(float, _Values.number)


def written(value):
    """Return a value as YAML in one line."""
    options = {"default_flow_style": True, "width": math.inf, "sort_keys": False}
    return yaml.dump(value, Dumper=_Values, **options).removesuffix("...\n").strip()


def commented(comment, lines):
    """Return lines with a comment: above them where it has several lines, else behind the first."""
    first, *more = comment.splitlines() or [""]
    if more:
        return [*(f"# {line}" for line in (first, *more)), *lines]
    return [f"{lines[0]}  # {first}", *lines[1:]] if first else lines


def is_short(section):
    """Return whether a section is written in one line: none of its keys has a comment."""
    return not any("description" in part for part in section["properties"].values())


def listed(entry):
    """Return the lines of an entry of a list: one, or one per key where it has sections."""
    if not any(isinstance(value, dict) for value in entry.values()):
        return [f"- {written(entry)}"]
    first, *others = (f"{key}: {written(value)}" for key, value in entry.items())
    return [f"- {first}", *(f"  {line}" for line in others)]


def value_lines(key, value, notes):
    """Return the lines of a key and its value; named entries have lines and comments each."""
    if isinstance(value, dict):
        rows = {name: [f"{name}: {written(entry)}"] for name, entry in value.items()}
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        rows = {entry["name"]: listed(entry) for entry in value}
    else:
        return [f"{key}: {written(value)}"]
    lines = [line for name, row in rows.items() for line in commented(notes.get(name, ""), row)]
    return [f"{key}:", *(f"  {line}" for line in lines)]


def key_lines(key, part, required, depth):
    """Return the lines of a key with its comment."""
    if "default" in part or "examples" in part:
        value = part["default"] if "default" in part else part["examples"][0]
        lines = value_lines(key, value, part.get("notes", {}))
        if "default" not in part and key not in required:
            lines = [f"# {line}" for line in lines]
    elif depth and is_short(part):
        lines = [f"{key}: {written(defaults(part))}"]
    else:
        lines = [f"{key}:", *(f"  {line}" for line in section_lines(part, depth + 1))]
    return commented(part.get("description", ""), lines)


def section_lines(schema, depth=0):
    """Return the lines of all keys of a section; an empty one before each key of the top level."""
    required = schema.get("required", [])
    lines = []
    for key, part in schema["properties"].items():
        lines += ([] if depth else [""]) + key_lines(key, part, required, depth)
    return lines


def config_text(schema):
    """Return the text of config/config.yaml."""
    head = [f"# {line}" for line in schema["description"].splitlines()]
    return "\n".join([*head, *section_lines(schema), ""])


def schema_text(text):
    """Return the text of the schema with the tracks of `core.tracks` that a config may name."""
    return TRACKS.sub(rf"\g<1>{', '.join(OF_MODELS)}\g<2>", text)


def main():
    """Write both files."""
    SCHEMA.write_text(schema_text(SCHEMA.read_text(encoding="utf-8")), encoding="utf-8")
    FILE.write_text(config_text(read_yaml(SCHEMA)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
